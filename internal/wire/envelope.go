package wire

import (
	"bytes"
	"errors"
)

// Envelope is what a response can contain beside its payload. A response type embeds it, so that one pass decodes both.
type Envelope struct {
	// ErrCode is nil if the response has none, as in most successful read calls.
	ErrCode *ErrCode `json:"errcode"`
	// ErrMsg is the errmsg as the platform sent it; see [ParseMessage].
	ErrMsg string `json:"errmsg"`
	// FailOpenIDList has the openids that were not processed, with the errcode 45171.
	FailOpenIDList []string `json:"fail_openid_list"`
}

// ResponseEnvelope returns e. It is for code that has a response as an interface. (The embedded field would hide a
// method named Envelope.)
func (e *Envelope) ResponseEnvelope() *Envelope { return e }

// Code returns the errcode; ok is false if the response has none.
func (e *Envelope) Code() (code int, ok bool) {
	if e.ErrCode == nil {
		return 0, false
	}
	return int(*e.ErrCode), true
}

// ErrCode is an errcode on the wire: a whole number, or one in quotes.
//
// It has the UnmarshalJSON that Envelope must not have: the response types would inherit it and lose their fields.
type ErrCode int

var errErrCode = errors.New("errcode: not a whole number")

// UnmarshalJSON reads 40001 and "40001".
func (c *ErrCode) UnmarshalJSON(data []byte) error {
	if inner, ok := bytes.CutPrefix(data, []byte(`"`)); ok {
		data = bytes.TrimSuffix(inner, []byte(`"`))
	}
	if len(data) == 0 || numberLen(data) != len(data) {
		return errErrCode
	}
	n, problem := parseWhole(data)
	if problem != "" || int64(int(n)) != n {
		return errErrCode
	}
	*c = ErrCode(n)
	return nil
}
