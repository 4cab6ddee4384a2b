package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// Unmarshal reads the platform's JSON into what v points at as [json.Unmarshal] does, and takes two things that JSON
// forbids: raw control characters inside strings, as if they had been escaped, and a byte order mark at the start.
// What was in v is lost; nothing in it refers to data.
//
// After an error of the type [*json.UnmarshalTypeError], the fields of the right type are set.
func Unmarshal(data []byte, v any) error {
	target := reflect.ValueOf(v).Elem()
	target.SetZero()
	if readPlain(data, target) {
		return nil
	}
	target.SetZero()
	data = trimBOM(data)
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	// encoding/json checks the syntax before it sets anything, so that a second pass starts afresh.
	if escaped, ok := escapeControls(data); ok {
		return json.Unmarshal(escaped, v)
	}
	return err
}

// escapeControls is a copy of data in which the control characters inside strings are escaped; ok is false, and
// nothing is copied, where there are none.
func escapeControls(data []byte) (escaped []byte, ok bool) {
	inString := false
	copied := 0
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			inString = !inString
		case !inString:
		case c == '\\':
			i++ // what follows a backslash stays: a raw control character there is an error, and would become text
		case c < 0x20:
			escaped = append(escaped, data[copied:i]...)
			escaped = fmt.Appendf(escaped, `\u%04x`, c)
			copied = i + 1
		}
	}
	if copied == 0 {
		return nil, false
	}
	return append(escaped, data[copied:]...), true
}

// What is sent instead of an object: by a proxy, a captive portal, or a line that broke.
var (
	errEmpty       = errors.New("the body is empty")
	errHTML        = errors.New("the body is HTML")
	errNotJSON     = errors.New("the body is not JSON")
	errNull        = errors.New("the body is null")
	errArray       = errors.New("the body is an array")
	errEmptyObject = errors.New("the body is an empty object")
	errNotObject   = errors.New("the body is not a JSON object")
)

// CheckObject is nil for what begins as a JSON object with something in it, as each answer of the platform does.
// Otherwise the error says what the body is instead; it holds nothing of it.
//
// encoding/json reads null and an empty object without an error, and would call HTML an invalid character.
func CheckObject(data []byte) error {
	data = bytes.Trim(trimBOM(data), jsonSpace)
	if len(data) == 0 {
		return errEmpty
	}
	switch c := data[0]; {
	case c == '{':
		if string(bytes.Trim(data[1:], jsonSpace)) == "}" {
			return errEmptyObject
		}
		return nil
	case c == '<':
		return errHTML
	case !json.Valid(data):
		return errNotJSON
	case c == '[':
		return errArray
	case c == 'n':
		return errNull
	default:
		return errNotObject
	}
}

const jsonSpace = " \t\r\n"

func trimBOM(data []byte) []byte {
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
}
