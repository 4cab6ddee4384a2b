// Campaign tags the followers that match a rule, such as those who followed by a QR code in the last 30 days. It is a
// dry run unless -apply is given.
//
//	go run ./examples/campaign                                                      # in-memory account
//	go run ./examples/campaign -tag 新客 -days 30 -scene ADD_SCENE_QR_CODE          # dry run
//	go run ./examples/campaign -tag 新客 -days 30 -scene ADD_SCENE_QR_CODE -apply   # tag them
//
// It reads all profiles, 100 per call, and tags 50 followers per call. With WECHAT_APPID and WECHAT_SECRET set, it
// uses the real account.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "campaign:", err)
		os.Exit(1)
	}
}

const usage = `Campaign tags the followers that match a rule. Without -apply it is a dry run.
It uses the account of WECHAT_APPID and WECHAT_SECRET if they are set, and an in-memory account otherwise.

  go run ./examples/campaign -tag 新客 -days 30 -scene ADD_SCENE_QR_CODE

`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cp := campaign{out: stdout}
	flags := flag.NewFlagSet("campaign", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the error
	flags.Usage = func() {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&cp.tag, "tag", "新客", "`name` of the tag, created if it does not exist")
	days := flags.Int("days", 30, "select followers of the last `n` days; 0 selects all")
	flags.StringVar((*string)(&cp.rule.scene), "scene", "",
		"select followers with this subscribe `scene`, such as ADD_SCENE_QR_CODE")
	flags.StringVar(&cp.rule.qr, "qr", "", "select followers who scanned the QR code with this scene `string`")
	flags.BoolVar(&cp.apply, "apply", false, "tag the selected followers; without it, the run is a dry run")
	flags.StringVar(&cp.after, "after", "", "resume after this `openid`, printed by a stopped run")
	flags.StringVar(&cp.report, "report", "refused.csv", "`file` for the followers who could not be tagged")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q, see -help", flags.Arg(0))
	}
	if *days < 0 {
		return errors.New("-days must not be negative")
	}
	if cp.rule.scene != "" && !slices.Contains(scenes, cp.rule.scene) {
		fmt.Fprintf(stderr, "warning: unknown scene %s may match nobody; known scenes: %v\n", cp.rule.scene, scenes)
	}
	if *days > 0 {
		cp.rule.since = time.Now().AddDate(0, 0, -*days)
	}
	var err error
	if cp.wechat, err = newClient(stdout); err != nil {
		return err
	}
	defer cp.wechat.HTTPClient().CloseIdleConnections()
	return cp.run(ctx)
}

// newClient returns a client for the real account, or for an in-memory account whose followers have just subscribed.
func newClient(out io.Writer) (*wechatuser.Client, error) {
	appID, secret := os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET")
	switch {
	case appID == "" && secret == "":
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(2500))
		fmt.Fprintf(out, "Using an in-memory account with %d followers. "+
			"Set WECHAT_APPID and WECHAT_SECRET to use your own.\n\n", len(srv.OpenIDs()))
		return srv.Client(), nil
	case appID == "":
		return nil, errors.New("WECHAT_SECRET is set but WECHAT_APPID is not")
	case secret == "":
		return nil, errors.New("WECHAT_APPID is set but WECHAT_SECRET is not")
	}
	return wechatuser.New(appID, secret)
}
