package wire

import (
	"bytes"
	"encoding/json"
)

// FitError reports that a body is JSON, but does not fit the value that it was to be decoded into.
type FitError struct{ Err error }

func (e *FitError) Error() string { return "the body does not fit: " + e.Err.Error() }

// Unwrap returns the error of encoding/json, or of a method UnmarshalJSON.
func (e *FitError) Unwrap() error { return e.Err }

// UnmarshalAny reads JSON of any form into the value that v points to. Like [Unmarshal], it accepts raw control
// characters in strings and a byte order mark at the start. Unlike [json.Unmarshal], it does not accept null. It fails
// with a [*FitError] if data is JSON but does not fit v.
func UnmarshalAny(data []byte, v any) error {
	data = bytes.Trim(bytes.TrimPrefix(data, byteOrderMark), jsonSpace)
	switch {
	case len(data) == 0:
		return errEmpty
	case data[0] == '<':
		return errHTML
	case string(data) == "null":
		return errNull
	}
	if !json.Valid(data) {
		if data = escapeControls(data); !json.Valid(data) {
			return errNotJSON
		}
	}
	if err := json.Unmarshal(data, v); err != nil {
		return &FitError{err}
	}
	return nil
}
