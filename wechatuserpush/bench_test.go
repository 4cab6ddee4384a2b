package wechatuserpush_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wechatuser/wechatuser/wechatuserpush"
)

// BenchmarkEncryptedPush handles new pushes in safe mode, from the request to the response.
func BenchmarkEncryptedPush(b *testing.B) {
	const many = 1 << 14
	messages := make([]*message, many)
	for i := range messages {
		messages[i] = platform.safe(event("subscribe", time.Now().Unix()+int64(i), "<EventKey></EventKey>"))
	}
	cfg := wechatuserpush.Config{AppID: appID, Token: token, EncodingAESKey: aesKey}
	var h http.Handler
	i := many
	b.ReportAllocs()
	for b.Loop() {
		if i == many { // each push is new to this handler
			b.StopTimer()
			h, _ = wechatuserpush.NewHandler(cfg, func(context.Context, wechatuserpush.Event) error { return nil })
			i = 0
			b.StartTimer()
		}
		m := messages[i]
		i++
		b.StopTimer()
		r, w := m.request(), httptest.NewRecorder()
		r.Body = io.NopCloser(strings.NewReader(m.body))
		b.StartTimer()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}
