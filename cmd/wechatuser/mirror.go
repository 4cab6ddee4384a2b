package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/cmd/wechatuser/internal/database"
	"github.com/wechatuser/wechatuser/mirror"
)

// mirrorConfig is what the flags of "mirror" say.
type mirrorConfig struct {
	db, prefix     string
	reconcile      bool
	profiles       time.Duration // negative unless it is set
	noProfiles     bool
	keepDepartures bool
	force          bool
	concurrency    int

	listen, path string
	every        time.Duration
	plain        bool
}

const (
	defaultMirrorDB = "followers.db"
	mirrorPatience  = 10 * time.Minute // how long a walk waits for the end of an outage
	fansPage        = 10_000           // openids of a page of the list of followers
)

func (a *app) mirrorCommand() *cobra.Command {
	var cfg mirrorConfig
	cmd := a.command(&cobra.Command{
		Use:   "mirror",
		Short: a.tr("Keep a table of the followers in a database", "在数据库中维护与公众号一致的用户表"),
		Long: a.tr(`Keep a table of the account's followers in a database: SQLite, PostgreSQL, MySQL or MariaDB. Nothing is
changed in the account. The first run reads everybody, later ones who is new and who has left. It can be stopped or
killed at any moment: within a day, the next run resumes. What is kept of somebody who has left is deleted.
docs/mirror.md describes the table.

With --listen it receives the account's pushes and goes on until Ctrl-C, so that the table follows at once: it reads
all followers at the start, and compares the list again every day for the pushes that were lost. In the console, set
the URL http://…/wechat, and the Token and EncodingAESKey that are in WECHAT_PUSH_TOKEN and WECHAT_PUSH_AES_KEY, or
push_token and push_aes_key of an account in the config file. While a key is changed, the one before is in
WECHAT_PUSH_PREVIOUS_AES_KEY or push_previous_aes_key. A proxy in front has to speak HTTPS. With --sandbox, an account
in memory pushes to it, of which users come and go.

--db is a file of SQLite, or a URL or DSN. One with a password belongs into WECHATUSER_DB, so that no list of processes
shows it; --sandbox does not read that:

  postgres://crm@db.example/crm         PGPASSWORD and ~/.pgpass work too
  mysql://crm@db.example/crm?tls=true   MySQL and MariaDB`,
			`在数据库（SQLite、PostgreSQL、MySQL 或 MariaDB）中维护与公众号一致的用户表，不修改账号中的任何数据。首次运行读取全部用户，
之后只处理新增和取消关注的用户。可以随时中断，进程被强制结束也不受影响：一天之内重新执行即可继续。用户取消关注后，
所保存的该用户的数据会被删除。表结构见 docs/mirror.zh-CN.md。

加上 --listen 可接收公众号的事件推送，持续运行直到按下 Ctrl-C，用户表随推送即时更新：启动时读取全部用户，之后每天核对一次列表，
弥补丢失的推送。在微信开发者平台填写 URL（http://…/wechat）、Token 和 EncodingAESKey；后两项与 WECHAT_PUSH_TOKEN、
WECHAT_PUSH_AES_KEY 一致，或与配置文件中账号的 push_token、push_aes_key 一致。更换密钥期间，旧密钥写在
WECHAT_PUSH_PREVIOUS_AES_KEY 或 push_previous_aes_key 中。HTTPS 由前置的代理提供。加上 --sandbox 时，
由内存模拟公众号推送，其用户会不断关注和取消关注。

--db 为 SQLite 文件，或 URL、DSN。含密码时请写入 WECHATUSER_DB，以免出现在进程列表中（--sandbox 不读取该变量）：

  postgres://crm@db.example/crm         也可使用 PGPASSWORD 和 ~/.pgpass
  mysql://crm@db.example/crm?tls=true   MySQL 和 MariaDB`),
		Example: a.tr(`  wechatuser mirror --db followers.db
  wechatuser mirror --reconcile                       # openids only: who is new, who has left
  wechatuser mirror --profiles 168h                   # also read profiles again that are older than a week
  wechatuser mirror --db postgres://crm@localhost/crm --listen :8080
  wechatuser --sandbox mirror --listen 127.0.0.1:0    # try it without WeChat`,
			`  wechatuser mirror --db followers.db
  wechatuser mirror --reconcile                       # 只核对 openid：谁是新增，谁已取消关注
  wechatuser mirror --profiles 168h                   # 同时重新读取一周之前读取的用户信息
  wechatuser mirror --db postgres://crm@localhost/crm --listen :8080
  wechatuser --sandbox mirror --listen 127.0.0.1:0    # 不访问微信，先试用`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.checkMirror(cmd, &cfg); err != nil {
				return err
			}
			return a.runMirror(cmd.Context(), cfg)
		},
	})
	flags := cmd.Flags()
	flags.StringVar(&cfg.db, "db", "", a.tr(
		"`database`: a file, URL or DSN; default: WECHATUSER_DB, or "+defaultMirrorDB,
		"`数据库`：文件、URL 或 DSN，默认取自 WECHATUSER_DB，或为 "+defaultMirrorDB))
	flags.StringVar(&cfg.prefix, "prefix", "wechat_", a.tr("`text` before the names of tables; each account needs its own",
		"表名`前缀`；每个账号须使用各自的前缀"))
	flags.BoolVar(&cfg.reconcile, "reconcile", false, a.tr("read openids only, one call for each 10,000",
		"只读取 openid，每 1 万个用户一次调用"))
	flags.DurationVar(&cfg.profiles, "profiles", -1, a.tr(
		"also read profiles again that are older than this `age`, such as 168h",
		"同时重新读取超过此`时长`的用户信息，例如 168h"))
	flags.Lookup("profiles").DefValue = "0s" // which is not shown: they are not read again
	flags.BoolVar(&cfg.noProfiles, "no-profiles", false, a.tr("keep openids and times only", "只保存 openid 和时间"))
	flags.BoolVar(&cfg.keepDepartures, "keep-departures", false, a.tr(
		"keep a row of those who have left, without openid, for longer than two days",
		"取消关注的用户保留一行（不含 openid），不在两天后删除"))
	flags.BoolVar(&cfg.force, "force", false, a.tr("allow removing more than half of the followers in the table",
		"允许从表中移除超过一半的用户"))
	flags.IntVar(&cfg.concurrency, "concurrency", 4, a.tr("`number` of calls at a time", "并发调用`数`"))
	flags.StringVar(&cfg.listen, "listen", "", a.tr("receive pushes on this `address`, such as :8080",
		"在此`地址`接收事件推送，例如 :8080"))
	flags.StringVar(&cfg.path, "path", "/wechat", a.tr("`path` of the URL of pushes", "接收推送的 URL `路径`"))
	flags.DurationVar(&cfg.every, "every", 24*time.Hour, a.tr("`time` between two comparisons with the list of followers",
		"与用户列表核对的`间隔`"))
	flags.BoolVar(&cfg.plain, "plain", false, a.tr("accept pushes that are not encrypted, which can be forged",
		"接受未加密的推送（明文模式）；此类推送可被伪造"))
	return cmd
}

