package wechatusertest_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// A million followers, half of them with a tag, in less than a gigabyte.
func TestMillionFans(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	a := newAccount(t, wechatusertest.WithFans(1_000_000))
	a.AddTag("vip", a.OpenIDs()[500_000:]...)
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.Logf("%d MiB on the heap", mem.HeapAlloc>>20)
	assert.Less(t, mem.HeapAlloc, uint64(1<<30))
	assert.Contains(t, a.get("/cgi-bin/user/get", "next_openid", wechatusertest.OpenID(900_000)), `{"total":1000000,"count":10000,`)
	runtime.KeepAlive(a)
}

func BenchmarkServer(b *testing.B) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1_000_000))
	vip := srv.AddTag("vip", wechatusertest.OpenID(0), wechatusertest.OpenID(999_999))
	token := "?access_token=" + srv.AccessToken()
	for _, row := range []struct{ name, method, url, body string }{
		{"user/info", http.MethodGet, "/cgi-bin/user/info" + token + "&openid=" + wechatusertest.OpenID(5), ""},
		{"user/get", http.MethodGet, "/cgi-bin/user/get" + token + "&next_openid=" + wechatusertest.OpenID(500_000), ""},
		{"user/tag/get", http.MethodPost, "/cgi-bin/user/tag/get" + token, fmt.Sprintf(`{"tagid":%d}`, vip)},
		{"batchtagging", http.MethodPost, taggingPath + token, tagging(vip, ids(50)...)},
		{"batchget", http.MethodPost, "/cgi-bin/user/info/batchget" + token, userList(ids(100)...)},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				req, err := http.NewRequest(row.method, srv.URL+row.url, strings.NewReader(row.body))
				if err != nil {
					b.Fatal(err)
				}
				resp, err := srv.Transport().RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}
