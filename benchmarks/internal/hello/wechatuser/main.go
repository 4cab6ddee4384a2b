// Command wechatuser is a program that uses much of the SDK. Only its size is measured.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/wechatuser/wechatuser"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	c, err := wechatuser.New("wxappid", os.Getenv("SECRET"))
	if err != nil {
		return err
	}
	for user, err := range c.BulkUserInfo(ctx, c.AllFans(ctx)) {
		if err != nil {
			return err
		}
		fmt.Println(user.OpenID, c.UpdateRemark(ctx, user.OpenID, "new"))
	}
	vip, err := c.CreateTag(ctx, "vip")
	if err != nil && !errors.Is(err, wechatuser.CodeInvalidTagName) {
		return err
	}
	if _, err := c.BulkTagging(ctx, vip.ID, c.AllFans(ctx)); err != nil {
		return err
	}
	_, err = c.SyncBlacklist(ctx, wechatuser.OpenIDs())
	return err
}
