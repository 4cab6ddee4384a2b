package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// referenceHead is the part of docs/cli.md that is not about one command.
const referenceHead = `# Command line

<!-- Written by: go test -C cmd/wechatuser . -run TestReference -update -->

` + "```sh\ngo install github.com/wechatuser/wechatuser/cmd/wechatuser@latest\n```" + `

## Account

The account comes from ` + "`WECHAT_APPID`, `WECHAT_SECRET` and `WECHAT_BASE_URL`" + `, or from a config file with several
accounts, of which ` + "`--account`" + ` chooses one; ` + "`wechatuser config --help`" + ` shows the file. The app secret can
come from a file or from the output of a program, which has 30 seconds. It is never an argument, so that no list of
processes shows it, and it is printed nowhere. ` + "`WECHAT_SECRET` and `WECHAT_BASE_URL` belong to `WECHAT_APPID`" + `: they
complete no account of the config file. With ` + "`--sandbox`" + ` each command runs on an account in memory, without WeChat.

TAG is the name of a tag, or its ID: a number is an ID unless ` + "`--name`" + ` is given.

## Output

Results go to stdout, everything else to stderr. ` + "`--json`" + ` prints results as JSON, lists as one value per line.
Messages are in Chinese if the locale is, or with ` + "`--lang zh`" + `. ` + "`-`" + ` in place of a file is stdin. On a terminal
there are colors, unless ` + "`NO_COLOR`" + ` is set. Control characters in names and remarks are shown as escapes such as
` + "`\\x1b`" + `, but not in JSON.

A command that changes the account, other than ` + "`call`" + `, prints its plan first: how many, how many calls, and how
many are left today. It asks before it begins, unless ` + "`--yes`" + ` is given or the account is in memory only. It begins
nothing that today's quota cannot hold, unless ` + "`--over-quota`" + ` is given. That counts the calls if no openid is
rejected; the plan has the most calls too, and there is a warning if the quota cannot hold those. An openid is "unknown",
not rejected, if no response says whether the change was made. After Ctrl-C or SIGTERM it settles what is in
flight, and says where to go on; a second one ends it at once.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | wrong arguments or settings; nothing was changed |
| 3 | done, but for some openids that were rejected or have an unknown outcome |
| 4 | stopped before the end, such as by Ctrl-C; the output of a job says where to go on |
| 5 | nothing was changed: not confirmed, or today's quota is too small |
`

// TestReference compares docs/cli.md with the commands. Run it with -update to write it.
func TestReference(t *testing.T) {
	a := testApp(t, nil)
	var b bytes.Buffer
	b.WriteString(referenceHead)
	root := a.rootCommand()
	fmt.Fprintf(&b, "\n## Global options\n\n```\n%s```\n", root.PersistentFlags().FlagUsages())
	var describe func(*cobra.Command)
	describe = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.Name() == "help" || sub.Name() == "completion" {
				continue
			}
			fmt.Fprintf(&b, "\n## %s\n\n", sub.CommandPath())
			text := sub.Long
			if text == "" {
				text = sub.Short + "."
			}
			plain, file, found := strings.Cut(text, "\n\n  ") // what is indented is a file
			fmt.Fprintf(&b, "%s\n\n```\n%s\n```\n", plain, sub.UseLine())
			if found {
				fmt.Fprintf(&b, "\n```\n  %s\n```\n", file)
			}
			if sub.Example != "" {
				fmt.Fprintf(&b, "\n```sh\n%s\n```\n", sub.Example)
			}
			if flags := sub.LocalFlags().FlagUsages(); flags != "" {
				fmt.Fprintf(&b, "\n```\n%s```\n", flags)
			}
			describe(sub)
		}
	}
	describe(root)
	const file = "../../docs/cli.md"
	if *update {
		require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String())
}
