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
come from a file or from the output of a program. It is never an argument, so that no list of processes shows it, and it
is printed nowhere. With ` + "`--sandbox`" + ` each command runs on an account in memory, without WeChat.

## Output

Results go to stdout, everything else to stderr. ` + "`--json`" + ` prints results as JSON, lists as one value per line.
Messages are in Chinese if the locale is, or with ` + "`--lang zh`" + `. ` + "`-`" + ` in place of a file is stdin.

A command that changes the account, other than ` + "`call`" + `, prints its plan first: how many, how many calls, and how
many are left today. It asks before it begins, unless ` + "`--yes`" + ` is given or the account is in memory only. It begins
nothing that today's quota cannot hold, unless ` + "`--over-quota`" + ` is given. After Ctrl-C or SIGTERM it settles what is in
flight, and says where to go on; a second one ends it at once.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | wrong arguments or settings; nothing was changed |
| 3 | done, but for some openids that were rejected |
| 4 | stopped before the end; the output says where to go on |
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
