package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/cmd/wechatuser/internal/export"
)

func (a *app) exportCommand() *cobra.Command {
	var cfg export.Config
	cmd := a.command(&cobra.Command{
		Use:   "export FILE",
		Short: a.tr("Export all followers to CSV, JSON Lines or SQLite", "导出全部用户到 CSV、JSON Lines 或 SQLite 文件"),
		Long: a.tr(`Export all followers, with their profiles and tag names, to a file. Nothing is changed in the account.
100,000 followers take about 1,013 calls.

The format follows from the extension:

  .csv     a row per follower; times are in Beijing time, and tags are separated by ";"
  .jsonl   a JSON object per line, with all fields of the platform, and "tags"
  .db      an SQLite database with the columns of the CSV in the table "followers"

A follower whose profile the platform rejects has only the openid and the "error".

The export can be stopped or killed at any time, and goes on when it is run again with the same arguments. Until it is
complete, the file is named FILE.part, and FILE.part.json beside it says what it holds.`,
			`导出全部用户及其用户信息、标签名到文件，不修改账号中的任何数据。10 万个用户约需 1,013 次接口调用。

文件格式由扩展名决定：

  .csv     每个用户一行；时间为北京时间，多个标签以 ";" 分隔
  .jsonl   每行一个 JSON 对象，包含平台返回的全部字段和 "tags"
  .db      SQLite 数据库，表 "followers" 的列与 CSV 相同

用户信息被平台拒绝的用户只有 openid 和 "error"。

导出可以随时中断，进程被强制结束也不受影响：以相同的参数重新执行即可继续。完成之前文件名为 FILE.part，
旁边的 FILE.part.json 记录其内容所属的账号和格式。`),
		Example: a.tr(`  wechatuser export followers.csv
  wechatuser export followers.csv --excel      # a CSV file that Excel opens
  wechatuser --sandbox export followers.db     # try it without WeChat
  until wechatuser export followers.jsonl; do sleep 60; done`,
			`  wechatuser export followers.csv
  wechatuser export followers.csv --excel      # 可直接用 Excel 打开的 CSV
  wechatuser --sandbox export followers.db     # 不访问微信，先试用
  until wechatuser export followers.jsonl; do sleep 60; done`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.File = args[0]
			if err := a.checkExport(&cfg); err != nil {
				return err
			}
			return a.runExport(cmd.Context(), cfg)
		},
	})
	flags := cmd.Flags()
	flags.StringVar(&cfg.Format, "format", "", a.tr(
		"`format` of the file: csv, jsonl or sqlite; default: by its extension",
		"文件`格式`：csv、jsonl 或 sqlite，默认由扩展名决定"))
	flags.BoolVar(&cfg.Excel, "excel", false, a.tr(
		"CSV for Excel: with a byte order mark, and with a ' before text that looks like a formula",
		"适用于 Excel 的 CSV：带 BOM，并在形似公式的文本前加 '"))
	flags.IntVar(&cfg.Concurrency, "concurrency", 4, a.tr("`number` of calls at a time", "并发调用`数`"))
	flags.BoolVar(&cfg.Force, "force", false, a.tr(
		"replace a complete file, or discard the incomplete file of another export",
		"覆盖已完成的文件，或丢弃另一次导出未完成的文件"))
	return cmd
}

// checkExport checks the arguments and sets the format.
func (a *app) checkExport(cfg *export.Config) error {
	asked := cfg.Format
	cfg.Format = cmp.Or(asked, export.FormatOf(cfg.File))
	switch {
	case cfg.File == "-":
		return usageError(a.tr("an export needs a file, to resume; for stdout: ", "导出必须写入文件，以便中断后继续；如需写到标准输出，请使用：") +
			"wechatuser fans | wechatuser user -f - --json")
	case cfg.Format == "":
		return usageError(fmt.Sprintf(a.tr("%s: unknown extension: use .csv, .jsonl or .db, or set --format",
			"%s：未知的扩展名：请使用 .csv、.jsonl 或 .db，或设置 --format"), cfg.File))
	case !slices.Contains(export.Formats, cfg.Format):
		return usageError(fmt.Sprintf(a.tr("--format %s: must be csv, jsonl or sqlite",
			"--format %s：必须是 csv、jsonl 或 sqlite"), asked))
	case cfg.Excel && cfg.Format != "csv":
		return usageError(a.tr("--excel requires the format csv", "--excel 只能用于 csv 格式"))
	case cfg.Concurrency < 1:
		return usageError(a.tr("--concurrency must be at least 1", "--concurrency 不能小于 1"))
	}
	return nil
}

// exportJSON is the result of an export.
type exportJSON struct {
	File     string `json:"file"`
	Format   string `json:"format"`
	Complete bool   `json:"complete"`
	Existing bool   `json:"existing"` // the file was complete before, and its followers were not counted
	Rows     int    `json:"followers"`
	Rejected int    `json:"rejected"`
	Resumed  int    `json:"resumed"` // of the followers, those that were in the file at the start
	Calls    int64  `json:"calls"`
}

