// Command instructions makes one API call n times with a canned response and without a network, or decodes one body n
// times, so that valgrind can count the instructions:
//
//	valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null instructions getFans wechatuser 10
//	valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null instructions decode=today goccy_go-json 10
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/benchmarks/internal/bare"
	"github.com/wechatuser/wechatuser/benchmarks/internal/bodies"
	"github.com/wechatuser/wechatuser/benchmarks/internal/origin"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(api, client, times string) error {
	n, err := strconv.Atoi(times)
	if err != nil {
		return err
	}
	if name, ok := strings.CutPrefix(api, "decode="); ok {
		return decode(name, client, n)
	}
	ctx, openID := context.Background(), wechatusertest.OpenID(7)
	body := origin.AppendProfile(nil, openID)
	if api == "getFans" {
		body = origin.AppendPage(nil, 25_000, 0)
	}
	transport := origin.Canned(body)

	baseline := bare.New("http://127.0.0.1")
	baseline.HTTP = &http.Client{Transport: transport}
	sdk, err := wechatuser.New("wxappid", "secret",
		wechatuser.WithBaseURL("http://127.0.0.1"), wechatuser.WithTransport(transport),
		wechatuser.WithTokenSource(wechatuser.StaticTokenSource(baseline.Token)))
	if err != nil {
		return err
	}
	call, ok := map[string]func() error{
		"userInfo bare":       func() error { _, err := baseline.GetUserInfo(ctx, openID); return err },
		"userInfo wechatuser": func() error { _, err := sdk.GetUserInfo(ctx, openID); return err },
		"getFans bare":        func() error { _, err := baseline.GetFans(ctx, ""); return err },
		"getFans wechatuser":  func() error { _, err := sdk.GetFans(ctx, ""); return err },
	}[api+" "+client]
	if !ok {
		return fmt.Errorf("unknown call %q of client %q", api, client)
	}
	for range n {
		if err := call(); err != nil {
			return err
		}
	}
	return nil
}

// decode decodes a body n times.
func decode(body, decoder string, n int) error {
	for _, b := range bodies.All() {
		for _, d := range bodies.Decoders {
			if b.Name != body || d.Name != decoder {
				continue
			}
			for range n {
				if _, err := b.Decode(d); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return fmt.Errorf("unknown body %q or decoder %q", body, decoder)
}
