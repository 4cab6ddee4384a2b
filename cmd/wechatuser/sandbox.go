package main

import (
	"flag"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/sandbox"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// sandboxAccount is the account of --sandbox.
type sandboxAccount struct {
	*wechatusertest.Server
	state   *sandbox.StateFile
	chinese bool
}

// maxSandboxFans is a number of followers that fits into the memory of an ordinary machine.
const maxSandboxFans = 10_000_000

// openSandbox returns a client of an account in memory. The account is the same at each start, or that of the state
// file.
func (a *app) openSandbox(opts ...wechatuser.Option) (*wechatuser.Client, error) {
	fans := a.settings.fans
	if fans < 0 {
		return nil, usageError(a.tr("--sandbox-fans must not be negative", "--sandbox-fans 不能为负数"))
	}
	if fans > maxSandboxFans {
		return nil, usageError(fmt.Sprintf(a.tr("--sandbox-fans must not be more than %d", "--sandbox-fans 不能超过 %d"),
			maxSandboxFans))
	}
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(fans))
	srv.AddTag("vip", srv.OpenIDs()[:min(10, fans)]...)
	acc := &sandboxAccount{srv, &sandbox.StateFile{Path: a.settings.state, Account: srv}, a.chinese}
	if err := acc.state.Open(); err != nil {
		return nil, &exitError{exitUsage, sandbox.Localize(err, a.chinese)}
	}
	a.sandboxed = acc
	if !a.json {
		fmt.Fprintf(a.err, a.tr("Using an account in memory with %s.\n", "正在使用内存中的模拟账号，共 %s。\n"),
			a.count(len(acc.OpenIDs()), "follower", "followers", "个用户"))
	}
	return acc.Client(opts...), nil
}

// close saves the account to the state file, if there is one.
func (acc *sandboxAccount) close() error {
	defer acc.Server.Close()
	return sandbox.Localize(acc.state.Save(), acc.chinese)
}

// sandboxCommand serves an account in memory to other programs.
func (a *app) sandboxCommand() *cobra.Command {
	flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	config := sandbox.Flags(flags, a.chinese)
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: a.tr("Serve an account in memory on a port, with a web page", "在端口上运行内存模拟公众号，并提供网页"),
		Long: a.tr(`Serve an account in memory on a port, for programs in any language: to try out calls by hand, and to run
tests.

It has the platform's limits, errcodes and token rules. In the SDK, replace https://api.weixin.qq.com with the base URL,
which is the first line of the output. Its web page shows followers, tags, tokens, quotas and the last calls, and causes
faults, revokes tokens and advances the clock.`,
			`在端口上运行内存模拟公众号，供任何语言的程序使用：可手动试用，也可用于测试。

它遵循平台的限制、错误码和 access_token 规则。使用 SDK 时，将 https://api.weixin.qq.com 替换为输出的第一行中的地址。
网页显示用户、标签、access_token、额度和最近的接口调用，并可模拟故障、使 access_token 失效、拨快时钟。`),
		Example: a.tr(`  wechatuser sandbox                                # with 1,000 followers, on port 8080
  wechatuser sandbox --state account.json --log     # keep the account, and log calls
  wechatuser sandbox --quirks wild --quotas documented`,
			`  wechatuser sandbox                                # 1,000 个用户，端口 8080
  wechatuser sandbox --state account.json --log     # 保存账号，并记录每次调用
  wechatuser sandbox --quirks wild --quotas documented`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := config.Check(); err != nil {
				return &exitError{exitUsage, err}
			}
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			config.JSON = a.json
			return sandbox.Run(ctx, config, a.out, a.err)
		},
	}
	cmd.Flags().AddGoFlagSet(flags)
	return a.command(cmd)
}
