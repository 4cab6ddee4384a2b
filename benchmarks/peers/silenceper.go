package main

import (
	"context"
	"net/http"

	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/credential"
	"github.com/silenceper/wechat/v2/officialaccount"
	"github.com/silenceper/wechat/v2/officialaccount/config"
	"github.com/silenceper/wechat/v2/officialaccount/user"
)

// Package wechat at the top of the module is not needed here, and would add two modules.
var silenceperPkgs = []string{
	"github.com/silenceper/wechat/v2/cache",
	"github.com/silenceper/wechat/v2/officialaccount",
}

var silenceperPeer = peer{
	name:    "silenceper",
	module:  "github.com/silenceper/wechat/v2",
	pkgs:    silenceperPkgs,
	connect: func(a account) (client, error) { return connectSilenceper(a, false), nil },
}

var silenceperStablePeer = peer{
	name:    "silenceper, stable token",
	module:  "github.com/silenceper/wechat/v2",
	pkgs:    silenceperPkgs,
	connect: func(a account) (client, error) { return connectSilenceper(a, true), nil },
}

// connectSilenceper redirects http.DefaultClient, with which the SDK sends all requests, to the simulator.
func connectSilenceper(a account, stable bool) client {
	http.DefaultClient.Transport = a.HTTP.Transport
	tokens := cache.NewMemory()
	oa := officialaccount.NewOfficialAccount(&config.Config{AppID: a.AppID, AppSecret: a.Secret, Cache: tokens})
	if stable {
		oa.SetAccessTokenHandle(
			credential.NewStableAccessToken(a.AppID, a.Secret, credential.CacheKeyOfficialAccountPrefix, tokens))
	}
	return silenceperClient{oa.GetUser()}
}

type silenceperClient struct{ *user.User }

func (c silenceperClient) Profile(_ context.Context, openID string) error {
	_, err := c.GetUserInfo(openID)
	return err
}

func (c silenceperClient) Profiles(_ context.Context, openIDs []string) (int, error) {
	items := make([]user.BatchGetUserListItem, len(openIDs))
	for i, id := range openIDs {
		items[i].OpenID = id
	}
	list, err := c.BatchGetUserInfo(user.BatchGetUserInfoParams{UserList: items})
	if err != nil {
		return 0, err
	}
	return len(list.UserInfoList), nil
}

func (c silenceperClient) Page(context.Context) (int, error) {
	page, err := c.ListUserOpenIDs()
	if err != nil {
		return 0, err
	}
	return len(page.Data.OpenIDs), nil
}

func (c silenceperClient) Tag(_ context.Context, tagID int, openIDs []string) error {
	return c.BatchTag(openIDs, int32(tagID))
}
