package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"io"
	"strings"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// demoFile is the file of the demo.
//
//go:embed demo.txt
var demoFile string

const demoTag = "会员"

// demo works on an account in memory, with a file of its own unless there is another.
func demo(ctx context.Context, cfg config, out io.Writer) error {
	var m *members
	var err error
	if cfg.file == "" {
		m, err = readMembers("demo.txt", strings.NewReader(demoFile))
	} else {
		m, err = openMembers(cfg.file)
	}
	if err != nil {
		return err
	}
	cfg.tag = cmp.Or(cfg.tag, demoTag)
	srv := demoAccount()
	fmt.Fprintf(out, "An account in memory with %d followers. Set WECHAT_APPID and WECHAT_SECRET to use your own.\n\n", len(srv.OpenIDs()))
	return synchronize(ctx, srv.Client(), cfg, m, out)
}

// demoAccount has a tag of which demo.txt names most members, and somebody whom demo.txt names and who has left.
func demoAccount() *wechatusertest.Server {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(200))
	srv.AddTag(demoTag, srv.OpenIDs()[:8]...)
	srv.Unfollow(wechatusertest.OpenID(20))
	return srv
}
