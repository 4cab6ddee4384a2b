package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
)

// quotaPaths has the endpoints whose quotas the command quota shows by default.
var quotaPaths = []string{
	"/cgi-bin/user/get", "/cgi-bin/user/info", "/cgi-bin/user/info/batchget", "/cgi-bin/user/info/updateremark",
	"/cgi-bin/tags/get", "/cgi-bin/tags/create", "/cgi-bin/tags/update", "/cgi-bin/tags/delete", "/cgi-bin/user/tag/get",
	"/cgi-bin/tags/members/batchtagging", "/cgi-bin/tags/members/batchuntagging", "/cgi-bin/tags/getidlist",
	"/cgi-bin/tags/members/getblacklist", "/cgi-bin/tags/members/batchblacklist", "/cgi-bin/tags/members/batchunblacklist",
}

func (a *app) quotaCommand() *cobra.Command {
	return a.command(&cobra.Command{
		Use:   "quota [PATH…]",
		Short: a.tr("Show what is left of today's quotas", "查看当日剩余调用额度"),
		Long: a.tr("Show what is left of today's quotas, for the endpoints of this tool or for the given paths.",
			"查看当日剩余调用额度：默认为本工具用到的接口，也可指定路径。"),
		Example: "  wechatuser quota\n  wechatuser quota /cgi-bin/message/custom/send",
		RunE: func(cmd *cobra.Command, paths []string) error {
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			for _, path := range paths {
				if err := rehearse(ctx, func(ctx context.Context, c *wechatuser.Client) error {
					_, err := c.GetAPIQuota(ctx, path)
					return err
				}); err != nil {
					return err
				}
			}
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			if len(paths) == 0 {
				paths = quotaPaths
			}
			bar := a.newProgress(a.tr("Quotas", "额度"), len(paths))
			defer bar.finish()
			type row struct {
				Path  string `json:"path"`
				Limit int    `json:"limit"`
				Used  int    `json:"used"`
				Left  int    `json:"left"`
				Error string `json:"error,omitempty"`
			}
			rows, failed := []row{}, 0
			for _, path := range paths {
				r := row{Path: path}
				q, err := c.GetAPIQuota(ctx, path)
				if e := (*wechatuser.Error)(nil); errors.As(err, &e) && !errors.Is(err, wechatuser.ErrCredential) {
					r.Error = a.explain(err)
					failed++
				} else if err != nil {
					return err
				} else {
					r.Limit, r.Used, r.Left = q.DailyLimit, q.Used, q.Remain
				}
				rows = append(rows, r)
				bar.set(len(rows))
			}
			bar.finish()
			if a.json {
				err = a.printJSON(rows)
			} else {
				t := a.table(a.tr("PATH", "路径"), a.tr("LIMIT", "每日额度"), a.tr("USED", "已用"), a.tr("LEFT", "剩余"))
				for _, r := range rows {
					if r.Error != "" {
						t.row(r.Path, r.Error)
						continue
					}
					t.row(r.Path, strconv.Itoa(r.Limit), strconv.Itoa(r.Used), strconv.Itoa(r.Left))
				}
				err = t.flush()
			}
			if err == nil && failed > 0 {
				err = fmt.Errorf(a.tr("%d of %d quotas could not be read", "%[2]d 个接口中有 %[1]d 个无法查询额度"), failed, len(rows))
			}
			return err
		},
	})
}

func (a *app) ridCommand() *cobra.Command {
	return a.command(&cobra.Command{
		Use:     "rid RID",
		Short:   a.tr("Show what became of a failed request", "查看某次失败请求的详情"),
		Long:    a.tr("Show what the platform recorded about a failed request of the last 7 days, by the rid of its error.", "按报错中的 rid 查看最近 7 天内某次失败请求的记录。"),
		Example: "  wechatuser rid 61725984-6126f6f9-040f19c4",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			info, err := c.GetRIDInfo(ctx, args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{
					"invoked_at": info.InvokedAt.Format(time.RFC3339), "cost_ms": info.Cost.Milliseconds(), "client_ip": info.ClientIP,
					"request_url": info.RequestURL, "request_body": info.RequestBody, "response_body": info.ResponseBody,
				})
			}
			t := a.table()
			t.row(a.tr("time", "调用时间"), info.InvokedAt.Format("2006-01-02 15:04:05 -0700"))
			t.row(a.tr("took", "耗时"), info.Cost.String())
			t.row(a.tr("from", "来源 IP"), info.ClientIP)
			t.row(a.tr("query", "查询参数"), info.RequestURL)
			t.row(a.tr("request", "请求"), info.RequestBody)
			t.row(a.tr("response", "响应"), info.ResponseBody)
			return t.flush()
		},
	})
}

