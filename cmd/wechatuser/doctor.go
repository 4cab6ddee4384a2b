package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/cmd/wechatuser/internal/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	var timeout time.Duration
	cmd := a.command(&cobra.Command{
		Use:   "doctor",
		Short: a.tr("Explain why calls fail from this machine", "诊断本机调用接口失败的原因"),
		Long: a.tr(`Explain why calls fail from this machine, and what to do about it: DNS, TCP and TLS, the clock, the app ID
and secret, the IP whitelist, the quotas and the account's rights.

It makes one token request and 12 API calls, and changes nothing: the token that it fetches is the stable one that is
in use already, and legacy tokens are not affected. The exit code is 1 if a check fails. It checks no token store: Check
of package redisstore says what is wrong with Redis.`,
			`诊断本机调用接口失败的原因并给出处理办法：DNS、TCP、TLS、时钟、AppID 和 AppSecret、IP 白名单、接口额度、
账号的接口权限。

只发送 1 次 access_token 请求和 12 次接口调用，不做任何修改：获取的是正在使用的稳定版 access_token，
也不影响普通版 access_token。有检查项失败时，退出码为 1。
不检查各进程共用的 access_token 存储：Redis 的问题可用 redisstore 包的 Check 查明。`),
		Example: "  wechatuser doctor\n  wechatuser doctor --json\n  wechatuser --sandbox doctor",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return usageError(a.tr("--timeout must be positive", "--timeout 必须为正"))
			}
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			target, closeTarget, err := a.target()
			if err != nil {
				return err
			}
			defer closeTarget()
			calls, count := countCalls()
			target.Timeout, target.Chinese, target.Options = timeout, a.chinese, append(target.Options, count)
			bar := a.newWait(a.tr("Checking", "正在检查"), calls)
			d, err := doctor.Diagnose(ctx, target)
			bar.finish()
			switch {
			case ctx.Err() != nil:
				return &exitError{exitStopped, errors.New(a.tr("interrupted: run it again", "已中断：请重新执行"))}
			case err != nil:
				return &exitError{exitUsage, err}
			}
			err = a.printDiagnosis(d)
			if n := d.Count(doctor.Fail); n > 0 {
				text := a.count(n, "check failed", "checks failed", "项检查失败")
				err = errors.Join(err, &exitError{exitFailed, errors.New(text)})
			}
			return err
		},
	})
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, a.tr("`time` limit of each step", "每一步的超时`时间`"))
	return cmd
}

// target returns the account to check. An account in memory is served on a local port, so that there is a network to
// check.
func (a *app) target() (target doctor.Target, closeTarget func(), err error) {
	if !a.settings.sandbox {
		acc, err := a.selectAccount()
		if err != nil {
			return target, nil, err
		}
		secret, err := a.secretOf(acc)
		if err != nil {
			return target, nil, err
		}
		return doctor.Target{
			AppID: acc.AppID, Secret: secret, BaseURL: cmp.Or(acc.BaseURL, wechatuser.BaseURL), PlainHTTP: acc.PlainHTTP,
			Options: []wechatuser.Option{wechatuser.WithUserAgent("wechatuser-cli/" + wechatuser.Version)},
		}, func() {}, nil
	}
	if _, err := a.openSandbox(); err != nil {
		return target, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return target, nil, err
	}
	server := &http.Server{Handler: a.sandboxed.Server, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // http.ErrServerClosed
	}()
	secret := a.sandboxed.Secret
	return doctor.Target{
		AppID: a.sandboxed.AppID, Secret: func(context.Context) (string, error) { return secret, nil },
		BaseURL: "http://" + listener.Addr().String(), Store: wechatuser.NewMemoryTokenStore(),
	}, func() { _ = server.Close(); <-served }, nil
}

// printDiagnosis prints the findings, each with its remedy.
func (a *app) printDiagnosis(d *doctor.Diagnosis) error {
	if a.json {
		return a.printJSON(map[string]any{
			"checks": d.Findings, "failed": d.Count(doctor.Fail), "calls": d.Calls, "token_requests": d.TokenRequests,
		})
	}
	status := map[doctor.Status]string{
		doctor.OK: "ok", doctor.Warn: "warn", doctor.Fail: "FAIL", doctor.Skipped: "skipped",
	}
	if a.chinese {
		status = map[doctor.Status]string{
			doctor.OK: "正常", doctor.Warn: "警告", doctor.Fail: "失败", doctor.Skipped: "跳过",
		}
	}
	colors := map[doctor.Status]color{doctor.OK: green, doctor.Warn: yellow, doctor.Fail: red, doctor.Skipped: gray}
	line := func(s doctor.Status, label, text string) {
		fmt.Fprintln(a.out, a.paint(a.out, colors[s], padRight(status[s], 7))+"  "+padRight(label, 33)+" "+visible(text))
	}
	rids := ""
	for _, f := range d.Findings {
		if f.RID != "" {
			rids = a.tr("\nWeChat explains a rid for seven days: wechatuser rid RID, or ",
				"\nrid 在 7 天内可查询：wechatuser rid RID，或 ") +
				"https://developers.weixin.qq.com/console/devtools/debug?tab=errorDiag\n"
		}
		line(f.Status, d.Label(f.Check), f.Text)
		if f.Remedy != "" {
			line("", "", "-> "+f.Remedy)
		}
	}
	fmt.Fprint(a.out, rids)
	_, err := fmt.Fprintf(a.out, a.tr(
		"\nok %d, warn %d, FAIL %d, skipped %d. Requests sent: API calls %d, token requests %d. Nothing was changed.\n",
		"\n正常 %d，警告 %d，失败 %d，跳过 %d。共发送：接口调用 %d 次，access_token 请求 %d 次。未做任何修改。\n"),
		d.Count(doctor.OK), d.Count(doctor.Warn), d.Count(doctor.Fail), d.Count(doctor.Skipped), d.Calls, d.TokenRequests)
	return err
}

// padRight pads a text with spaces to a number of columns.
func padRight(text string, columns int) string {
	return text + strings.Repeat(" ", max(columns-displayWidth(text), 0))
}

// displayWidth returns the number of columns of a text. A Chinese character takes two.
func displayWidth(text string) (columns int) {
	for _, r := range text {
		columns++
		if r >= '\u2e80' {
			columns++
		}
	}
	return columns
}
