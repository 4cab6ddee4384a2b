package main

import (
	"context"

	"github.com/chanxuehong/wechat/mp/core"
	"github.com/chanxuehong/wechat/mp/user"
	"github.com/chanxuehong/wechat/mp/user/tag"
)

var chanxuehongPeer = peer{
	name:   "chanxuehong",
	module: "github.com/chanxuehong/wechat",
	pkgs: []string{
		"github.com/chanxuehong/wechat/mp/core",
		"github.com/chanxuehong/wechat/mp/user",
		"github.com/chanxuehong/wechat/mp/user/tag",
	},
	connect: func(a account) (client, error) {
		tokens := core.NewDefaultAccessTokenServer(a.AppID, a.Secret, a.HTTP)
		return chanxuehongClient{core.NewClient(tokens, a.HTTP)}, nil
	},
}

type chanxuehongClient struct{ *core.Client }

func (c chanxuehongClient) Profile(_ context.Context, openID string) error {
	_, err := user.Get(c.Client, openID, "")
	return err
}

func (c chanxuehongClient) Profiles(_ context.Context, openIDs []string) (int, error) {
	users, err := user.BatchGet(c.Client, openIDs, "")
	return len(users), err
}

func (c chanxuehongClient) Page(context.Context) (int, error) {
	page, err := user.List(c.Client, "")
	if err != nil {
		return 0, err
	}
	return len(page.Data.OpenIdList), nil
}

func (c chanxuehongClient) Tag(_ context.Context, tagID int, openIDs []string) error {
	return tag.BatchTag(c.Client, openIDs, tagID)
}
