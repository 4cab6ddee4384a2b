package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wechatuser/wechatuser"
)

// settings holds the global flags about the account.
type settings struct {
	account, config, appID, baseURL, state string
	plainHTTP, sandbox                     bool
	fans                                   int
}

// account is the account of a command.
type account struct {
	configAccount
	name, file string // in the config file; empty if it comes from the environment
}

// client returns a client for the account that the flags, the environment and the config file name, in this order.
func (a *app) client(ctx context.Context, opts ...wechatuser.Option) (*wechatuser.Client, error) {
	if a.settings.sandbox {
		return a.openSandbox(opts...)
	}
	acc, err := a.selectAccount()
	if err != nil {
		return nil, err
	}
	source, err := a.secretOf(acc)
	if err != nil {
		return nil, err
	}
	secret, later, err := a.readSecret(ctx, source)
	if err != nil {
		return nil, err
	}
	if _, err := wechatuser.New(acc.AppID, secret); err != nil { // a source would be checked by the first call
		return nil, &exitError{exitUsage, err}
	}
	opts = append(opts, wechatuser.WithSecretSource(later), wechatuser.WithUserAgent("wechatuser-cli/"+wechatuser.Version))
	if acc.BaseURL != "" {
		opts = append(opts, wechatuser.WithBaseURL(acc.BaseURL))
	}
	if acc.PlainHTTP {
		opts = append(opts, wechatuser.WithPlainHTTP())
	}
	c, err := wechatuser.New(acc.AppID, "", opts...)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return c, nil
}

// selectAccount returns the account with the flags and the environment applied. Settings in the environment for one
// account never complete another account of the config file: a secret must not be sent with a wrong app ID or to a
// wrong host.
func (a *app) selectAccount() (account, error) {
	file, path, err := a.readConfig()
	if err != nil {
		return account{}, err
	}
	set := a.settings
	switch {
	case set.account != "" && set.appID != "":
		return account{}, usageError(a.tr("--account and --appid name two accounts; leave one out",
			"--account 和 --appid 不能同时使用"))
	case set.account != "" && path == "":
		return account{}, usageError(a.tr("there is no config file for --account; name it with --config",
			"没有 --account 所需的配置文件；请用 --config 指定"))
	}
	appID, secret := cmp.Or(set.appID, a.env("WECHAT_APPID")), a.env("WECHAT_SECRET")
	name := set.account
	if name == "" && appID == "" {
		name = file.Default
		if name == "" && len(file.Accounts) == 1 {
			for name = range file.Accounts {
			}
		}
	}
	acc := account{configAccount{
		AppID: appID, Secret: secret, BaseURL: a.env("WECHAT_BASE_URL"), PushToken: a.env("WECHAT_PUSH_TOKEN"),
		PushAESKey: a.env("WECHAT_PUSH_AES_KEY"), PushPreviousAESKey: a.env("WECHAT_PUSH_PREVIOUS_AES_KEY"),
	}, "", ""}
	if name != "" {
		named, found := file.Accounts[name]
		if !found {
			return acc, usageError(fmt.Sprintf(a.tr("%s has no account %q", "%s 中没有账号 %q"), path, name))
		}
		acc = account{named, name, path}
	}
	acc.BaseURL = cmp.Or(set.baseURL, acc.BaseURL)
	acc.PlainHTTP = acc.PlainHTTP || set.plainHTTP
	switch {
	case acc.AppID == "" && name != "":
		return acc, usageError(fmt.Sprintf(a.tr("%s: the account %q has no appid", "%s：账号 %q 没有设置 appid"),
			path, name))
	case acc.AppID == "" && secret != "":
		return acc, usageError(a.tr("WECHAT_SECRET is set but WECHAT_APPID is not", "设置了 WECHAT_SECRET，但没有设置 WECHAT_APPID"))
	case acc.AppID == "" && len(file.Accounts) > 1:
		return acc, usageError(fmt.Sprintf(a.tr("%s has several accounts: choose one with --account: %s",
			"%s 中有多个账号，请用 --account 选择：%s"), path, strings.Join(slices.Sorted(maps.Keys(file.Accounts)), ", ")))
	case acc.AppID == "":
		return acc, usageError(a.tr(
			"no account: set WECHAT_APPID and WECHAT_SECRET, write a config file (wechatuser config), or use --sandbox",
			"没有账号：请设置 WECHAT_APPID 和 WECHAT_SECRET，或编写配置文件（wechatuser config），或使用 --sandbox"))
	}
	return acc, nil
}
