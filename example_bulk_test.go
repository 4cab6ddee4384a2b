package wechatuser_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// inMemory returns an account in memory with this number of followers, and a client for it.
func inMemory(fans int) (*wechatusertest.Server, *wechatuser.Client) {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(fans))
	return srv, srv.Client()
}

// All openids that have one tag get another one.
func ExampleClient_BulkTagging() {
	srv, c := inMemory(1000)
	old := srv.AddTag("2024", srv.OpenIDs()[:730]...)
	vip := srv.AddTag("vip")

	ctx := context.Background()
	report, err := c.BulkTagging(ctx, vip, c.AllTagFans(ctx, old))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report)
	// Output: 730 of 730 applied, 0 failed, 15 calls
}

// SelectOpenIDs makes the input of a job from profiles. A profile that cannot be read does not stop the job.
func ExampleClient_BulkTagging_filter() {
	srv, c := inMemory(1000)
	srv.Unfollow(srv.OpenIDs()[:100]...)
	srv.AddUsers(
		wechatuser.UserInfo{OpenID: "oFAKEbyQRCode1", SubscribeScene: wechatuser.SceneQRCode},
		wechatuser.UserInfo{OpenID: "oFAKEbyQRCode2", SubscribeScene: wechatuser.SceneQRCode},
	)
	shop := srv.AddTag("met in the shop")

	byQRCode := func(user wechatuser.UserInfo) bool { return user.SubscribeScene == wechatuser.SceneQRCode }
	ctx := context.Background()
	users := c.BulkUserInfo(ctx, c.AllFans(ctx))
	report, err := c.BulkTagging(ctx, shop, wechatuser.SelectOpenIDs(users, byQRCode, nil))
	fmt.Println(report, err)
	// Output: 2 of 2 applied, 0 failed, 1 calls <nil>
}

// The input can be a channel. It runs in the caller's goroutine, so it should watch the context.
func ExampleClient_BulkTagging_channel() {
	srv, c := inMemory(120)
	vip := srv.AddTag("vip")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	openIDs := make(chan string)
	go func() { // such as a reader of a queue
		defer close(openIDs)
		for _, id := range srv.OpenIDs() {
			select {
			case openIDs <- id:
			case <-ctx.Done():
				return
			}
		}
	}()
	report, err := c.BulkTagging(ctx, vip, func(yield func(string, error) bool) {
		for {
			select {
			case id, ok := <-openIDs:
				if !ok || !yield(id, nil) {
					return
				}
			case <-ctx.Done():
				yield("", ctx.Err())
				return
			}
		}
	})
	fmt.Println(report, err)
	// Output: 120 of 120 applied, 0 failed, 3 calls <nil>
}

// rows stands in for *sql.Rows.
type rows struct{ openIDs []string }

func (r *rows) Next() bool { return len(r.openIDs) > 0 }

func (r *rows) Err() error { return nil }

func (r *rows) Scan(dest *string) error {
	*dest, r.openIDs = r.openIDs[0], r.openIDs[1:]
	return nil
}

// The input can be the cursor of a database. An error of the cursor stops the job when what came before it is done.
func ExampleClient_BulkTagging_cursor() {
	srv, c := inMemory(120)
	vip := srv.AddTag("vip")

	result := &rows{srv.OpenIDs()} // SELECT openid FROM customers WHERE spent > 10000 ORDER BY id
	report, err := c.BulkTagging(context.Background(), vip, func(yield func(string, error) bool) {
		for result.Next() {
			var id string
			if err := result.Scan(&id); !yield(id, err) {
				return
			}
		}
		if err := result.Err(); err != nil {
			yield("", err)
		}
	})
	fmt.Println(report, err)
	// Output: 120 of 120 applied, 0 failed, 3 calls <nil>
}

