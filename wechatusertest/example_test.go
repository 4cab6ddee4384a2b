package wechatusertest_test

import (
	"context"
	"fmt"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// An account with 25,000 followers, one of them with a remark, and a platform that is busy once.
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

// No socket and no goroutine: a server that works under testing/synctest.
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
