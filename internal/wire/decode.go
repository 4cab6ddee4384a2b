package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// Unmarshal decodes a body of the platform into the value that v points to. It first clears the value, which does not
// refer to data afterwards. Like encoding/json it uses memory again: that of the first list of structs among the fields
// of a struct.
//
// If v points to a struct whose fields are texts, whole numbers, lists of texts, of int or of structs, structs, or
// pointers to those, Unmarshal decodes it in one pass, as [json.Unmarshal] would, with these differences:
//
//   - Raw control characters are allowed inside strings, and a byte order mark at the start.
//   - A number can stand in quotes where a number is expected, and without quotes where a text is expected. A whole
//     number can have a fraction of zeros or an exponent.
//   - An empty value stands for any type: null, "", [] and {}. A text is empty then, a number 0, a list empty and not
//     nil, a struct zero, and a pointer nil. This does not hold for the items of a list, nor, but for null, for an
//     [ErrCode].
//   - Of a name that occurs twice the last value counts.
//   - A list has at most 100,000 texts or numbers, or 10,000 structs.
//   - A field of the type map[string]json.RawMessage with the tag `json:"-"` gets the fields that the struct does not
//     know, at most 64 of them and without those of [Envelope]. It is nil if there are none.
//
// Texts are copied, those that stand near each other into one block of at most [MaxBlock] bytes; so are the lists of
// numbers. In a list of structs, a text that the struct before has in the same field is not copied again. encoding/json decodes all other types, after raw control characters are escaped.
//
// The error is a [*SyntaxError] if data is not JSON; the value is zero then. It is a [*TypeError] if a field has a
// value that cannot be read; all other fields are set then.
func Unmarshal(data []byte, v any) error {
	target := reflect.ValueOf(v).Elem()
	read := readerOf(target.Type())
	spare := read.spare(target)
	target.SetZero()
	data = bytes.TrimPrefix(data, byteOrderMark)
	if read.kind != objectKind {
		return unmarshalOther(data, v)
	}
	p := parsers.Get().(*parser)
	defer p.release()
	p.data, p.spare = data, spare
	if c := p.next(); c == 'n' && p.word("null") && p.atEnd() {
		return nil
	}
	if read.read(p, target) == broken || !p.atEnd() {
		target.SetZero()
		return &SyntaxError{Offset: min(p.pos, len(data)), Size: len(data)}
	}
	if p.problem != nil {
		return p.problem
	}
	return nil
}

var byteOrderMark = []byte("\xef\xbb\xbf")

var parsers = sync.Pool{New: func() any { return new(parser) }}

// unmarshalOther decodes with encoding/json.
func unmarshalOther(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	// encoding/json checks the syntax before it sets anything.
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		escaped := escapeControls(data)
		if len(escaped) > len(data) {
			err = json.Unmarshal(escaped, v)
		}
		if errors.As(err, &syntax) {
			return &SyntaxError{Offset: min(int(syntax.Offset), len(data)), Size: len(data)}
		}
	}
	return err
}

// escapeControls returns data with the control characters inside strings escaped. It returns data itself if there are
// none. A control character after a backslash is not escaped: it is an error, and escaping would make it text.
func escapeControls(data []byte) []byte {
	n := 0
	eachControl(data, func(int) { n++ })
	if n == 0 {
		return data
	}
	escaped := make([]byte, 0, len(data)+5*n)
	copied := 0
	eachControl(data, func(i int) {
		escaped = append(escaped, data[copied:i]...)
		escaped = append(escaped, '\\', 'u', '0', '0', hexDigits[data[i]>>4], hexDigits[data[i]&0xf])
		copied = i + 1
	})
	return append(escaped, data[copied:]...)
}

const hexDigits = "0123456789abcdef"

// eachControl calls found with the position of each control character inside a string.
func eachControl(data []byte, found func(i int)) {
	inString := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			inString = !inString
		case !inString:
		case c == '\\':
			i++
		case c < 0x20:
			found(i)
		}
	}
}

// ErrSyntax is matched by the error of a body that is not valid JSON.
var ErrSyntax = errors.New("the body is broken JSON")

// SyntaxError is the error of a body that is not JSON. It matches [ErrSyntax].
type SyntaxError struct {
	Offset int // where reading failed
	Size   int // of the body
}

// Error returns where the body is broken. It quotes nothing from the body.
func (e *SyntaxError) Error() string {
	if e.Offset == e.Size {
		return fmt.Sprintf("the JSON of the body is cut after %d bytes", e.Size)
	}
	return fmt.Sprintf("the JSON of the body is broken at byte %d of %d", e.Offset, e.Size)
}

// Is matches [ErrSyntax].
func (e *SyntaxError) Is(target error) bool { return target == ErrSyntax } //nolint:errorlint // as errors.Is asks for

// ErrType is matched by the error of a body that is valid JSON but has a value that cannot be read. A retry would not
// help.
var ErrType = errors.New("a value of another type")

// TypeError is the error of a field whose value cannot be read. It matches [ErrType].
type TypeError struct {
	Field   string // such as "user_info_list[3].tagid_list"; empty for the body itself
	Problem string // such as "a text where a list is expected"
}

// Error returns the field and what is wrong with it. It quotes nothing from the body.
func (e *TypeError) Error() string {
	if e.Field == "" {
		return e.Problem
	}
	return e.Field + ": " + e.Problem
}

// Is matches [ErrType].
func (e *TypeError) Is(target error) bool { return target == ErrType } //nolint:errorlint // as errors.Is asks for

// Errors of bodies that are not objects: from a proxy, a captive portal, or a connection that broke.
var (
	errEmpty       = errors.New("the body is empty")
	errHTML        = errors.New("the body is HTML")
	errNotJSON     = errors.New("the body is not JSON")
	errNull        = errors.New("the body is null")
	errArray       = errors.New("the body is an array")
	errEmptyObject = errors.New("the body is an empty object")
	errNotObject   = errors.New("the body is not a JSON object")
)

// CheckObject returns nil for a body that begins as a JSON object with something in it, as every response of the
// platform does. Otherwise the error says what the body is. It quotes nothing from the body.
func CheckObject(data []byte) error {
	data = bytes.Trim(bytes.TrimPrefix(data, byteOrderMark), jsonSpace)
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
