package main

import (
	"context"

	"github.com/wechatuser/wechatuser"
)

var wechatuserPeer = peer{
	name:   "wechatuser",
	module: "github.com/wechatuser/wechatuser",
	pkgs:   []string{"github.com/wechatuser/wechatuser"},
	connect: func(a account) (client, error) {
		c, err := wechatuser.New(a.AppID, a.Secret, wechatuser.WithHTTPClient(a.HTTP))
		return wechatuserClient{c}, err
	},
}

type wechatuserClient struct{ *wechatuser.Client }

func (c wechatuserClient) Profile(ctx context.Context, openID string) error {
	_, err := c.GetUserInfo(ctx, openID)
	return err
}

func (c wechatuserClient) Profiles(ctx context.Context, openIDs []string) (int, error) {
	queries := make([]wechatuser.UserQuery, len(openIDs))
	for i, id := range openIDs {
		queries[i].OpenID = id
	}
	users, err := c.BatchUserInfo(ctx, queries)
	return len(users), err
}

func (c wechatuserClient) Page(ctx context.Context) (int, error) {
	page, err := c.GetFans(ctx, "")
	if err != nil {
		return 0, err
	}
	return len(page.OpenIDs), nil
}

func (c wechatuserClient) Tag(ctx context.Context, tagID int, openIDs []string) error {
	_, err := c.BulkTagging(ctx, tagID, wechatuser.OpenIDs(openIDs...))
	return err
}
