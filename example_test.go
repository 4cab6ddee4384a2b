package wechatuser_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// exampleAccount is the account of the examples: one in memory with a hundred followers.
func exampleAccount() *wechatusertest.Server {
	return wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(100))
}

func ExampleNew() {
	c, err := wechatuser.New("wx0000000000000000", "00000000000000000000000000000000",
		wechatuser.WithDisasterRecovery(),
		wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 5}),
	)
	fmt.Println(c, err)
	// Output: wechatuser.Client(wx0000000000000000) <nil>
}

func ExampleClient_GetUserInfo() {
	srv := exampleAccount()
	srv.Unfollow(wechatusertest.OpenID(1))
	c := srv.Client()
	for i := range 2 {
		user, err := c.GetUserInfo(context.Background(), wechatusertest.OpenID(i))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(user.Subscribed(), user.SubscribedAt().IsZero())
	}
	// Output:
	// true false
	// false true
}

func ExampleClient_CreateTag() {
	ctx, c := context.Background(), exampleAccount().Client()
	tag, err := c.CreateTag(ctx, "会员")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.BatchTagging(ctx, tag.ID, []string{wechatusertest.OpenID(0), wechatusertest.OpenID(1)}); err != nil {
		fmt.Println(err)
		return
	}
	ids, err := c.GetTagIDList(ctx, wechatusertest.OpenID(1))
	fmt.Println(tag.Name, slices.Contains(ids, tag.ID), err)

	_, err = c.CreateTag(ctx, "会员")
	fmt.Println(errors.Is(err, wechatuser.CodeInvalidTagName))
	// Output:
	// 会员 true <nil>
	// true
}

func ExampleClient_BatchBlacklist() {
	ctx, c := context.Background(), exampleAccount().Client()
	if err := c.BatchBlacklist(ctx, []string{wechatusertest.OpenID(7)}); err != nil {
		fmt.Println(err)
		return
	}
	page, err := c.GetBlacklist(ctx, "")
	fmt.Println(page.Total, page.OpenIDs[0] == wechatusertest.OpenID(7), err)
	// Output: 1 true <nil>
}

func ExampleClient_GetAPIQuota() {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(),
		wechatusertest.WithQuota("/cgi-bin/user/get", 500, 0))
	quota, err := srv.Client().GetAPIQuota(context.Background(), "/cgi-bin/user/get")
	fmt.Println(quota.DailyLimit, quota.Remain, err)
	// Output: 500 500 <nil>
}

func ExampleError() {
	_, err := exampleAccount().Client().GetUserInfo(context.Background(), "oNobody")

	var e *wechatuser.Error
	fmt.Println(errors.Is(err, wechatuser.CodeInvalidOpenID), errors.Is(err, wechatuser.ErrRateLimited))
	if errors.As(err, &e) {
		fmt.Println(e.API, int(e.Code), e.Message, e.RID != "")
		fmt.Println(e.Code.MeaningZH())
	}
	// Output:
	// true false
	// userInfo 40003 invalid openid true
	// 不合法的 OpenID，请确认该用户是否已关注公众号，或是否是其他公众号的 OpenID
}

func ExampleArgumentError() {
	err := exampleAccount().Client().BatchTagging(context.Background(), 100, make([]string, 120))
	fmt.Println(err)
	// Output: wechatuser: batchTagging: openid_list: 120 openids, but one call takes at most 50: use BulkTagging for any number
}

func ExampleWithInterceptor() {
	count := func(ctx context.Context, call wechatuser.Call,
		next func(context.Context) (wechatuser.Result, error),
	) (wechatuser.Result, error) {
		res, err := next(ctx)
		fmt.Println(call.API, res.StatusCode, int(res.Code), res.Attempts)
		return res, err
	}
	_, _ = exampleAccount().Client(wechatuser.WithInterceptor(count)).GetTags(context.Background())
	// Output:
	// getStableAccessToken 200 0 1
	// getTags 200 0 1
}

// Do calls any endpoint of the platform with the client's token, retries and errors: here it makes a QR code with a
// scene string, and reads how many users came and left on a day.
//
// https://developers.weixin.qq.com/doc/service/api/qrcode/qrcodes/api_createqrcode.html and
// https://developers.weixin.qq.com/doc/service/api/wedata/user/api_getusersummary.html
func ExampleClient_Do() {
	srv := exampleAccount()
	// The simulator knows the user management. Other paths respond with what a test needs.
	srv.Handle("/cgi-bin/qrcode/create", func(wechatusertest.Request) any {
		return map[string]any{"ticket": "gQH47joAAAAAAAAA", "expire_seconds": 604800}
	})
	srv.Handle("/datacube/getusersummary", func(r wechatusertest.Request) any {
		day := map[string]any{"ref_date": r.Body["begin_date"], "user_source": 30, "new_user": 12, "cancel_user": 3}
		return map[string]any{"list": []any{day}}
	})
	ctx, c := context.Background(), srv.Client()

	type scene struct {
		Str string `json:"scene_str"`
	}
	var code struct {
		Ticket string `json:"ticket"`
	}
	err := c.Do(ctx, wechatuser.Request{
		API: "createQRCode", Path: "/cgi-bin/qrcode/create",
		Body: map[string]any{
			"action_name": "QR_STR_SCENE", "expire_seconds": 604800,
			"action_info": map[string]scene{"scene": {"shop-7"}},
		},
	}, &code)
	fmt.Println(code.Ticket, err)

	var summary struct {
		List []struct {
			Date   string `json:"ref_date"`
			New    int    `json:"new_user"`
			Cancel int    `json:"cancel_user"`
		} `json:"list"`
	}
	err = c.Do(ctx, wechatuser.Request{
		API: "getusersummary", Path: "/datacube/getusersummary", Idempotent: true, // it only reads
		Body: map[string]string{"begin_date": "2026-03-09", "end_date": "2026-03-09"},
	}, &summary)
	for _, day := range summary.List {
		fmt.Println(day.Date, day.New, "new,", day.Cancel, "left")
	}
	fmt.Println(err)
	// Output:
	// gQH47joAAAAAAAAA <nil>
	// 2026-03-09 12 new, 3 left
	// <nil>
}
