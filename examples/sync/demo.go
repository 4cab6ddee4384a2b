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

// demoFile is the content of demo.txt.
//
//go:embed demo.txt
var demoFile string

const demoTag = "会员"

// demo synchronizes an in-memory account, with demo.txt unless cfg names a file.
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
	fmt.Fprintf(out, "Using an in-memory account with %d followers. "+
		"Set WECHAT_APPID and WECHAT_SECRET to use your own.\n\n", len(srv.OpenIDs()))
	return synchronize(ctx, srv.Client(), cfg, m, out)
}

// demoAccount returns an account with a tag most of whose members are in demo.txt. One openid of demo.txt is a former
// follower.
func demoAccount() *wechatusertest.Server {
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(200))
	srv.AddTag(demoTag, srv.OpenIDs()[:8]...)
	srv.Unfollow(wechatusertest.OpenID(20))
	return srv
}