// checkMirror checks the flags, and sets the database.
func (a *app) checkMirror(cmd *cobra.Command, cfg *mirrorConfig) error {
	listens := cfg.listen != ""
	for _, name := range []string{"path", "every", "plain"} {
		if cmd.Flags().Changed(name) && !listens {
			return usageError(fmt.Sprintf(a.tr("--%s requires --listen", "--%s 须与 --listen 一起使用"), name))
		}
	}
	switch {
	case cmd.Flags().Changed("profiles") && cfg.profiles < 0:
		return usageError(a.tr("--profiles must not be negative", "--profiles 不能为负数"))
	case cfg.reconcile && listens:
		return usageError(a.tr("--reconcile and --listen do not go together: with --listen, it happens every day",
			"--reconcile 不能与 --listen 一起使用：--listen 每天会自动核对"))
	case cfg.profiles >= 0 && (cfg.reconcile || cfg.noProfiles):
		return usageError(a.tr("--profiles goes with neither --reconcile nor --no-profiles",
			"--profiles 不能与 --reconcile 或 --no-profiles 一起使用"))
	case cfg.concurrency < 1:
		return usageError(a.tr("--concurrency must be at least 1", "--concurrency 不能小于 1"))
	case listens:
		if err := a.checkListen(*cfg); err != nil {
			return err
		}
	}
	if cfg.db == "" && !a.settings.sandbox { // an account in memory must not fill a database that was not named
		cfg.db = a.env("WECHATUSER_DB")
	} else if d, err := database.Parse(cfg.db); err == nil && d.HasPassword {
		return usageError(a.tr("--db must not have a password, which the list of processes would show: use WECHATUSER_DB",
			"--db 不能含密码，否则会出现在进程列表中：请使用 WECHATUSER_DB"))
	}
	cfg.db = cmp.Or(cfg.db, defaultMirrorDB)
	return nil
}

