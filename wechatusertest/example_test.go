package wechatusertest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// An account with 25,000 followers. The platform is busy once, and the client retries.
func ExampleNewServer() {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(25_000))
	defer srv.Close()
	srv.AddUsers(wechatuser.UserInfo{OpenID: wechatusertest.OpenID(7), Remark: "老客户"})
	srv.FailNext("/cgi-bin/user/get", wechatuser.CodeSystemBusy, 1)

	ctx := context.Background()
	client := srv.Client()
	fans := 0
	for _, err := range client.AllFans(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fans++
	}
	user, err := client.GetUserInfo(ctx, wechatusertest.OpenID(7))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(fans, "followers, one with the remark", user.Remark)
	fmt.Println(srv.Calls("/cgi-bin/user/get"), "calls of user/get")
	// Output:
	// 25000 followers, one with the remark 老客户
	// 5 calls of user/get
}

// A server without a socket and without a goroutine, which also works with testing/synctest.
func ExampleWithoutListener() {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1))
	client := srv.Client()
	if err := client.UpdateRemark(context.Background(), wechatusertest.OpenID(0), "vip"); err != nil {
		fmt.Println(err)
		return
	}
	user, _ := srv.User(wechatusertest.OpenID(0))
	fmt.Println(user.Remark)
	// Output: vip
}

// A program that is pushed who follows and who leaves.
func ExampleWithPushes() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("pushed:", r.URL.Query().Get("openid")) // package wechatuserpush verifies and decrypts pushes
		_, _ = io.WriteString(w, "success")
	})
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(),
		wechatusertest.WithPushes(wechatusertest.PushConfig{Handler: handler, Token: "fakeToken"}))
	defer srv.Close()

	srv.FollowByScan("shop-7", "oFAKE1")
	srv.Unfollow("oFAKE1")
	if err := srv.WaitPushes(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range srv.Pushes() {
		fmt.Println(p.Event, p.Key, p.Status)
	}
	// Output:
	// pushed: oFAKE1
	// pushed: oFAKE1
	// subscribe qrscene_shop-7 delivered
	// unsubscribe  delivered
}

// A bulk job that succeeds although the platform fails at random.
func ExampleWild() {
	srv := wechatusertest.NewServer(
		wechatusertest.WithoutListener(), wechatusertest.WithFans(500),
		wechatusertest.WithQuirks(wechatusertest.Wild(7)))
	vip := srv.AddTag("vip")
	client := srv.Client(wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 5, MinDelay: 1, MaxDelay: 1}))
	ctx := context.Background()
	report, err := client.BulkTagging(ctx, vip, client.AllFans(ctx))
	fmt.Println(report.Applied, "tagged, errors:", err)
	fmt.Println(len(srv.TagFans(vip)), "have the tag")
	// Output:
	// 500 tagged, errors: <nil>
	// 500 have the tag
}

// A single quirk: the platform leaves out openids that it does not know.
func ExampleWithQuirks() {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(2),
		wechatusertest.WithQuirks(wechatusertest.Quirks{ShortBatch: true}))
	_, err := srv.Client().BatchUserInfo(context.Background(), []wechatuser.UserQuery{
		{OpenID: wechatusertest.OpenID(0)},
		{OpenID: wechatusertest.ForeignOpenID(0)},
		{OpenID: wechatusertest.OpenID(1)},
	})
	fmt.Println(errors.Is(err, wechatuser.ErrUnproven))
	// Output: true
}

// The second tag is created, but the response is lost.
func ExampleServer_Fault() {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	srv.Fault(wechatusertest.Fault{
		Path: "/cgi-bin/tags/create", Kind: wechatusertest.FaultDropAnswer, After: 1, Times: 1,
	})
	client := srv.Client(wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1}))
	for _, name := range []string{"one", "two", "three"} {
		_, err := client.CreateTag(context.Background(), name)
		fmt.Println(name, errors.Is(err, wechatuser.ErrAmbiguous))
	}
	fmt.Println(len(srv.Tags()), "tags")
	// Output:
	// one false
	// two true
	// three false
	// 3 tags
}

// The requests of a program and their errcodes.
func ExampleServer_Requests() {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1))
	client := srv.Client()
	_ = client.UpdateRemark(context.Background(), wechatusertest.OpenID(0), "vip")
	_ = client.UpdateRemark(context.Background(), "oFAKEnobody", "vip")
	for _, r := range srv.Requests("*") {
		fmt.Println(r.API, r.Body["remark"], int(r.Errcode))
	}
	// Output:
	// updateRemark vip 0
	// updateRemark vip 40003
}

// The changes that a program made to the account.
func ExampleSnapshot_Diff() {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	srv.Follow("oFAKE1", "oFAKE2", "oFAKE3")
	before := srv.Snapshot()

	client, ctx := srv.Client(), context.Background()
	tag, _ := client.CreateTag(ctx, "vip")
	_ = client.BatchTagging(ctx, tag.ID, []string{"oFAKE1", "oFAKE3"})
	_ = client.BatchBlacklist(ctx, []string{"oFAKE2"})

	fmt.Print(before.Diff(srv.Snapshot()))
	// Output:
	// + tag 100 "vip": 2 fans
	// ~ user oFAKE1: tagid_list [], then [100]
	// ~ user oFAKE2: blocked false, then true
	// ~ user oFAKE3: tagid_list [], then [100]
	// ~ next tag id: 100, then 101
}

// An account that is loaded from JSON, changed and saved.
func ExampleServer_Load() {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener())
	err := srv.Load(strings.NewReader(`{"tags":[
		{"id":100,"name":"vip"}
	],"users":[
		{"openid":"oFAKE1","subscribe_time":1773115200,"remark":"老客户","tagid_list":[100]}
	]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = srv.Client().UpdateRemark(context.Background(), "oFAKE1", "")
	if err := srv.Save(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"next_tag_id":101,"tags":[
	// {"id":2,"name":"星标组"},
	// {"id":100,"name":"vip"}
	// ],"users":[
	// {"openid":"oFAKE1","subscribe_time":1773115200,"tagid_list":[100]}
	// ]}
}
