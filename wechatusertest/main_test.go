package wechatusertest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// atFullSize returns full if the environment variable WECHATUSER_FULL is set. Otherwise it returns share, so that long
// tests are short by default.
func atFullSize(full, share int) int {
	if os.Getenv("WECHATUSER_FULL") != "" {
		return full
	}
	return share
}

const ok = `{"errcode":0,"errmsg":"ok"}`

// start is the time of the accounts in these tests: noon in Beijing on the 10th of a month.
var start = time.Date(2026, 3, 10, 4, 0, 0, 0, time.UTC)

// account sends raw requests to a server's handler.
type account struct {
	*wechatusertest.Server
	t testing.TB
}

func newAccount(t testing.TB, opts ...wechatusertest.Option) account {
	t.Helper()
	own := []wechatusertest.Option{
		wechatusertest.WithoutListener(),
		wechatusertest.WithClock(func() time.Time { return start }),
	}
	return account{wechatusertest.NewServer(append(own, opts...)...), t}
}

func (a account) do(method, path string, query url.Values, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(a.t.Context(), method, path+"?"+query.Encode(), strings.NewReader(body))
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// get and post send a request with a valid token and return the response body.
func (a account) get(path string, pairs ...string) string {
	query := url.Values{"access_token": {a.AccessToken()}}
	for i := 0; i < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	return a.do(http.MethodGet, path, query, "").Body.String()
}

func (a account) post(path, body string) string {
	return a.do(http.MethodPost, path, url.Values{"access_token": {a.AccessToken()}}, body).Body.String()
}

// assertCode asserts that a response has the errcode, and returns its errmsg.
func assertCode(t testing.TB, errcode int, body string) string {
	t.Helper()
	var resp struct {
		Errcode int
		Errmsg  string
	}
	require.NoError(t, json.Unmarshal([]byte(body), &resp), body)
	assert.Equal(t, errcode, resp.Errcode, body)
	return resp.Errmsg
}

// decode decodes the response of a successful call.
func decode[T any](t testing.TB, body string) T {
	t.Helper()
	var v T
	require.NotContains(t, body, "errcode")
	require.NoError(t, json.Unmarshal([]byte(body), &v), body)
	return v
}

type page struct {
	Total *int
	Count int
	Data  *struct {
		OpenID []string
	}
	Next *string `json:"next_openid"`
}

// array returns a JSON array of openids.
func array(openIDs ...string) string {
	b, _ := json.Marshal(openIDs)
	return string(b)
}

// ids returns the first n openids of WithFans.
func ids(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = wechatusertest.OpenID(i)
	}
	return list
}
