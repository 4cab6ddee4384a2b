package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/wechatuser/wechatuser"
)

// tour runs the steps of the demonstration in order.
type tour struct {
	c             *wechatuser.Client
	out           io.Writer
	write         bool // run the steps that change the account
	block         bool // block and unblock a follower
	invalidOpenID string
}

func (t tour) run(ctx context.Context) error {
	first, err := t.followers(ctx)
	if err != nil {
		return err
	}
	steps := []func(context.Context, []string) error{t.profiles, t.tags, t.remark, t.blacklist, t.invalidOpenIDs}
	for _, step := range steps {
		if err := step(ctx, first); err != nil {
			return err
		}
	}
	return nil
}

func (t tour) title(text string) { fmt.Fprintf(t.out, "\n%s\n", text) }

func (t tour) printf(format string, args ...any) { fmt.Fprintf(t.out, "  "+format+"\n", args...) }

func (t tour) followers(ctx context.Context) (first []string, err error) {
	t.title("1. Followers: c.AllFans(ctx)")
	n := 0
	for openID, err := range t.c.AllFans(ctx) {
		if err != nil {
			return nil, err
		}
		if n < 3 {
			first = append(first, openID)
			t.printf("%s", openID)
		}
		n++
	}
	t.printf("%d in total", n)
	return first, nil
}

func (t tour) profiles(ctx context.Context, first []string) error {
	t.title("2. Profiles: c.BulkUserInfo(ctx, …)")
	for user, err := range t.c.BulkUserInfo(ctx, wechatuser.OpenIDs(first...)) {
		if err != nil {
			return err
		}
		t.printf("%s subscribed %s, %s, tags %v, remark %q",
			user.OpenID, user.SubscribedAt().Format(time.DateOnly), user.SubscribeScene, user.TagIDList, user.Remark)
	}
	return nil
}

func (t tour) remark(ctx context.Context, first []string) error {
	t.title("4. A remark: c.UpdateRemark, c.GetUserInfo")
	if len(first) == 0 {
		t.printf("no followers")
		return nil
	}
	before, err := t.c.GetUserInfo(ctx, first[0])
	if err != nil {
		return err
	}
	t.printf("before: %q", before.Remark)
	if !t.write {
		return nil
	}
	if err := t.c.UpdateRemark(ctx, first[0], "来自 quickstart"); err != nil {
		return err
	}
	after, err := t.c.GetUserInfo(ctx, first[0])
	if err != nil {
		return err
	}
	t.printf("after:  %q (now restored)", after.Remark)
	if err := t.c.UpdateRemark(ctx, first[0], before.Remark); err != nil {
		t.printf("not restored: %v", err) // the console accepts longer remarks than the API
	}
	return nil
}

func (t tour) blacklist(ctx context.Context, first []string) error {
	t.title("5. The blacklist: c.BatchBlacklist, c.AllBlacklist, c.BatchUnblacklist")
	if t.block {
		if err := t.c.BatchBlacklist(ctx, first[:1]); err != nil {
			return err
		}
	}
	n := 0
	for openID, err := range t.c.AllBlacklist(ctx) {
		if err != nil {
			return err
		}
		if n++; n <= 3 {
			t.printf("%s is blocked", openID)
		}
	}
	t.printf("%d in total", n)
	if t.block {
		return t.c.BatchUnblacklist(ctx, first[:1])
	}
	return nil
}