func (a *app) callCommand() *cobra.Command {
	var method, data string
	var query []string
	var idempotent bool
	cmd := a.command(&cobra.Command{
		Use:   "call PATH",
		Short: a.tr("Call any endpoint of the platform", "调用平台的任意接口"),
		Long: a.tr(`Call any endpoint of the platform, with the token, retries and errors of all other commands. The response is
printed unchanged. A call with data is sent only once, unless --idempotent allows retries. The command does not ask for
confirmation, whatever the call changes. The account of --sandbox has only the endpoints of this tool, and answers 40066
to others.`,
			`调用平台的任意接口，access_token、重试和报错与其他命令相同。响应原样输出。
带数据的调用只发送一次；如确认可以重复发送，请加 --idempotent。执行前不再确认，即使调用会修改数据。
--sandbox 的公众号只有本工具用到的接口，其他接口返回 40066。`),
		Example: `  wechatuser call /cgi-bin/get_current_selfmenu_info
  wechatuser call /cgi-bin/qrcode/create -d '{"action_name":"QR_STR_SCENE","action_info":{"scene":{"scene_str":"shop-7"}}}'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := wechatuser.Request{Method: strings.ToUpper(method), Path: args[0], Query: url.Values{}, Idempotent: idempotent}
			for _, one := range query {
				name, value, found := strings.Cut(one, "=")
				if !found {
					return usageError(fmt.Sprintf(a.tr("--query %q must be like name=value", "--query %q 应形如 name=value"), one))
				}
				req.Query.Add(name, value)
			}
			if cmd.Flags().Changed("data") {
				body, err := a.readData(data)
				if err != nil {
					return err
				}
				req.Body = body
			}
			ctx := cmd.Context()
			if req.Body == nil && req.Method != http.MethodPost || idempotent { // nothing to settle
				var stop context.CancelFunc
				ctx, stop = a.interruptible(ctx)
				defer stop()
			}
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			var out []byte
			if err := c.Do(ctx, req, &out); err != nil {
				return err
			}
			if json.Valid(out) && len(out) > 0 && out[len(out)-1] != '\n' {
				out = append(out, '\n')
			}
			_, err = a.out.Write(out)
			return err
		},
	})
	flags := cmd.Flags()
	flags.StringVarP(&data, "data", "d", "", a.tr("`JSON` to send, @file, or - for stdin", "要发送的 `JSON`，或 @文件，- 表示标准输入"))
	flags.StringArrayVarP(&query, "query", "q", nil, a.tr("`name=value` in the query; may be repeated", "查询参数 `name=value`，可重复"))
	flags.StringVarP(&method, "method", "X", "", a.tr("`GET` or POST; default: POST with data, GET without", "`GET` 或 POST；默认有数据时为 POST，否则为 GET"))
	flags.BoolVar(&idempotent, "idempotent", false, a.tr("the call may be sent twice, so retry it after a failure", "可以重复发送，允许重试"))
	return cmd
}

// readData returns the JSON that --data passes.
func (a *app) readData(data string) (json.RawMessage, error) {
	text, err := []byte(data), error(nil)
	if data == "-" {
		text, err = io.ReadAll(a.input())
	} else if file, ok := strings.CutPrefix(data, "@"); ok {
		text, err = os.ReadFile(file)
	}
	if errors.Is(err, errInterrupted) {
		return nil, err
	}
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !json.Valid(text) {
		return nil, usageError(a.tr("--data is not JSON; nothing was sent", "--data 不是 JSON；没有发送任何请求"))
	}
	return text, nil
}
