package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/cmd/wechatuser/internal/export"
)

// rootCommand returns the command line, in the language of the user.
func (a *app) rootCommand() *cobra.Command {
	root := a.command(&cobra.Command{
		Use: "wechatuser",
		Short: a.tr("Manage the followers of a WeChat Official Account",
			"管理微信公众号的用户"),
		Long: a.tr(`Manage the followers of a WeChat Official Account: profiles, tags, the blacklist.

Set the account with WECHAT_APPID and WECHAT_SECRET, or in a config file (see "wechatuser config").
With --sandbox, every command runs on an account in memory, without WeChat.`,
			`管理微信公众号的用户：用户信息、标签、黑名单。

账号由环境变量 WECHAT_APPID 和 WECHAT_SECRET 设置，也可写在配置文件中（见 wechatuser config）。
加上 --sandbox，任何命令都在内存模拟公众号上运行，不访问微信。`),
		Example: a.tr(`  wechatuser --sandbox fans --limit 3        # the first followers of an account in memory
  wechatuser doctor                          # why do calls fail from this machine
  wechatuser tags add vip -f openids.txt     # tag them`,
			`  wechatuser --sandbox fans --limit 3        # 内存模拟公众号的前几个用户
  wechatuser doctor                          # 诊断本机调用失败的原因
  wechatuser tags add vip -f openids.txt     # 为文件中的用户打标签`),
		Version: "v" + wechatuser.Version, // they are released together
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	})
	root.PersistentPreRunE = a.checkFlags
	root.SetVersionTemplate("wechatuser {{.Version}}\n")
	flags := root.PersistentFlags()
	set := &a.settings
	flags.StringVar(&set.account, "account", "", a.tr("`name` of an account in the config file", "配置文件中的账号`名称`"))
	flags.StringVar(&set.config, "config", "", a.tr("config `file`", "配置`文件`"))
	flags.StringVar(&set.appID, "appid", "", a.tr("app `ID`; the secret is never an argument", "公众号的 `AppID`；AppSecret 不能作为参数"))
	flags.StringVar(&set.baseURL, "base-url", "", a.tr("base `URL` of the API", "接口的基础`地址`"))
	flags.BoolVar(&set.plainHTTP, "plain-http", false, a.tr("accept a base URL of plain http: tokens travel in clear text",
		"允许 http 地址：access_token 将明文传输"))
	flags.BoolVar(&set.sandbox, "sandbox", false, a.tr("use an account in memory, without WeChat", "使用内存模拟公众号，不访问微信"))
	flags.IntVar(&set.fans, "sandbox-fans", 1000, a.tr("`number` of followers of the sandbox", "模拟公众号的用户`数`"))
	flags.StringVar(&set.state, "sandbox-state", "", a.tr("`file` that keeps the sandbox from one command to the next",
		"保存模拟公众号状态的`文件`，供下一条命令继续使用"))
	flags.BoolVar(&a.json, "json", false, a.tr("print results as JSON", "以 JSON 输出结果"))
	flags.BoolVarP(&a.yes, "yes", "y", false, a.tr("do not ask before a change", "修改前不再确认"))
	flags.BoolVar(&a.anyway, "over-quota", false, a.tr("go ahead with more calls than today's quota holds",
		"调用次数超过当日剩余额度时仍继续"))
	flags.String("lang", "", a.tr("`language` of messages: en or zh; default: the locale", "消息`语言`：en 或 zh，默认取自系统区域设置"))
	root.AddCommand(
		a.fansCommand(), a.userCommand(), a.tagsCommand(), a.blacklistCommand(), a.quotaCommand(), a.ridCommand(),
		a.callCommand(), a.syncCommand(), a.campaignCommand(),
		a.exportCommand(), a.mirrorCommand(), a.doctorCommand(), a.sandboxCommand(), a.tokenCommand(),
		a.configCommand(),
	)
	a.completeFlags(root)
	a.translate(root)
	return root
}

// completeFlags adds the values of flags to shell completion.
func (a *app) completeFlags(root *cobra.Command) {
	values := map[string][]string{"lang": {"en", "zh"}, "format": export.Formats, "method": {"GET", "POST"}, "quirks": {"strict", "wild"}}
	for _, scene := range knownScenes {
		values["scene"] = append(values["scene"], string(scene))
	}
	var each func(*cobra.Command)
	each = func(cmd *cobra.Command) {
		for name, list := range values {
			if cmd.LocalNonPersistentFlags().Lookup(name) != nil || cmd.PersistentFlags().Lookup(name) != nil {
				_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp))
			}
		}
		for _, sub := range cmd.Commands() {
			each(sub)
		}
	}
	each(root)
	_ = root.RegisterFlagCompletionFunc("account", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		file, _, _ := a.readConfig() // without a config file there is nothing to complete
		return slices.Sorted(maps.Keys(file.Accounts)), cobra.ShellCompDirectiveNoFileComp
	})
}

// checkFlags rejects flags that would otherwise be ignored silently. A flag for the account in memory must not lead to
// a change of the real one.
func (a *app) checkFlags(cmd *cobra.Command, _ []string) error {
	flags := cmd.Flags()
	if !a.settings.sandbox && (flags.Changed("sandbox-fans") || flags.Changed("sandbox-state")) {
		return errors.New(a.tr("--sandbox-fans and --sandbox-state require --sandbox",
			"--sandbox-fans 和 --sandbox-state 须与 --sandbox 一起使用"))
	}
	if lang := flags.Lookup("lang").Value.String(); lang != "" && !strings.HasPrefix(lang, "en") && !isChineseName(lang) {
		return fmt.Errorf("--lang %s: must be en or zh", lang)
	}
	return nil
}

