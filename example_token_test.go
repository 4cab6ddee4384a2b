package wechatuser_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// Clients that share a store share one access token. For clients in several processes there is a store on Redis in the
// module redisstore.
func ExampleWithTokenStore() {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	store := wechatuser.NewMemoryTokenStore()
	ctx := context.Background()
	for range 3 {
		c := srv.Client(wechatuser.WithTokenStore(store))
		if _, err := c.GetTags(ctx); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println("token requests:", srv.Calls("/cgi-bin/stable_token"))
	// Output: token requests: 1
}

// The access token comes from a service of your own, and the SDK never fetches one from WeChat.
func ExampleWithTokenSource() {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	central := srv.Client() // stands for the token service

	source := wechatuser.TokenSourceFunc(func(ctx context.Context) (wechatuser.Token, error) {
		return central.Token(ctx) // a request to the service, whose response is cached for a while
	})
	c := srv.Client(wechatuser.WithTokenSource(source))
	tags, err := c.GetTags(context.Background())
	fmt.Println(len(tags), err)
	// Output: 1 <nil>
}

// A program counts the refreshes of its token by reason. Here another program invalidates the token once.
func ExampleWithTokenHook() {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	c := srv.Client(wechatuser.WithTokenHook(wechatuser.TokenHook{
		Refreshed: func(_ context.Context, r wechatuser.TokenRefresh) {
			fmt.Println("reason:", r.Reason, "from:", r.From, "error:", r.Err)
		},
	}))
	for range 2 {
		if _, err := c.GetTags(context.Background()); err != nil {
			fmt.Println(err)
		}
		srv.ExpireTokens()
	}
	// Output:
	// reason: cold from: wechat error: <nil>
	// reason: rejected from: wechat error: <nil>
}

// The token for a request that another library sends.
func ExampleClient_Token() {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	c := srv.Client()

	ctx := context.Background()
	token, err := c.Token(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, wechatuser.BaseURL+"/cgi-bin/getcallbackip", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	req.URL.RawQuery = "access_token=" + token.AccessToken
	fmt.Println(req.URL.Path, token.AccessToken != "")
	// Output: /cgi-bin/getcallbackip true
}

// However a token is printed, only its expiry is shown.
func ExampleToken() {
	token := wechatuser.Token{AccessToken: "FAKE-TOKEN"}
	fmt.Println(token)
	fmt.Printf("%+v %#v %q\n", token, token, token)
	// Output:
	// Token(***)
	// Token(***) Token(***) Token(***)
}
