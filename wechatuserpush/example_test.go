package wechatuserpush_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"time"

	"github.com/wechatuser/wechatuser/wechatuserpush"
)

func ExampleNewHandler() {
	handler, err := wechatuserpush.NewHandler(wechatuserpush.Config{
		AppID:          "wxFAKE000000000000",
		Token:          "the-token-of-the-console",
		EncodingAESKey: "0123456789012345678901234567890123456789abc",
		Logger:         slog.Default(),
	}, func(ctx context.Context, event wechatuserpush.Event) error {
		switch event := event.(type) {
		case *wechatuserpush.Subscribe:
			return follow(ctx, event.FromUserName, event.Scene)
		case *wechatuserpush.Unsubscribe:
			return forget(ctx, event.FromUserName)
		case *wechatuserpush.AuthorizationCancellation:
			return forget(ctx, event.OpenID)
		}
		return nil // other events and messages are of no interest here
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/wechat", handler)
	server := &http.Server{
		Addr: ":8080", Handler: mux,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, // the platform does not wait longer
	}
	fmt.Println(server.Addr, handler)
	// Output: :8080 wechatuserpush.Handler(wxFAKE000000000000)
}

// follow and forget change the table of followers.
func follow(_ context.Context, openID, scene string) error {
	fmt.Println(openID, scene)
	return nil
}

func forget(_ context.Context, openID string) error {
	fmt.Println(openID)
	return nil
}
