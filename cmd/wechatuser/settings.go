package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
)

// settings are the global flags about the account.
type settings struct {
	account, config, appID, baseURL, state string
	plainHTTP, sandbox                     bool
	fans                                   int
}

// configFile is the content of a config file.
type configFile struct {
	Default  string                   `toml:"default"` // the account to use without --account
	Accounts map[string]configAccount `toml:"accounts"`
}

// configAccount is an account in a config file.
type configAccount struct {
	AppID         string   `toml:"appid"`
	Secret        string   `toml:"secret"`
	SecretFile    string   `toml:"secret_file"`
	SecretCommand []string `toml:"secret_command"` // program and arguments; it prints the secret
	BaseURL       string   `toml:"base_url"`
	PlainHTTP     bool     `toml:"plain_http"`
}

// client returns a client for the account that the flags, the environment and the config file name, in this order.
func (a *app) client(opts ...wechatuser.Option) (*wechatuser.Client, error) {
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
	opts = append(opts, wechatuser.WithSecretSource(source), wechatuser.WithUserAgent("wechatuser-cli/"+wechatuser.Version))
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

// selectAccount returns the account with the flags and the environment applied.
func (a *app) selectAccount() (configAccount, error) {
	file, path, err := a.readConfig()
	if err != nil {
		return configAccount{}, err
	}
	set := a.settings
	switch {
	case set.account != "" && set.appID != "":
		return configAccount{}, usageError(a.tr("--account and --appid name two accounts; leave one out",
			"--account 和 --appid 不能同时使用"))
	case set.account != "" && path == "":
		return configAccount{}, usageError(a.tr("there is no config file for --account; name it with --config",
			"没有 --account 所需的配置文件；请用 --config 指定"))
	}
	appID, secret := cmp.Or(set.appID, a.env("WECHAT_APPID")), a.env("WECHAT_SECRET")
	var acc configAccount
	name := set.account
	if name == "" && appID == "" {
		name = file.Default
		if name == "" && len(file.Accounts) == 1 {
			for name = range file.Accounts {
			}
		}
	}
	if name != "" {
		found := false
		if acc, found = file.Accounts[name]; !found {
			return acc, usageError(fmt.Sprintf(a.tr("%s has no account %q", "%s 中没有账号 %q"), path, name))
		}
	} else {
		acc = configAccount{AppID: appID, Secret: secret}
	}
	acc.BaseURL = cmp.Or(set.baseURL, acc.BaseURL, a.env("WECHAT_BASE_URL"))
	acc.PlainHTTP = acc.PlainHTTP || set.plainHTTP
	switch {
	case acc.AppID == "" && secret != "":
		return acc, usageError(a.tr("WECHAT_SECRET is set but WECHAT_APPID is not", "设置了 WECHAT_SECRET，但没有设置 WECHAT_APPID"))
	case acc.AppID == "" && name != "":
		return acc, usageError(fmt.Sprintf(a.tr("%s: the account %q has no appid", "%s：账号 %q 没有设置 appid"),
			path, name))
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

// readConfig reads the config file; a file that does not exist is empty unless it was asked for.
func (a *app) readConfig() (file configFile, path string, err error) {
	path = cmp.Or(a.settings.config, a.env("WECHATUSER_CONFIG"))
	asked := path != ""
	if !asked {
		if path = a.defaultConfig(); path == "" {
			return file, path, nil
		}
	}
	meta, err := toml.DecodeFile(path, &file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !asked:
		return configFile{}, path, nil
	case err != nil:
		// A syntax error of the library quotes what it found, which may be the secret.
		if pe := (toml.ParseError{}); errors.As(err, &pe) {
			err = fmt.Errorf(a.tr("%s: line %d is not valid TOML; a text needs quotes, as in appid = \"wx…\"",
				"%s：第 %d 行不是有效的 TOML；文本须加引号，例如 appid = \"wx…\""), path, pe.Position.Line)
		}
		return file, path, &exitError{exitUsage, err}
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return file, path, usageError(fmt.Sprintf(a.tr("%s: unknown setting %s", "%s：未知的设置 %s"), path, unknown[0]))
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 && hasSecret(file) && os.PathSeparator == '/' {
		fmt.Fprintf(a.err, a.tr("warning: others can read the secret in %[1]s: chmod 600 %[1]s\n",
			"警告：其他用户可以读取 %[1]s 中的 AppSecret：请执行 chmod 600 %[1]s\n"), path)
	}
	return file, path, nil
}

// defaultConfig returns where the config file is if nobody says, "" if that is not known.
func (a *app) defaultConfig() string {
	folder := a.env("XDG_CONFIG_HOME")
	if folder == "" {
		var err error
		if folder, err = os.UserConfigDir(); err != nil {
			return ""
		}
	}
	return filepath.Join(folder, "wechatuser", "config.toml")
}

func hasSecret(file configFile) bool {
	for _, acc := range file.Accounts {
		if acc.Secret != "" {
			return true
		}
	}
	return false
}

// secretOf returns where the app secret of an account comes from. A command or a file is asked at each token request,
// so that a secret that was replaced is found.
func (a *app) secretOf(acc configAccount) (func(context.Context) (string, error), error) {
	given := 0
	for _, set := range []bool{acc.Secret != "", acc.SecretFile != "", len(acc.SecretCommand) > 0} {
		if set {
			given++
		}
	}
	secret := cmp.Or(acc.Secret, a.env("WECHAT_SECRET"))
	switch {
	case given > 1:
		return nil, usageError(a.tr("an account has one of secret, secret_file and secret_command",
			"secret、secret_file 和 secret_command 只能设置一个"))
	case len(acc.SecretCommand) > 0:
		return func(ctx context.Context) (string, error) { return a.runSecretCommand(ctx, acc.SecretCommand) }, nil
	case acc.SecretFile != "":
		return func(context.Context) (string, error) {
			text, err := os.ReadFile(acc.SecretFile)
			if err != nil {
				return "", err
			}
			secret := strings.TrimSpace(string(text))
			if secret == "" {
				return "", fmt.Errorf(a.tr("secret_file %s is empty", "secret_file %s 是空文件"), acc.SecretFile)
			}
			return secret, nil
		}, nil
	case secret == "":
		return nil, usageError(fmt.Sprintf(a.tr("no app secret for %s: set WECHAT_SECRET, secret_file or secret_command",
			"%s 没有 AppSecret：请设置 WECHAT_SECRET、secret_file 或 secret_command"), acc.AppID))
	}
	return func(context.Context) (string, error) { return secret, nil }, nil
}

// runSecretCommand returns the output of a command. Its error does not show the output.
func (a *app) runSecretCommand(ctx context.Context, command []string) (string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("secret_command %s: %w", command[0], err)
	}
	secret := strings.TrimSpace(string(out))
	if secret == "" {
		return "", fmt.Errorf(a.tr("secret_command %s printed nothing", "secret_command %s 没有输出"), command[0])
	}
	return secret, nil
}

// configCommand shows where the settings come from, and never a secret.
func (a *app) configCommand() *cobra.Command {
	return a.command(&cobra.Command{
		Use:   "config",
		Short: a.tr("Show the config file and its accounts", "显示配置文件及其中的账号"),
		Long: a.tr(`Show the config file and its accounts, without their secrets.

The file is in TOML:

  default = "shop"

  [accounts.shop]
  appid = "wx0000000000000000"
  secret_command = ["pass", "wechat/shop"]   # or secret_file = "…", or secret = "…"
  base_url = "https://api.weixin.qq.com"     # may be left out`,
			`显示配置文件及其中的账号，不显示 AppSecret。

配置文件采用 TOML 格式：

  default = "shop"

  [accounts.shop]
  appid = "wx0000000000000000"
  secret_command = ["pass", "wechat/shop"]   # 或 secret_file = "…"，或 secret = "…"
  base_url = "https://api.weixin.qq.com"     # 可省略`),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			file, path, err := a.readConfig()
			if err != nil {
				return err
			}
			type account struct {
				Name    string `json:"name"`
				AppID   string `json:"appid"`
				BaseURL string `json:"base_url,omitempty"`
				Default bool   `json:"default"`
			}
			accounts := []account{}
			for name, acc := range file.Accounts {
				accounts = append(accounts, account{name, acc.AppID, acc.BaseURL, name == file.Default})
			}
			slices.SortFunc(accounts, func(x, y account) int { return cmp.Compare(x.Name, y.Name) })
			if a.json {
				return a.printJSON(map[string]any{"file": path, "accounts": accounts})
			}
			fmt.Fprintln(a.out, path)
			t := a.table()
			for _, acc := range accounts {
				mark := ""
				if acc.Default {
					mark = "*"
				}
				t.row(acc.Name+mark, acc.AppID, acc.BaseURL)
			}
			return t.flush()
		},
	})
}