// followerTable is the table that a run keeps true.
type followerTable struct {
	*database.Database
	db     *sql.DB
	store  *mirror.SQLStore
	mirror *mirror.Mirror
	cfg    mirrorConfig
}

// openMirror opens the database and its tables.
func (a *app) openMirror(ctx context.Context, c *wechatuser.Client, cfg mirrorConfig) (_ *followerTable, err error) {
	t := &followerTable{cfg: cfg}
	if t.Database, err = database.Parse(cfg.db); err != nil {
		return nil, usageError(a.tr("the database must be a file, or a URL or DSN of PostgreSQL or MySQL",
			"数据库须为文件，或 PostgreSQL、MySQL 的 URL 或 DSN"))
	}
	failed := func(err error) error {
		if a.isInterrupted() {
			return errInterrupted
		}
		return fmt.Errorf(a.tr("the database %s: %w", "数据库 %s：%w"), visible(t.Name), err)
	}
	if t.db, err = t.Open(ctx); err != nil {
		return nil, failed(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.db.Close())
		}
	}()
	if t.store, err = mirror.NewSQLStore(t.db, t.Dialect, mirror.WithTablePrefix(cfg.prefix)); err != nil {
		return nil, usageError(a.tr("--prefix must have up to 40 of a-z, 0-9 and _, and no digit first",
			"--prefix 最多 40 个字符，只能包含 a-z、0-9 和 _，且不能以数字开头"))
	}
	opts := []mirror.Option{mirror.WithPatience(mirrorPatience), mirror.WithConcurrency(cfg.concurrency)}
	if cfg.noProfiles {
		opts = append(opts, mirror.WithoutProfiles())
	}
	if cfg.keepDepartures {
		opts = append(opts, mirror.WithDepartures())
	}
	if t.mirror, err = mirror.New(c, t.store, opts...); err != nil {
		return nil, err
	}
	if err := t.store.Open(ctx, c.AppID()); err != nil {
		return nil, failed(err)
	}
	return t, nil
}

// runMirror runs the command, and prints its result.
func (a *app) runMirror(ctx context.Context, cfg mirrorConfig) (err error) {
	ctx, stop := a.interruptible(ctx)
	defer stop()
	var service *pushService
	if cfg.listen != "" {
		if service, err = a.newPushService(cfg); err != nil {
			return err
		}
	}
	c, err := a.client(ctx, service.options()...)
	if err != nil {
		return err
	}
	t, err := a.openMirror(ctx, c, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.db.Close()) }()
	plans, total, err := a.mirrorPlans(ctx, c, t)
	if err != nil {
		return a.beforeChange(err)
	}
	if err := a.showPlans(ctx, c, plans...); err != nil {
		return err
	}
	if service != nil {
		return a.serveMirror(ctx, c, t, service)
	}
	name, walk := walkFull, t.mirror.Full
	if cfg.reconcile {
		name, walk = walkReconcile, t.mirror.Reconcile
	}
	bar := a.newProgress(a.tr("Followers", "用户"), total)
	start := time.Now()
	progress := mirror.WithProgress(func(p mirror.Progress) { bar.set(p.Listed) })
	report, err := walk(ctx, append(t.walkOptions(), progress)...)
	bar.finish()
	return a.printWalk(ctx, t, name, report, time.Since(start), err)
}

// The kinds of a walk, as in mirror.Store.
const (
	walkFull      = "full"
	walkReconcile = "reconcile"
)

func (t *followerTable) walkOptions() (opts []mirror.WalkOption) {
	if t.cfg.profiles >= 0 {
		opts = append(opts, mirror.WithProfilesOlderThan(t.cfg.profiles))
	}
	if t.cfg.force {
		opts = append(opts, mirror.WithMassRemoval())
	}
	return opts
}

