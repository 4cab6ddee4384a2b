package tokenclient_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/examples/tokenclient"
)

func TestBaseURL(t *testing.T) {
	for _, base := range []string{
		"https://tokens.example.com", "http://127.0.0.1:8081", "http://[::1]:8081", "http://localhost",
	} {
		_, err := tokenclient.New(base, key, nil)
		assert.NoError(t, err, base)
	}
	for _, base := range []string{
		"", "tokens", "http://tokens.example.com", "http://192.0.2.1", "ftp://127.0.0.1",
		"https://user:SENTINEL-PASSWORD@example.com",
	} {
		_, err := tokenclient.New(base, key, nil)
		require.Error(t, err, base)
		assert.NotContains(t, err.Error(), "SENTINEL")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestErrorsContainNoSecret(t *testing.T) {
	for name, rt := range map[string]roundTripper{
		"no response": func(*http.Request) (*http.Response, error) { return nil, errors.New("reset") },
		"wrong key": func(*http.Request) (*http.Response, error) {
			return response(401, `{"error":"wrong key"}`), nil
		},
		"truncated token": func(*http.Request) (*http.Response, error) {
			return response(200, `{"access_token":"SENTINEL-TOKEN","expires_`), nil
		},
		"no expiry": func(*http.Request) (*http.Response, error) {
			return response(200, `{"access_token":"SENTINEL-TOKEN"}`), nil
		},
		"redirect": redirect,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newSource(t, rt).Token(t.Context())
			require.Error(t, err)
			assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "SENTINEL")
		})
	}
}

func redirect(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "tokens.example.com" {
		return nil, errors.New("SENTINEL: the redirect was followed")
	}
	resp := response(307, "")
	resp.Header.Set("Location", "https://elsewhere.example.com")
	return resp, nil
}
