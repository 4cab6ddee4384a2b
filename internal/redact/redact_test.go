package redact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token  = "SENTINEL-token"
	secret = "SENTINEL-secret"
)

func TestTextRedactsSecretsAndParameters(t *testing.T) {
	r := New(token, secret)
	assert.Equal(t, "the token *** and the secret ***", r.Text("the token "+token+" and the secret "+secret))
	assert.Equal(t, "GET /x?access_token=***&secret=***&a=b", r.Text("GET /x?access_token=unknown&secret=other&a=b"))
	assert.Equal(t, "?access_token=***", Redactor{}.Text("?access_token=unknown"), "the zero value knows the parameters")
}

func TestRedactorPrintsNoSecret(t *testing.T) {
	r := New(token)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		assert.NotContains(t, fmt.Sprintf(verb, r), "SENTINEL")
	}
}

func TestErrorThatLeaksNothingStaysAsItIs(t *testing.T) {
	r := New(token, secret)
	require.NoError(t, r.Error(nil))
	err := fmt.Errorf("read: %w", &fs.PathError{Op: "open", Path: "/x", Err: os.ErrNotExist})
	assert.Same(t, err, r.Error(err))
}

type timeoutError struct{ detail string }

func (*timeoutError) Error() string   { return "took too long" }
func (*timeoutError) Timeout() bool   { return true }
func (*timeoutError) Temporary() bool { return true }

// hiddenError prints its secret with one verb only.
type hiddenError struct{ detail string }

func (*hiddenError) Error() string { return "failed" }
func (e *hiddenError) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('+') {
		fmt.Fprint(f, e.detail)
		return
	}
	fmt.Fprint(f, "failed")
}

func TestErrorThatLeaksKeepsItsTextAndWhatItIs(t *testing.T) {
	r := New(token, secret)
	for name, err := range map[string]error{
		"in the text":      fmt.Errorf("sent %s: %w", token, os.ErrClosed),
		"in the URL":       fmt.Errorf("Get https://api.weixin.qq.com/?access_token=%s: %w", token, os.ErrClosed),
		"another token":    fmt.Errorf("Get /?access_token=other-one: %w", os.ErrClosed),
		"in a field":       fmt.Errorf("%w: %w", &timeoutError{token}, os.ErrClosed),
		"with one verb":    errors.Join(&hiddenError{secret}, os.ErrClosed),
		"deep in a chain":  fmt.Errorf("a: %w", fmt.Errorf("b: %w", errors.Join(os.ErrClosed, &hiddenError{token}))),
		"behind the first": errors.Join(os.ErrClosed, errors.New(secret)),
	} {
		t.Run(name, func(t *testing.T) {
			got := r.Error(err)
			for _, verb := range []string{"%v", "%+v", "%#v"} {
				text := fmt.Sprintf(verb, got)
				assert.NotContains(t, text, "SENTINEL")
				assert.NotContains(t, text, "other-one")
			}
			require.ErrorIs(t, got, os.ErrClosed)
			require.NotErrorIs(t, got, context.Canceled)
			assert.NoError(t, errors.Unwrap(got), "nothing of the chain is left")
		})
	}
}

func TestErrorKeepsTheTimeout(t *testing.T) {
	r := New(token)
	for _, err := range []error{&timeoutError{token}, fmt.Errorf("wrapped: %w", &timeoutError{token})} {
		var timeout interface{ Timeout() bool }
		require.ErrorAs(t, r.Error(err), &timeout)
		assert.True(t, timeout.Timeout())
	}
	var timeout interface{ Timeout() bool }
	require.ErrorAs(t, r.Error(errors.New(token)), &timeout)
	assert.False(t, timeout.Timeout())
}

func TestErrorLeavesNoURL(t *testing.T) {
	got := New(token).Error(errors.New(`Post "https://user:pass@example.com/x?secret=y&b=c": EOF ` + token))
	assert.EqualError(t, got, `Post "***": EOF ***`)
}
