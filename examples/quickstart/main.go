// Quickstart demonstrates the main operations of the SDK and prints each step.
//
//	go run ./examples/quickstart
//
// By default it uses an in-memory account. With WECHAT_APPID and WECHAT_SECRET set, it reads the real account, and
// changes it only if -write is given.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

const usage = `Quickstart demonstrates the main operations of the SDK and prints each step.
It uses the account of WECHAT_APPID and WECHAT_SECRET if they are set, and an in-memory account otherwise.

  go run ./examples/quickstart

`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	write := flags.Bool("write", false, "also write to the real account: tag followers and set a remark, then undo both")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q, see -help", flags.Arg(0))
	}
	return start(ctx, stdout, os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET"), *write)
}

// start runs the tour on the real account, or on an in-memory account if appID and secret are empty.
func start(ctx context.Context, out io.Writer, appID, secret string, write bool) error {
	switch {
	case appID == "" && secret == "":
		srv := newAccount()
		defer srv.Close()
		fmt.Fprintf(out, "Using an in-memory account with %d followers. "+
			"Set WECHAT_APPID and WECHAT_SECRET to use your own.\n", len(srv.OpenIDs()))
		return tour{
			c: srv.Client(), out: out, write: true, block: true, invalidOpenID: wechatusertest.ForeignOpenID(1),
		}.run(ctx)
	case appID == "":
		return errors.New("WECHAT_SECRET is set but WECHAT_APPID is not")
	case secret == "":
		return errors.New("WECHAT_APPID is set but WECHAT_SECRET is not")
	}
	c, err := wechatuser.New(appID, secret)
	if err != nil {
		return err
	}
	defer c.HTTPClient().CloseIdleConnections()
	fmt.Fprintf(out, "Using the account %s. ", appID)
	if write {
		fmt.Fprintln(out, "It creates tags and deletes them at the end; nobody is blocked.")
	} else {
		fmt.Fprintln(out, "It is only read; use -write to change it.")
	}
	return tour{c: c, out: out, write: write, invalidOpenID: "oThisIsNobodysOpenID"}.run(ctx)
}

// newAccount returns an in-memory account with profiles and a tag to show.
func newAccount() *wechatusertest.Server {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(1200))
	srv.AddUsers(
		wechatuser.UserInfo{
			OpenID: wechatusertest.OpenID(0), Remark: "金牌客户",
			SubscribeScene: wechatuser.SceneQRCode, QRSceneStr: "shop-7",
		},
		wechatuser.UserInfo{OpenID: wechatusertest.OpenID(1), SubscribeScene: wechatuser.ScenePaid},
	)
	srv.AddTag("会员", wechatusertest.OpenID(0), wechatusertest.OpenID(2))
	return srv
}

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

func (t tour) tags(ctx context.Context, first []string) error {
	t.title("3. Tags: c.CreateTag, c.BulkTagging, c.GetTags")
	if !t.write || len(first) == 0 {
		return t.listTags(ctx)
	}
	return t.withTag(ctx, "quickstart", func(tag *wechatuser.Tag) error {
		report, err := t.c.BulkTagging(ctx, tag.ID, wechatuser.OpenIDs(first...))
		if err != nil {
			return err
		}
		t.printf("created tag %d %q and tagged %d followers (API calls: %d)", tag.ID, tag.Name, report.Applied, report.Calls)
		return t.listTags(ctx)
	})
}

func (t tour) listTags(ctx context.Context) error {
	tags, err := t.c.GetTags(ctx)
	for _, tag := range tags {
		t.printf("%6d  %s, %d followers", tag.ID, tag.Name, tag.Count)
	}
	return err
}

// withTag creates a tag, calls use with it and deletes it, even if use fails.
func (t tour) withTag(ctx context.Context, name string, use func(*wechatuser.Tag) error) error {
	tag, err := t.c.CreateTag(ctx, name)
	if err != nil {
		return err
	}
	return errors.Join(use(tag), t.c.DeleteTag(context.WithoutCancel(ctx), tag.ID))
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

func (t tour) invalidOpenIDs(ctx context.Context, first []string) error {
	t.title("6. The error for an openid that does not follow the account")
	_, err := t.c.GetUserInfo(ctx, t.invalidOpenID)
	if e := (*wechatuser.Error)(nil); errors.As(err, &e) {
		t.printf("code     %d, matches CodeInvalidOpenID: %v", e.Code, errors.Is(err, wechatuser.CodeInvalidOpenID))
		t.printf("meaning  %s", e.Code.Meaning())
		t.printf("含义     %s", e.Code.MeaningZH())
		t.printf("remedy   %s", e.Remedy())
		t.printf("rid      %s", e.RID)
		t.printf("error    %v", e)
	} else if err != nil {
		return err
	}
	if !t.write || len(first) == 0 {
		return nil
	}
	t.title("7. The same openid among valid ones: c.BulkTagging")
	return t.withTag(ctx, "quickstart bulk", func(tag *wechatuser.Tag) error {
		report, err := t.c.BulkTagging(ctx, tag.ID, wechatuser.OpenIDs(append(first, t.invalidOpenID)...))
		if report == nil {
			return err
		}
		t.printf("%d of %d tagged (API calls: %d)", report.Applied, report.Total, report.Calls)
		for _, failed := range report.Failed {
			t.printf("rejected: %v", &failed)
		}
		return nil
	})
}
