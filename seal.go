package wechatuser

import (
	"errors"
	"strings"
	"unicode"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// sealed keeps secrets out of an error that comes from elsewhere, such as a transport. An error whose text is clean
// stays as it is, so that errors.As finds what is in it.
func sealed(err error, secrets []string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	clean := wire.Mask(text, secrets...)
	if clean == text && !strings.Contains(text, "access_token=") && !strings.Contains(text, "secret=") {
		return err
	}
	for _, mark := range []string{"access_token=", "secret="} {
		clean = maskParam(clean, mark)
	}
	return &sealedError{text: clean, is: func(target error) bool { return errors.Is(err, target) }, timeout: isTimeout(err)}
}

// maskParam masks the values of a query parameter, whoever they belong to.
func maskParam(text, mark string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, mark)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString(mark + "***")
		end := strings.IndexFunc(after, func(r rune) bool { return r == '&' || r == '"' || r == '\'' || unicode.IsSpace(r) })
		if end < 0 {
			return b.String()
		}
		text = after[end:]
	}
}

// sealedError is an error of which only the text without secrets is left, and what errors.Is said of it.
type sealedError struct {
	text    string
	is      func(error) bool
	timeout bool
}

func (e *sealedError) Error() string        { return e.text }
func (e *sealedError) Is(target error) bool { return e.is(target) }
func (e *sealedError) Timeout() bool        { return e.timeout }
func (e *sealedError) Temporary() bool      { return false }

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
