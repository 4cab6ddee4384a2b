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

// TestReference compares docs/cli.md and its Chinese version with the commands. Run it with -update to write them. What
// is not about one command is in testdata/cli.en.md and testdata/cli.zh.md.
func TestReference(t *testing.T) {
	for language, file := range map[string]string{"en": "cli.md", "zh": "cli.zh-CN.md"} {
		t.Run(language, func(t *testing.T) {
			a := testApp(t, nil)
			a.chinese = language == "zh"
			head, err := os.ReadFile("testdata/cli." + language + ".md")
			require.NoError(t, err)
			got, file := string(head)+reference(a), "../../docs/"+file
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, string(want), got)
		})
	}
}

// reference describes all commands.
func reference(a *app) string {
	usages := func(flags interface{ FlagUsages() string }) string {
		if text := flags.FlagUsages(); text == "" || !a.chinese {
			return text
		}
		return chineseFlags(flags) + "\n"
	}
	var b bytes.Buffer
	root := a.rootCommand()
	fmt.Fprintf(&b, "\n## %s\n\n```\n%s```\n", a.tr("Global options", "全局选项"), usages(root.PersistentFlags()))
	var describe func(*cobra.Command)
	describe = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.Name() == "help" || sub.Name() == "completion" {
				continue
			}
			fmt.Fprintf(&b, "\n## %s\n\n", sub.CommandPath())
			text := sub.Long
			if text == "" {
				text = sub.Short + a.tr(".", "。")
			}
			plain, file, found := strings.Cut(text, "\n\n  ") // what is indented is a file
			fmt.Fprintf(&b, "%s\n\n```\n%s\n```\n", plain, sub.UseLine())
			if found {
				fmt.Fprintf(&b, "\n```\n  %s\n```\n", file)
			}
			if sub.Example != "" {
				fmt.Fprintf(&b, "\n```sh\n%s\n```\n", sub.Example)
			}
			flags := sub.LocalFlags()
			if help := flags.Lookup("help"); help != nil {
				help.Hidden = true // each command has it
			}
			if text := usages(flags); text != "" {
				fmt.Fprintf(&b, "\n```\n%s```\n", text)
			}
			describe(sub)
		}
	}
	describe(root)
	return b.String()
}