// Rejected openids are reported, and all others are tagged.
func ExampleBulkError() {
	srv, c := inMemory(1000)
	vip := srv.AddTag("vip")
	openIDs := append(srv.OpenIDs(), "oFAKEwhoIsThis", "not an openid")

	report, err := c.BulkTagging(context.Background(), vip, wechatuser.OpenIDs(openIDs...))
	var bulk *wechatuser.BulkError
	switch {
	case err == nil:
	case errors.As(err, &bulk) && bulk.Err != nil:
		fmt.Println("stopped, to go on after", report.ResumeAfter, "because of", bulk.Err)
	default:
		fmt.Println(report.Applied, "are done, and these are not:")
		for _, failed := range report.Failed {
			fmt.Println(failed.OpenID, errors.Is(failed.Err, wechatuser.CodeInvalidOpenID))
		}
	}
	// Output:
	// 1000 are done, and these are not:
	// oFAKEwhoIsThis true
	// not an openid false
}

// A job that was stopped continues from where it was, here on the next day.
func ExampleBulkReport() {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1000),
		wechatusertest.WithQuota("/cgi-bin/tags/members/batchtagging", 15, 0))
	c := srv.Client()
	vip := srv.AddTag("vip")

	ctx := context.Background()
	report, err := c.BulkTagging(ctx, vip, c.AllFans(ctx))
	place := report.ResumeAfter
	for errors.Is(err, wechatuser.CodeDailyQuotaExceeded) {
		fmt.Println(len(srv.TagFans(vip)), "until today")
		srv.Advance(24 * time.Hour)
		report, err = c.BulkTagging(ctx, vip, c.AllFans(ctx, wechatuser.StartAfter(place)))
		place = cmp.Or(report.ResumeAfter, place) // a run without a final outcome has none
	}
	fmt.Println(len(srv.TagFans(vip)), "in the end", err)
	// Output:
	// 750 until today
	// 1000 in the end <nil>
}

// Profiles come in the order of the openids. A rejected openid does not end the loop.
func ExampleClient_BulkUserInfo() {
	srv, c := inMemory(250)
	srv.AddUsers(wechatuser.UserInfo{OpenID: "oFAKEalice", Remark: "wants an invoice"},
		wechatuser.UserInfo{OpenID: "oFAKEbob"})
	srv.Unfollow("oFAKEbob")

	openIDs := wechatuser.OpenIDs("oFAKEalice", "oFAKEwhoIsThis", "oFAKEbob")
	for user, err := range c.BulkUserInfo(context.Background(), openIDs) {
		var refused *wechatuser.OpenIDError
		if errors.As(err, &refused) {
			fmt.Println(refused.OpenID, "is not known")
			continue
		}
		if err != nil {
			fmt.Println("stopped:", err)
			return
		}
		fmt.Printf("%s follows: %t %s\n", user.OpenID, user.Subscribed(), user.Remark)
	}
	// Output:
	// oFAKEalice follows: true wants an invoice
	// oFAKEwhoIsThis is not known
	// oFAKEbob follows: false
}

// A list that ended with a break continues after the last openid that the loop got.
func ExampleClient_AllFans() {
	_, c := inMemory(25_000)
	ctx := context.Background()
	last, n := "", 0
	for openID, err := range c.AllFans(ctx, wechatuser.WithPrefetch(0)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		last = openID
		if n++; n == 12_000 {
			break
		}
	}
	for _, err := range c.AllFans(ctx, wechatuser.StartAfter(last)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		n++
	}
	fmt.Println(n)
	// Output: 25000
}

// The members of a tag become those of a list.
func ExampleClient_SyncTag() {
	srv, c := inMemory(1000)
	fans := srv.OpenIDs()
	members := srv.AddTag("members", fans[:600]...)
	wanted := wechatuser.OpenIDs(fans[500:900]...)

	ctx := context.Background()
	plan, err := c.SyncTag(ctx, members, wanted, wechatuser.WithDryRun())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d to add, %d to remove\n", plan.Added.Total, plan.Removed.Total)

	report, err := c.SyncTag(ctx, members, wanted)
	fmt.Println(report, err)
	// Output:
	// 300 to add, 500 to remove
	// added 300 of 300, removed 500 of 500, 100 unchanged, 18 calls <nil>
}
