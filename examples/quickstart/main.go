// Quickstart walks through the main jobs of the SDK, and prints what it does.
//
//	go run ./examples/quickstart
//
// As it is, it works on an account in memory. With WECHAT_APPID and WECHAT_SECRET set it reads the real account, and
// changes nothing unless -write is given.
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

const usage = `Quickstart walks through the main jobs of the SDK, and prints what it does.
The account is the one of WECHAT_APPID and WECHAT_SECRET, or else one in memory.

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
	write := flags.Bool("write", false, "change the real account too: tags and a remark for its first followers, which it undoes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	}
	return start(ctx, stdout, os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET"), *write)
}

// start chooses the account.
func start(ctx context.Context, out io.Writer, appID, secret string, write bool) error {
	switch {
	case appID == "" && secret == "":
		srv := newAccount()
		defer srv.Close()
		fmt.Fprintf(out, "An account in memory with %d followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.\n", len(srv.OpenIDs()))
		return tour{c: srv.Client(), out: out, write: true, block: true, badOpenID: wechatusertest.ForeignOpenID(1)}.run(ctx)
	case appID == "":
		return errors.New("WECHAT_SECRET is set, and WECHAT_APPID is not")
	case secret == "":
		return errors.New("WECHAT_APPID is set, and WECHAT_SECRET is not")
	}
	c, err := wechatuser.New(appID, secret)
	if err != nil {
		return err
	}
	defer c.HTTPClient().CloseIdleConnections()
	fmt.Fprintf(out, "The account %s. ", appID)
	if write {
		fmt.Fprintln(out, "A tag is made and taken away again; nobody is blocked.")
	} else {
		fmt.Fprintln(out, "Nothing is changed without -write.")
	}
	return tour{c: c, out: out, write: write, badOpenID: "oThisIsNobodysOpenID"}.run(ctx)
}

// newAccount is an account that has something to show.
func newAccount() *wechatusertest.Server {
	srv := wechatusertest.NewServer(wechatusertest.WithFans(1200))
	srv.AddUsers(
		wechatuser.UserInfo{OpenID: wechatusertest.OpenID(0), Remark: "金牌客户", SubscribeScene: wechatuser.SceneQRCode, QRSceneStr: "shop-7"},
		wechatuser.UserInfo{OpenID: wechatusertest.OpenID(1), SubscribeScene: wechatuser.ScenePaid},
	)
	srv.AddTag("会员", wechatusertest.OpenID(0), wechatusertest.OpenID(2))
	return srv
}

// tour is one walk through the jobs.
type tour struct {
	c         *wechatuser.Client
	out       io.Writer
	write     bool // change the account
	block     bool // block somebody, too
	badOpenID string
}

func (t tour) run(ctx context.Context) error {
	first, err := t.followers(ctx)
	if err != nil {
		return err
	}
	steps := []func(context.Context, []string) error{t.profiles, t.tags, t.remark, t.blacklist, t.badOpenIDs}
	for _, step := range steps {
		if err := step(ctx, first); err != nil {
			return err
		}
	}
	return nil
}

func (t tour) title(text string) { fmt.Fprintf(t.out, "\n%s\n", text) }

func (t tour) say(format string, args ...any) { fmt.Fprintf(t.out, "  "+format+"\n", args...) }

func (t tour) followers(ctx context.Context) (first []string, err error) {
	t.title("1. Followers: c.AllFans(ctx)")
	n := 0
	for openID, err := range t.c.AllFans(ctx) {
		if err != nil {
			return nil, err
		}
		if n < 3 {
			first = append(first, openID)
			t.say("%s", openID)
		}
		n++
	}
	t.say("%d in all", n)
	return first, nil
}

func (t tour) profiles(ctx context.Context, first []string) error {
	t.title("2. Their profiles: c.BulkUserInfo(ctx, …)")
	for user, err := range t.c.BulkUserInfo(ctx, wechatuser.OpenIDs(first...)) {
		if err != nil {
			return err
		}
		t.say("%s follows since %s, %s, tags %v, remark %q",
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
		t.say("tag %d %q made and put on %d followers in %d call", tag.ID, tag.Name, report.Applied, report.Calls)
		return t.listTags(ctx)
	})
}

func (t tour) listTags(ctx context.Context) error {
	tags, err := t.c.GetTags(ctx)
	for _, tag := range tags {
		t.say("%6d  %s, %d followers", tag.ID, tag.Name, tag.Count)
	}
	return err
}

// withTag makes a tag, and takes it away again whatever comes of its use.
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
		t.say("nobody to write one for")
		return nil
	}
	before, err := t.c.GetUserInfo(ctx, first[0])
	if err != nil {
		return err
	}
	t.say("before: %q", before.Remark)
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
	t.say("after:  %q, and back again", after.Remark)
	if err := t.c.UpdateRemark(ctx, first[0], before.Remark); err != nil {
		t.say("it could not be written back: %v", err) // the console accepts longer ones than the API
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
			t.say("%s is blocked", openID)
		}
	}
	t.say("%d in all", n)
	if t.block {
		return t.c.BatchUnblacklist(ctx, first[:1])
	}
	return nil
}

func (t tour) badOpenIDs(ctx context.Context, first []string) error {
	t.title("6. An openid that is not a follower's, and what its error says")
	_, err := t.c.GetUserInfo(ctx, t.badOpenID)
	if e := (*wechatuser.Error)(nil); errors.As(err, &e) {
		t.say("code     %d, as a constant: %v", e.Code, errors.Is(err, wechatuser.CodeInvalidOpenID))
		t.say("means    %s", e.Code.Meaning())
		t.say("意思是   %s", e.Code.MeaningZH())
		t.say("remedy   %s", e.Code.Remedy())
		t.say("rid      %s", e.RID)
		t.say("in a log %v", e)
	} else if err != nil {
		return err
	}
	if !t.write || len(first) == 0 {
		return nil
	}
	t.title("7. The same openid among good ones: c.BulkTagging")
	return t.withTag(ctx, "quickstart bulk", func(tag *wechatuser.Tag) error {
		report, err := t.c.BulkTagging(ctx, tag.ID, wechatuser.OpenIDs(append(first, t.badOpenID)...))
		if report == nil {
			return err
		}
		t.say("%d of %d tagged, in %d calls", report.Applied, report.Total, report.Calls)
		for _, failed := range report.Failed {
			t.say("refused: %v", &failed)
		}
		return nil
	})
}
