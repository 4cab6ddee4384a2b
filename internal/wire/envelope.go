package wire

import (
	"bytes"
	"errors"
	"strconv"
)

// Envelope is what an answer can carry beside its payload. Embed it in a response type: then one pass decodes both.
type Envelope struct {
	// ErrCode is nil where the answer has none, as the successes of most calls that read.
	ErrCode *ErrCode `json:"errcode"`
	// ErrMsg is the errmsg as it was sent; see [ParseMessage].
	ErrMsg string `json:"errmsg"`
	// FailOpenIDList lists the openids that were not processed, with the errcode 45171.
	FailOpenIDList []string `json:"fail_openid_list"`
}

// Head is e: the way to the Envelope of a response type whose name is not known. (A method called Envelope would be
// hidden by the embedded field.)
func (e *Envelope) Head() *Envelope { return e }

// Code is the errcode; ok is false where the answer has none.
func (e *Envelope) Code() (code int, ok bool) {
	if e.ErrCode == nil {
		return 0, false
	}
	return int(*e.ErrCode), true
}

// ErrCode is an errcode on the wire: a whole number, or one in quotes.
//
// It has the UnmarshalJSON that Envelope must not have, for the response types would inherit it and lose their fields.
type ErrCode int

var errErrCode = errors.New("errcode is not a whole number")

// UnmarshalJSON reads 40001 and "40001".
func (c *ErrCode) UnmarshalJSON(data []byte) error {
	if inner, ok := bytes.CutPrefix(data, []byte(`"`)); ok {
		data = bytes.TrimSuffix(inner, []byte(`"`))
	}
	n, err := strconv.Atoi(string(data))
	if err != nil {
		return errErrCode
	}
	*c = ErrCode(n)
	return nil
}
