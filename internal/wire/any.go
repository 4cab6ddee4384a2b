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

// UnmarshalAny reads JSON of any form into what v points at, with the two things that [Unmarshal] takes and JSON
// forbids. Unlike [json.Unmarshal] it does not take null. It fails with a [*FitError] if data is JSON and v is of
// another form.
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