// runExport runs an export and prints its result.
func (a *app) runExport(ctx context.Context, cfg export.Config) error {
	calls, count := countCalls()
	c, err := a.client(ctx, count)
	if err != nil {
		return err
	}
	var bar *progress
	cfg.Stop = a.interrupted
	cfg.Resumed = func(rows int, part string) {
		fmt.Fprintf(a.err, a.tr("Resuming after the %d followers in %s.\n", "%[2]s 中已有 %[1]d 个用户，从其后继续。\n"),
			rows, part)
	}
	cfg.Progress = func(done, total int) {
		if bar == nil {
			bar = a.newProgress(a.tr("Followers", "用户"), total)
		}
		bar.set(done)
	}
	start := time.Now()
	result, err := export.Run(ctx, c, cfg)
	if bar != nil {
		bar.finish()
	}
	stopped := (*export.StoppedError)(nil)
	if err != nil && !errors.As(err, &stopped) {
		return a.exportError(err)
	}
	interrupted := errors.Is(err, export.ErrStop) || ctx.Err() != nil
	if stopped != nil && stopped.Rows == 0 && !interrupted {
		return stopped.Err
	}
	err = nil
	if stopped != nil {
		reason := a.tr("interrupted", "已中断")
		if !interrupted {
			reason = a.explain(stopped.Err)
		}
		err = &exitError{exitStopped, fmt.Errorf(a.tr(
			"stopped with %s in %s: %s\nTo go on, run it again with the same arguments.",
			"已停止，%[2]s 中已有 %[1]s：%[3]s\n如需继续，请以相同的参数重新执行。"),
			a.count(stopped.Rows, "follower", "followers", "个用户"), stopped.Part, reason)}
	}
	switch {
	case a.json:
		return errors.Join(a.printJSON(exportJSON{
			cfg.File, cfg.Format, err == nil, result.Complete, result.Rows, result.Rejected, result.Resumed, calls.Load(),
		}), err)
	case err != nil:
	case result.Complete:
		fmt.Fprintf(a.out, a.tr("%s is already complete. To export again, use --force.\n",
			"%s 已经完成。如需重新导出，请使用 --force。\n"), cfg.File)
	default:
		fmt.Fprintf(a.out, a.tr("%s in %s, %d of them rejected. API calls: %d, time: %v\n",
			"已导出 %s到 %s，其中 %d 个被拒绝。接口调用 %d 次，用时 %v。\n"),
			a.count(result.Rows, "follower", "followers", "个用户"), cfg.File, result.Rejected, calls.Load(),
			time.Since(start).Round(time.Millisecond))
		fmt.Fprintln(a.err, a.howToOpen(cfg))
	}
	return err
}

// exportError returns the error of an export that has not started, in the language of the user.
func (a *app) exportError(err error) error {
	other, unreadable := (*export.OtherError)(nil), (*export.UnreadableError)(nil)
	switch {
	case errors.As(err, &other):
		return usageError(fmt.Sprintf(a.tr(
			"%s belongs to another export, %s, not to %s: complete that one, or discard it with --force",
			"%s 属于另一次导出 %s，而不是 %s：请先完成那次导出，或使用 --force 丢弃"), other.Part, other.Have, other.Want))
	case errors.As(err, &unreadable):
		return fmt.Errorf(a.tr("cannot resume %s, remove it to start over: %w", "无法从 %s 继续，删除该文件后可重新开始：%w"),
			unreadable.Part, unreadable.Err)
	case errors.Is(err, export.ErrRunning):
		return errors.New(a.tr("another export to this file is running", "另一个导出正在写入该文件"))
	}
	return err
}

func (a *app) howToOpen(cfg export.Config) string {
	switch {
	case cfg.Format == "sqlite":
		return fmt.Sprintf(a.tr("To open it: %s", "查看：%s"),
			fmt.Sprintf(`sqlite3 %q "SELECT tags, count(*) FROM followers GROUP BY tags"`, cfg.File))
	case cfg.Format == "jsonl":
		return fmt.Sprintf(a.tr("To open it: %s", "查看：%s"), fmt.Sprintf("head -n 3 %q", cfg.File))
	case cfg.Excel:
		return a.tr("Open it in Excel.", "可用 Excel 打开。")
	default:
		return a.tr("Open it in a spreadsheet program. For Excel, export with --excel.",
			"可用电子表格软件打开。如使用 Excel，请加 --excel 导出。")
	}
}

// countCalls returns a counter of API calls, and the option that counts them.
func countCalls() (*atomic.Int64, wechatuser.Option) {
	calls := new(atomic.Int64)
	return calls, wechatuser.WithInterceptor(func(
		ctx context.Context, call wechatuser.Call, next func(context.Context) (wechatuser.Result, error),
	) (wechatuser.Result, error) {
		res, err := next(ctx)
		if call.Path != "/cgi-bin/stable_token" {
			calls.Add(int64(res.Attempts))
		}
		return res, err
	})
}
