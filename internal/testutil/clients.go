package testutil

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// NewClient returns a client that sends through rt and has a token already. The options given take precedence.
func NewClient(t testing.TB, rt http.RoundTripper, opts ...wechatuser.Option) *wechatuser.Client {
	t.Helper()
	source := wechatuser.WithTokenSource(wechatuser.StaticTokenSource(Token))
	return NewTokenClient(t, rt, append([]wechatuser.Option{source}, opts...)...)
}

// NewSocketServer starts a server on the loopback interface, for tests that need a socket.
func NewSocketServer(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return srv
}

// DiscardLog discards what is logged.
var DiscardLog = log.New(io.Discard, "", 0)

// Attempts returns the Attempts of an error of any type.
func Attempts(t *testing.T, err error) int {
	t.Helper()
	var (
		e  *wechatuser.Error
		te *wechatuser.TransportError
		re *wechatuser.ResponseError
	)
	switch {
	case errors.As(err, &e):
		return e.Attempts
	case errors.As(err, &te):
		return te.Attempts
	case errors.As(err, &re):
		return re.Attempts
	}
	require.Fail(t, "an error of another type", "%T", err)
	return 0
}

// Describe returns the type of an error and the classes that it matches.
func Describe(err error) string {
	if err == nil {
		return "ok"
	}
	var (
		words []string
		e     *wechatuser.Error
		te    *wechatuser.TransportError
		re    *wechatuser.ResponseError
	)
	switch {
	case errors.As(err, &e):
		words = append(words, "Error")
	case errors.As(err, &te):
		words = append(words, "TransportError")
	case errors.As(err, &re):
		words = append(words, "ResponseError")
	default:
		words = append(words, reflect.TypeOf(err).String())
	}
	for _, class := range []struct {
		name string
		err  error
	}{
		{"ErrInvalidToken", wechatuser.ErrInvalidToken},
		{"ErrCredential", wechatuser.ErrCredential},
		{"ErrRateLimited", wechatuser.ErrRateLimited},
		{"ErrPermission", wechatuser.ErrPermission},
		{"ErrNotFollowing", wechatuser.ErrNotFollowing},
		{"ErrInvalidArgument", wechatuser.ErrInvalidArgument},
		{"ErrTemporary", wechatuser.ErrTemporary},
		{"ErrAmbiguous", wechatuser.ErrAmbiguous},
		{"ErrUnproven", wechatuser.ErrUnproven},
	} {
		if errors.Is(err, class.err) {
			words = append(words, class.name)
		}
	}
	return strings.Join(words, " ")
}

// NewTokenClient returns a client that fetches its tokens through rt. The options given take precedence.
func NewTokenClient(t testing.TB, rt http.RoundTripper, opts ...wechatuser.Option) *wechatuser.Client {
	t.Helper()
	c, err := wechatuser.New(AppID, Secret, append([]wechatuser.Option{wechatuser.WithTransport(rt)}, opts...)...)
	require.NoError(t, err)
	return c
}

// ThreeHosts gives a client the hosts a, b and c.
var ThreeHosts = wechatuser.WithBaseURL("https://a", "https://b", "https://c")

// NoRetry limits a call to one attempt.
var NoRetry = wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1})

// Next is what an interceptor calls to go on.
type Next = func(context.Context) (wechatuser.Result, error)