// translate translates the texts of cobra into the language of the user.
func (a *app) translate(root *cobra.Command) {
	if !a.chinese {
		return
	}
	root.SetUsageTemplate(chineseUsage)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.Flags().BoolP("version", "v", false, "显示版本")
	cobra.AddTemplateFunc("chineseFlags", chineseFlags)
	var each func(*cobra.Command)
	each = func(cmd *cobra.Command) {
		cmd.Flags().BoolP("help", "h", false, "显示帮助")
		cmd.DisableFlagsInUseLine = true
		cmd.Use += " [选项]"
		for _, sub := range cmd.Commands() {
			switch sub.Name() {
			case "help":
				sub.Short, sub.Long, sub.Use = "查看某个命令的帮助", "", "help [命令]"
			case "completion":
				sub.Short, sub.Long = "生成命令行补全脚本", ""
			case "bash", "zsh", "fish", "powershell":
				sub.Short, sub.Long = "生成 "+sub.Name()+" 的补全脚本", ""
				sub.Example = "  " + loadCompletion[sub.Name()]
				sub.Flags().Lookup("no-descriptions").Usage = "补全时不显示说明"
			}
			each(sub)
		}
	}
	each(root)
}

// loadCompletion has the command with which each shell loads its completion script.
var loadCompletion = map[string]string{
	"bash":       "source <(wechatuser completion bash)",
	"zsh":        "source <(wechatuser completion zsh)",
	"fish":       "wechatuser completion fish | source",
	"powershell": "wechatuser completion powershell | Out-String | Invoke-Expression",
}

var (
	flagLine    = regexp.MustCompile(`^( +(?:-\w, )?--\S+(?: \S+)?) {2,}(.*)$`)
	flagDefault = regexp.MustCompile(` \(default (.*)\)$`)
)

// chineseFlags describes flags, aligned by the display width of the texts.
func chineseFlags(flags interface{ FlagUsages() string }) string {
	lines := strings.Split(strings.TrimRight(flags.FlagUsages(), " \n"), "\n")
	width := 0
	for _, line := range lines {
		if m := flagLine.FindStringSubmatch(line); m != nil {
			width = max(width, displayWidth(m[1]))
		}
	}
	for i, line := range lines {
		if m := flagLine.FindStringSubmatch(line); m != nil {
			lines[i] = padRight(m[1], width+3) + flagDefault.ReplaceAllString(m[2], "（默认 $1）")
		}
	}
	return strings.Join(lines, "\n")
}

// usageTexts has cobra's errors about arguments in Chinese.
var usageTexts = []struct {
	english *regexp.Regexp
	chinese string
}{
	{regexp.MustCompile(`^unknown command ("[^\n]*") for "(.*)"(?s:.*)$`), `$2：未知的命令或参数 $1`},
	{regexp.MustCompile(`^unknown flag: (\S+)$`), `未知的选项 $1`},
	{regexp.MustCompile(`^unknown shorthand flag: '.*' in (\S+)$`), `未知的选项 $1`},
	{regexp.MustCompile(`^flag needs an argument: (?:'.*' in )?(\S+)$`), `选项 $1 缺少值`},
	{regexp.MustCompile(`^accepts (\d+) arg\(s\), received (\d+)$`), `需要 $1 个参数，实际为 $2 个`},
	{regexp.MustCompile(`^requires at least (\d+) arg\(s\), only received (\d+)$`), `至少需要 $1 个参数，实际为 $2 个`},
	{regexp.MustCompile(`^invalid argument ("(?s:.*)") for "(?:-\w, )?(--\S+)" flag: (?s:(.*))$`), `选项 $2 的值 $1 无效：$3`},
	{regexp.MustCompile(`(?:invalid syntax|parse error|time: invalid duration .*)$`), `格式不正确`},
	{regexp.MustCompile(`value out of range$`), `超出范围`},
}

var parserName = regexp.MustCompile(`strconv\.\w+: parsing "(?s:.*)": `)

// explainUsage returns the text of cobra's error about the arguments, in the language of the user.
func (a *app) explainUsage(err error) string {
	text := parserName.ReplaceAllString(err.Error(), "")
	if a.chinese {
		for _, t := range usageTexts {
			text = t.english.ReplaceAllString(text, t.chinese)
		}
	}
	return text
}

// chineseUsage is cobra's usage template in Chinese.
const chineseUsage = `用法：{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [命令]{{end}}{{if .HasExample}}

示例：
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

命令：{{range .Commands}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

选项：
{{chineseFlags .LocalFlags}}{{end}}{{if .HasAvailableInheritedFlags}}

全局选项：
{{chineseFlags .InheritedFlags}}{{end}}{{if .HasAvailableSubCommands}}

使用 "{{.CommandPath}} [命令] --help" 查看某个命令的说明。{{end}}
`

// count returns a number with its noun: in English in the singular or the plural, or in Chinese.
func (a *app) count(n int, one, many, chinese string) string {
	switch {
	case a.chinese:
		return fmt.Sprintf("%d %s", n, chinese)
	case n == 1:
		return "1 " + one
	default:
		return fmt.Sprintf("%d %s", n, many)
	}
}