// mirrorPlans returns what a walk is about to do. How many have left is not known before.
func (a *app) mirrorPlans(
	ctx context.Context, c *wechatuser.Client, t *followerTable,
) (plans []plan, total int, err error) {
	const listPath, profiles = "/cgi-bin/user/get", "/cgi-bin/user/info/batchget"
	page, err := c.GetFans(ctx, "")
	if err != nil {
		return nil, 0, err
	}
	known, _, err := t.store.Count(ctx, 0)
	if err != nil {
		return nil, 0, err
	}
	name := walkFull
	if t.cfg.reconcile {
		name = walkReconcile
	}
	walk, err := t.store.LoadWalk(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	left := page.Total
	if time.Since(walk.Started).Abs() < 24*time.Hour { // it resumes there
		left = max(0, left-walk.Listed)
	}
	list := fmt.Sprintf(a.tr("The account has %s, and %s %d. Read the list.", "公众号有 %s，%s 中有 %d 个。读取用户列表。"),
		a.count(page.Total, "follower", "followers", "个用户"), visible(t.Name), known)
	pages := (left+fansPage-1)/fansPage + 2
	plans = append(plans, plan{list, listPath, callRange{pages, pages}})
	if t.cfg.reconcile || t.cfg.noProfiles {
		return plans, page.Total, nil
	}
	n, text := max(0, page.Total-known), a.tr("Read the profiles of %s.", "读取 %s的用户信息。")
	if t.cfg.profiles >= 0 {
		n, text = left, a.tr("Read the profiles of up to %s.", "读取最多 %s的用户信息。")
	}
	if n > 0 {
		text = fmt.Sprintf(text, a.count(n, "follower", "followers", "个用户"))
		plans = append(plans, plan{text, profiles, callsFor(n, wechatuser.MaxUserInfoBatch)})
	}
	return plans, page.Total, nil
}

// walkJSON is the report of a walk.
type walkJSON struct {
	Walk      string `json:"walk"`
	Database  string `json:"database"`
	Complete  bool   `json:"complete"`
	Followers int    `json:"followers"` // in the table
	Listed    int    `json:"listed"`
	Resumed   bool   `json:"resumed"`
	Added     int    `json:"added"`
	Profiles  int    `json:"profiles"`
	Failed    int    `json:"failed"`
	Removed   int    `json:"removed"`
	Kept      int    `json:"kept"`
	Calls     int    `json:"calls"`
	Error     string `json:"error,omitempty"`
}

// printWalk prints the report of a walk, and returns its error.
func (a *app) printWalk(
	ctx context.Context, t *followerTable, name string, r *mirror.Report, took time.Duration, err error,
) error {
	err = a.walkError(r, err)
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer stop()
	followers, _, countErr := t.store.Count(ctx, 0)
	if a.json {
		out := walkJSON{
			Walk: name, Database: t.Name, Complete: err == nil, Followers: followers, Listed: r.Listed, Resumed: r.Resumed,
			Added: r.Added, Profiles: r.Profiles, Failed: r.Failed, Removed: r.Removed, Kept: r.Kept, Calls: r.Calls,
		}
		if err != nil {
			out.Error = a.explain(err)
		}
		return errors.Join(a.printJSON(out), cmp.Or(err, countErr))
	}
	fmt.Fprintf(a.out, a.tr("%s in %s: %d added, %d removed, %s read. API calls: %d, time: %v\n",
		"%[2]s 中现有 %[1]s：新增 %[3]d 个，移除 %[4]d 个，读取 %[5]s。接口调用 %[6]d 次，用时 %[7]v。\n"),
		a.count(followers, "follower", "followers", "个用户"), visible(t.Name), r.Added, r.Removed,
		a.count(r.Profiles, "profile", "profiles", "条用户信息"), r.Calls, took.Round(time.Millisecond))
	if r.Failed > 0 {
		a.warn(fmt.Sprintf(a.tr("the platform did not return %s; the next run tries again",
			"有 %s未能从平台读取，下次运行时重试"), a.count(r.Failed, "profile", "profiles", "条用户信息")))
	}
	if r.Kept > 0 {
		a.warn(fmt.Sprintf(a.tr("%s kept who are not in the platform's list: their profiles say that they follow",
			"保留了不在用户列表中的 %s：其用户信息显示仍在关注"), a.count(r.Kept, "follower", "followers", "个用户")))
	}
	return cmp.Or(err, countErr)
}

// walkError returns the error of a walk with what to do.
func (a *app) walkError(r *mirror.Report, err error) error {
	if err == nil {
		return nil
	}
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "mirror: ") {
		err = inner
	}
	switch {
	case errors.Is(err, mirror.ErrSuspectList):
		return &hintError{err, a.tr("The list of followers broke off. Nobody was removed. Run it again later.",
			"用户列表不完整，没有移除任何用户。请稍后重新执行。")}
	case errors.Is(err, mirror.ErrMassRemoval):
		return &hintError{err, a.tr("More than half would be removed, so nobody was. If that is right, use --force.",
			"将移除超过一半的用户，因此没有移除任何用户。确认无误请加 --force。")}
	case a.isInterrupted() || r.Listed > 0:
		return &exitError{exitStopped, &hintError{err, a.tr("To go on, run it again: for a day, it resumes where it was.",
			"如需继续，请重新执行：一天之内会从中断处继续。")}}
	}
	return err
}
