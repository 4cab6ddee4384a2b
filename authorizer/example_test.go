package authorizer_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/authorizer"
	"github.com/wechatuser/wechatuser/wechatuserpush"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func Example() {
	ctx := context.Background()
	wechat := wechatusertest.NewPlatform(wechatusertest.WithoutListener()) // in place of WeChat
	account := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(3))
	transport := wechatuser.WithTransport(wechat.Transport())

	platform, err := authorizer.New(wechat.AppID, wechat.Secret, authorizer.NewMemoryStore(),
		authorizer.WithClientOptions(transport))
	if err != nil {
		fmt.Println(err)
		return
	}
	wechat.OnTicket(func(ticket string) { err = platform.SaveTicket(ctx, ticket) })
	a, err := platform.ExchangeCode(ctx, wechat.Authorize(account, 2, 15))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("permission sets", a.Permissions)

	c, err := wechatuser.New(a.AppID, "", wechatuser.WithTokenSource(platform.Source(a.AppID)), transport)
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		fans, err := c.GetFans(ctx, "")
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(fans.Total, "followers,", wechat.Fetched(a.AppID), "tokens")
		wechat.Advance(2 * time.Hour) // the tokens expire
	}
	// Output:
	// permission sets [2 15]
	// 3 followers, 1 tokens
	// 3 followers, 2 tokens
}

// The handler of the event URL of a platform.
func ExamplePlatform_Handle() {
	platform, err := authorizer.New("wx0123456789abcdef", "the app secret", authorizer.NewMemoryStore())
	if err != nil {
		fmt.Println(err)
		return
	}
	handler, err := wechatuserpush.NewHandler(wechatuserpush.Config{
		AppID: platform.AppID(), Token: "thetoken", EncodingAESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
	}, func(ctx context.Context, event wechatuserpush.Event) error {
		if e, ok := event.(*wechatuserpush.Unauthorized); ok {
			fmt.Println(e.AuthorizerAppID, "has left")
		}
		return platform.Handle(ctx, event)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	http.Handle("/push", handler)
}
