// Campaign gives a tag to the followers that a rule selects, such as those who followed in the last 30 days by a QR code.
// It says what it would do, and does it with -apply.
//
//	go run ./examples/campaign                                                         # on an account in memory
//	go run ./examples/campaign -tag 新客 -days 30 -scene ADD_SCENE_QR_CODE          # says whom it would tag
//	go run ./examples/campaign -tag 新客 -days 30 -scene ADD_SCENE_QR_CODE -apply   # tags them
//
// It reads all profiles, 100 in a call, and tags 50 in a call. With WECHAT_APPID and WECHAT_SECRET set it works on the real
// account.
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

const usage = `Campaign gives a tag to the followers that a rule selects; without -apply it only says to whom.
The account is the one of WECHAT_APPID and WECHAT_SECRET, or else one in memory.

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
	flags.StringVar(&cp.tag, "tag", "新客", "`name` of the tag; one that does not exist is made")
	days := flags.Int("days", 30, "select who followed in the last so many days; 0 for all")
	flags.StringVar((*string)(&cp.rule.scene), "scene", "", "select who came this way, such as ADD_SCENE_QR_CODE")
	flags.StringVar(&cp.rule.qr, "qr", "", "select who scanned the QR code with this scene `string`")
	flags.BoolVar(&cp.apply, "apply", false, "tag them; without it the program only says whom it would")
	flags.StringVar(&cp.after, "after", "", "go on after this `openid`, as a run that was stopped says")
	flags.StringVar(&cp.report, "report", "refused.csv", "`file` for those who could not be tagged")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	}
	if *days < 0 {
		return errors.New("-days must not be below 0")
	}
	if cp.rule.scene != "" && !slices.Contains(scenes, cp.rule.scene) {
		fmt.Fprintf(stderr, "-scene %s is not a known scene, and may select nobody. Known are %v.\n", cp.rule.scene, scenes)
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

// newClient is the client of the real account, or of one in memory, where everybody has just followed.
func newClient(out io.Writer) (*wechatuser.Client, error) {
	appID, secret := os.Getenv("WECHAT_APPID"), os.Getenv("WECHAT_SECRET")
	switch {
	case appID == "" && secret == "":
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(2500))
		fmt.Fprintf(out, "An account in memory with %d followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.\n\n", len(srv.OpenIDs()))
		return srv.Client(), nil
	case appID == "":
		return nil, errors.New("WECHAT_SECRET is set, and WECHAT_APPID is not")
	case secret == "":
		return nil, errors.New("WECHAT_APPID is set, and WECHAT_SECRET is not")
	}
	return wechatuser.New(appID, secret)
}
