package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser/accounts"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newService(t *testing.T, shops ...string) (*database, http.Handler) {
	t.Helper()
	db := newDatabase(shops...)
	registry, err := accounts.New(db.lookup)
	require.NoError(t, err)
	return db, routes(registry)
}

func post(t *testing.T, h http.Handler, path, body string) int {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body)))
	assert.NotContains(t, rec.Body.String(), strings.Repeat("0", 30), "a secret")
	return rec.Code
}

func order(i int) string { return `{"openid":"` + wechatusertest.OpenID(i) + `"}` }

func TestOrdersTagTheBuyersOfEachShop(t *testing.T) {
	db, h := newService(t, "tea", "books")
	assert.Equal(t, 204, post(t, h, "/shops/tea/orders", order(0)), "the first order makes the tag")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { assert.Equal(t, 204, post(t, h, "/shops/tea/orders", order(i))) })
	}
	wg.Go(func() { assert.Equal(t, 204, post(t, h, "/shops/books/orders", order(7))) })
	wg.Wait()
	for shop, buyers := range map[string]int{"tea": 4, "books": 1} {
		srv := db.rows[shop]
		var tagged []string
		for _, tag := range srv.Tags() {
			if tag.Name == "买家" {
				tagged = srv.TagFans(tag.ID)
			}
		}
		assert.Len(t, tagged, buyers, shop)
		assert.Equal(t, 1, srv.Calls("/cgi-bin/stable_token"), shop)
	}
}

func TestWrongOrders(t *testing.T) {
	_, h := newService(t, "tea")
	assert.Equal(t, 404, post(t, h, "/shops/coffee/orders", order(0)))
	assert.Equal(t, 400, post(t, h, "/shops/tea/orders", "openid"))
	assert.Equal(t, 400, post(t, h, "/shops/tea/orders", `{"openid":""}`))
	assert.Equal(t, 400, post(t, h, "/shops/tea/orders", order(99)))
}

// An account gets a new row, such as one with another secret.
func TestRefresh(t *testing.T) {
	db, h := newService(t, "tea")
	require.Equal(t, 204, post(t, h, "/shops/tea/orders", order(0)))
	db.mu.Lock()
	db.rows["tea"] = newDatabase("old", "new").rows["new"]
	db.mu.Unlock()
	require.Equal(t, 204, post(t, h, "/shops/tea/refresh", ""))
	require.Equal(t, 204, post(t, h, "/shops/tea/orders", order(0)))
	assert.Equal(t, 1, db.rows["tea"].Calls("/cgi-bin/tags/members/batchtagging"))
	assert.Equal(t, 404, post(t, h, "/shops/coffee/refresh", ""))
}

func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-addr", "127.0.0.1:0"}, in) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	url := regexp.MustCompile(`http://\S+`).FindString(line)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(order(0)))
	require.NoError(t, err)
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	assert.NoError(t, resp.Body.Close())
	assert.Equal(t, 204, resp.StatusCode)
	stop()
	require.NoError(t, <-ended)
}
