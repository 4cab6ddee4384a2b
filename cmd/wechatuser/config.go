package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
)

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

	PushToken          string `toml:"push_token"` // the three are secrets
	PushAESKey         string `toml:"push_aes_key"`
	PushPreviousAESKey string `toml:"push_previous_aes_key"`
}

// accountSettings maps the name of each setting of an account to a value of its type.
var accountSettings = map[string]any{
	"appid": "", "secret": "", "secret_file": "", "secret_command": []any{}, "base_url": "", "plain_http": false,
	"push_token": "", "push_aes_key": "", "push_previous_aes_key": "",
}

// readConfig reads the config file. If the file does not exist, it is an error only if the user has named it.
func (a *app) readConfig() (file configFile, path string, err error) {
	path = cmp.Or(a.settings.config, a.env("WECHATUSER_CONFIG"))
	asked := path != ""
	if !asked {
		if path = a.defaultConfig(); path == "" {
			return file, path, nil
		}
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !asked:
		return file, path, nil
	case err != nil:
		return file, path, &exitError{exitUsage, err}
	}
	if file, err = a.parseConfig(path, string(text)); err != nil {
		return file, path, err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 && hasSecret(file) && os.PathSeparator == '/' {
		a.warn(fmt.Sprintf(a.tr("others can read the secret in %[1]s: chmod 600 %[1]s",
			"其他用户可以读取 %[1]s 中的密钥：请执行 chmod 600 %[1]s"), path))
	}
	return file, path, nil
}

// parseConfig parses a config file. Its errors name the file, the line and the setting, but never show
// a value, which may be the secret.
func (a *app) parseConfig(path, text string) (file configFile, err error) {
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		line := 1
		if pe := (toml.ParseError{}); errors.As(err, &pe) {
			line = pe.Position.Line
		}
		return file, usageError(fmt.Sprintf(a.tr("%s: line %d is not valid TOML; a text needs quotes, as in appid = \"wx…\"",
			"%s：第 %d 行不是有效的 TOML；文本须加引号，例如 appid = \"wx…\""), path, line))
	}
	if key, wrong := a.checkConfig(tree); wrong != "" {
		return file, usageError(fmt.Sprintf(a.tr("%s: line %d: %s: %s", "%s：第 %d 行：%s：%s"),
			path, lineOfKey(text, key), strings.Join(key, "."), wrong))
	}
	_, err = toml.Decode(text, &file)
	return file, err
}

// checkConfig returns the first setting that is unknown or has a wrong type, with a description of the fault.
func (a *app) checkConfig(tree map[string]any) (key []string, wrong string) {
	unknown := a.tr("unknown setting", "未知的设置")
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		switch value := tree[name]; name {
		case "default":
			if _, ok := value.(string); !ok {
				return []string{name}, a.tr("must be the name of an account in quotes", "应为带引号的账号名称")
			}
		case "accounts":
			accounts, ok := value.(map[string]any)
			if !ok {
				return []string{name}, a.tr("must be tables such as [accounts.shop]", "应为 [accounts.shop] 形式的表")
			}
			for _, account := range slices.Sorted(maps.Keys(accounts)) {
				if key, wrong := a.checkAccount(account, accounts[account]); wrong != "" {
					return key, wrong
				}
			}
		default:
			return []string{name}, unknown
		}
	}
	return nil, ""
}

func (a *app) checkAccount(name string, value any) (key []string, wrong string) {
	path := []string{"accounts", name}
	account, ok := value.(map[string]any)
	if !ok {
		return path, fmt.Sprintf(a.tr("must be a table: [accounts.%s]", "应为表：[accounts.%s]"), name)
	}
	for _, setting := range slices.Sorted(maps.Keys(account)) {
		key := append(path, setting)
		want, known := accountSettings[setting]
		if !known {
			return key, fmt.Sprintf(a.tr("unknown setting; there are %s", "未知的设置；可用的设置：%s"),
				strings.Join(slices.Sorted(maps.Keys(accountSettings)), ", "))
		}
		switch value, isList := account[setting].([]any); want.(type) {
		case string:
			if _, ok := account[setting].(string); !ok {
				return key, a.tr("must be a text in quotes", "应为带引号的文本")
			}
		case bool:
			if _, ok := account[setting].(bool); !ok {
				return key, a.tr("must be true or false", "应为 true 或 false")
			}
		default:
			isText := func(v any) bool { _, ok := v.(string); return ok }
			if !isList || len(value) == 0 || slices.ContainsFunc(value, func(v any) bool { return !isText(v) }) {
				return key, a.tr(`must be a program and its arguments, such as ["pass", "wechat/shop"]`,
					`应为程序及其参数，例如 ["pass", "wechat/shop"]`)
			}
		}
	}
	return nil, ""
}

// lineOfKey returns the number of the line in a valid TOML text that sets a key, or that of its table. The TOML library
// reports positions only for syntax errors, so each line is parsed by itself.
func lineOfKey(text string, key []string) int {
	var table []string
	best, length := 1, 0
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		var found []string
		if strings.HasPrefix(line, "[") {
			if table = keyIn(line); len(table) > 0 {
				found = table
			}
		} else if name, _, ok := strings.Cut(line, "="); ok {
			if own := keyIn(name + "= 0"); len(own) > 0 {
				found = slices.Concat(table, own)
			}
		}
		if len(found) > length && len(found) <= len(key) && slices.Equal(found, key[:len(found)]) {
			best, length = i+1, len(found)
		}
	}
	return best
}

// keyIn returns the key that a line of TOML sets, or nil.
func keyIn(line string) []string {
	var tree map[string]any
	meta, err := toml.Decode(line, &tree)
	keys := meta.Keys()
	if err != nil || len(keys) == 0 {
		return nil
	}
	return keys[len(keys)-1]
}

// defaultConfig returns the default path of the config file, or "" if it cannot be determined.
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
		if acc.Secret != "" || acc.PushToken != "" || acc.PushAESKey != "" || acc.PushPreviousAESKey != "" {
			return true
		}
	}
	return false
}

// configCommand shows where the settings come from, but no secret.
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
  base_url = "https://api.weixin.qq.com"     # may be left out
  push_token = "…"                           # these two for "wechatuser mirror --listen"
  push_aes_key = "…"`,
			`显示配置文件及其中的账号，不显示 AppSecret。

配置文件采用 TOML 格式：

  default = "shop"

  [accounts.shop]
  appid = "wx0000000000000000"
  secret_command = ["pass", "wechat/shop"]   # 或 secret_file = "…"，或 secret = "…"
  base_url = "https://api.weixin.qq.com"     # 可省略
  push_token = "…"                           # 这两项用于 wechatuser mirror --listen
  push_aes_key = "…"`),
		Example: "  wechatuser config\n  wechatuser --config shops.toml config --json",
		Args:    cobra.NoArgs,
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
			if len(accounts) == 0 {
				fmt.Fprintln(a.err, a.tr("It has no accounts, or does not exist; wechatuser config --help shows what to write.",
					"该文件不存在，或其中没有账号；写法见 wechatuser config --help。"))
			}
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
