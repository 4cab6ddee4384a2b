package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

var update = flag.Bool("update", false, "rewrite the golden outputs")

// program is the path of the built program.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "wechatuser")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "wechatuser")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s%v\n", out, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// invocation is a run of the program as a process.
type invocation struct {
	args  []string
	stdin string
	env   []string
	dir   string
}

// outcome is what a process printed, and its exit code.
type outcome struct {
	stdout, stderr string
	code           int
}

// command returns the process of an invocation: of the environment it has only what it needs.
func (in invocation) command(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, in.args...)
	cmd.Dir = in.dir
	if cmd.Dir == "" {
		cmd.Dir = t.TempDir()
	}
	cmd.Env = append([]string{"HOME=" + cmd.Dir, "XDG_CONFIG_HOME=" + cmd.Dir, "TZ=UTC", "PATH=" + os.Getenv("PATH")}, in.env...)
	cmd.Stdin = strings.NewReader(in.stdin)
	return cmd
}

func (in invocation) run(t *testing.T) outcome {
	t.Helper()
	cmd := in.command(t)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if failed := (*exec.ExitError)(nil); !errors.As(err, &failed) {
		require.NoError(t, err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// run runs the program.
func run(t *testing.T, args ...string) outcome {
	t.Helper()
	return invocation{args: args}.run(t)
}

// onServer runs the program on an account that a test serves.
func onServer(t *testing.T, srv *wechatusertest.Server, args ...string) outcome {
	t.Helper()
	return invocation{args: args, env: credentials(srv)}.run(t)
}

func credentials(srv *wechatusertest.Server) []string {
	return []string{"WECHAT_APPID=" + srv.AppID, "WECHAT_SECRET=" + srv.Secret, "WECHAT_BASE_URL=" + srv.URL}
}

func newServer(t *testing.T, opts ...wechatusertest.Option) *wechatusertest.Server {
	t.Helper()
	srv := wechatusertest.NewServer(opts...)
	t.Cleanup(srv.Close)
	return srv
}

// ids returns openids of the sandbox.
func ids(from, to int) (list []string) {
	for i := from; i < to; i++ {
		list = append(list, wechatusertest.OpenID(i))
	}
	return list
}

// What changes from run to run in an output.
var (
	moments = regexp.MustCompile(`(?:"subscribe_time":\d+)|20\d\d-\d\d-\d\d \d\d:\d\d:\d\d( [+-]\d{4})?`)
	tooks   = regexp.MustCompile(`(time: |用时 )[^。\n]+`)
	ports   = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	skews   = regexp.MustCompile(`(ahead of|behind) WeChat's|(比微信)[快慢]`)
	seconds = regexp.MustCompile(`\b[01]s\b`)
	rids    = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}`)
)

// normalized returns an output without what changes from run to run.
func normalized(text string) string {
	text = rids.ReplaceAllString(moments.ReplaceAllString(text, "<time>"), "<rid>")
	text = tooks.ReplaceAllString(ports.ReplaceAllString(text, "127.0.0.1:<port>"), "${1}<time>")
	if m := skews.FindString(text); m != "" {
		text = strings.Replace(seconds.ReplaceAllString(text, "<skew>"), m, "<off>", 1)
	}
	return text
}

// TestOutputs compares each command's output on the sandbox with testdata, in both languages. Run it with -update to
// accept a change.
func TestOutputs(t *testing.T) {
	members := strings.Join(ids(4, 12), "\n")
	stranger := wechatusertest.ForeignOpenID(1)
	for name, in := range map[string]invocation{
		"help":              {args: []string{"--help"}},
		"help-tags-add":     {args: []string{"tags", "add", "--help"}},
		"fans":              {args: []string{"fans", "--limit", "2"}},
		"fans-count":        {args: []string{"fans", "--count"}},
		"fans-tag":          {args: []string{"fans", "--tag", "vip", "--after", wechatusertest.OpenID(7)}},
		"fans-no-tag":       {args: []string{"fans", "--tag", "nope"}},
		"user":              {args: []string{"user", wechatusertest.OpenID(0), stranger}},
		"user-remark":       {args: []string{"user", "remark", wechatusertest.OpenID(0), "Room 7"}},
		"tags":              {args: []string{"tags"}},
		"tags-create":       {args: []string{"tags", "create", "gold"}},
		"tags-rename":       {args: []string{"tags", "rename", "vip", "gold"}},
		"tags-delete":       {args: []string{"tags", "delete", "vip"}},
		"tags-add":          {args: []string{"tags", "add", "gold", "-f", "-"}, stdin: members},
		"tags-add-rejected": {args: append([]string{"tags", "add", "gold", stranger}, ids(0, 3)...)},
		"tags-add-bad-line": {args: []string{"tags", "add", "gold", "-f", "-"}, stdin: members + "\n13800000000\n"},
		"tags-remove":       {args: []string{"tags", "remove", "vip", wechatusertest.OpenID(1)}},
		"blacklist":         {args: []string{"blacklist", "--count"}},
		"blacklist-add":     {args: append([]string{"blacklist", "add"}, ids(0, 21)...)},
		"blacklist-remove":  {args: []string{"blacklist", "remove", wechatusertest.OpenID(1)}},
		"sync":              {args: []string{"sync", "vip", "-"}, stdin: members},
		"sync-dry-run":      {args: []string{"sync", "vip", "-", "--dry-run"}, stdin: members},
		"sync-half":         {args: []string{"sync", "vip", "-"}, stdin: wechatusertest.OpenID(5)},
		"sync-keep":         {args: []string{"sync", "vip", "-", "--keep"}, stdin: wechatusertest.OpenID(50)},
		"sync-new-tag":      {args: []string{"sync", "gold", "-"}, stdin: members},
		"sync-blacklist":    {args: []string{"sync", "blacklist", "-"}, stdin: members},
		"campaign":          {args: []string{"campaign", "vip", "--days", "1"}},
		"campaign-dry-run":  {args: []string{"--sandbox-fans", "12", "campaign", "vip", "--dry-run"}},
		"campaign-nobody":   {args: []string{"campaign", "vip", "--scene", "NO_SUCH_SCENE"}},
		"quota":             {args: []string{"quota", "/cgi-bin/user/get", "/cgi-bin/nope"}},
		"rid":               {args: []string{"rid", "61725984-6126f6f9-040f19c4"}},
		"call":              {args: []string{"call", "/cgi-bin/user/info", "-q", "openid=" + wechatusertest.OpenID(0)}},
		"call-bad-data":     {args: []string{"call", "/cgi-bin/tags/create", "-d", "{"}},
		"call-bad-path":     {args: []string{"call", "https://example.com/"}},
		"tags-add-id":       {args: []string{"tags", "add", "100", wechatusertest.OpenID(20)}},
		"tags-add-no-id":    {args: []string{"tags", "add", "9999", wechatusertest.OpenID(20)}},
		"tags-add-long":     {args: []string{"tags", "add", "a name of more than thirty bytes", wechatusertest.OpenID(20)}},
		"user-remark-long":  {args: []string{"user", "remark", wechatusertest.OpenID(0), "太长太长太长太长太长太长"}},
		"export":            {args: []string{"export", "followers.csv"}},
		"export-excel-json": {args: []string{"export", "followers.csv", "--excel", "--json"}},
		"mirror":            {args: []string{"mirror"}},
		"mirror-json":       {args: []string{"mirror", "--reconcile", "--json"}},
		"mirror-no-listen":  {args: []string{"mirror", "--plain"}},
		"help-mirror":       {args: []string{"mirror", "--help"}},
		"doctor":            {args: []string{"doctor"}},
		"config":            {args: []string{"--config", "none.toml", "config"}},
		"no-file":           {args: []string{"sync", "vip", "none.txt"}},
		"no-openids":        {args: []string{"tags", "add", "gold"}},
		"unknown-command":   {args: []string{"nope"}},
		"unknown-flag":      {args: []string{"fans", "--nope"}},
	} {
		for _, lang := range []string{"en", "zh"} {
			t.Run(name+"/"+lang, func(t *testing.T) {
				t.Parallel()
				in := in
				in.args = append([]string{"--sandbox", "--lang", lang}, in.args...)
				got := in.run(t)
				text := fmt.Sprintf("exit code %d\n--- stdout\n%s--- stderr\n%s", got.code, got.stdout, got.stderr)
				text = normalized(text)
				file := filepath.Join("testdata", name+"."+lang+".txt")
				if *update {
					require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
				}
				want, err := os.ReadFile(file)
				require.NoError(t, err)
				assert.Equal(t, string(want), text)
			})
		}
	}
}

// Everything that prints data prints JSON with --json, and nothing else on stdout.
func TestJSON(t *testing.T) {
	covered := map[string]bool{ // by tests of their own
		"wechatuser sandbox": true, "wechatuser token serve": true, "wechatuser rid": true,
		"wechatuser": true, "wechatuser token": true, // print help
	}
	defer func() {
		for _, cmd := range allCommands(testApp(t, nil).rootCommand()) {
			assert.True(t, covered[cmd.CommandPath()] || !cmd.Runnable(), "%s --json is not tried", cmd.CommandPath())
		}
	}()
	members := strings.Join(ids(4, 12), "\n")
	for _, in := range []invocation{
		{args: []string{"fans", "--limit", "2"}},
		{args: []string{"fans", "--count"}},
		{args: []string{"user", wechatusertest.OpenID(0)}},
		{args: []string{"tags"}},
		{args: []string{"tags", "create", "gold"}},
		{args: []string{"tags", "add", "gold", "-f", "-"}, stdin: members},
		{args: []string{"tags", "remove", "vip", wechatusertest.OpenID(1), wechatusertest.ForeignOpenID(1)}},
		{args: []string{"blacklist", "--count"}},
		{args: []string{"blacklist", "add", wechatusertest.OpenID(1)}},
		{args: []string{"sync", "vip", "-", "--dry-run"}, stdin: members},
		{args: []string{"sync", "vip", "-"}, stdin: members},
		{args: []string{"campaign", "vip", "--dry-run"}},
		{args: []string{"campaign", "gold"}},
		{args: []string{"quota"}},
		{args: []string{"call", "/cgi-bin/tags/get"}},
		{args: []string{"config"}},
		{args: []string{"tags", "rename", "vip", "gold"}},
		{args: []string{"tags", "delete", "vip"}},
		{args: []string{"user", "remark", wechatusertest.OpenID(0), "Room 7"}},
		{args: []string{"blacklist", "remove", wechatusertest.OpenID(1)}},
		{args: []string{"--sandbox-fans", "10", "campaign", "vip"}},                                         // nothing to do
		{args: []string{"--sandbox-fans", "10", "sync", "vip", "-"}, stdin: strings.Join(ids(0, 10), "\n")}, // nothing to do
		{args: []string{"doctor"}},
		{args: []string{"export", "followers.csv"}},
		{args: []string{"mirror"}},
	} {
		covered[commandOf(t, in.args)] = true
		t.Run(strings.Join(in.args, " "), func(t *testing.T) {
			t.Parallel()
			in.args = append([]string{"--sandbox", "--json"}, in.args...)
			got := in.run(t)
			assert.Contains(t, []int{exitOK, exitRejected}, got.code, got.stderr)
			dec := json.NewDecoder(strings.NewReader(got.stdout))
			values := 0
			for ; ; values++ {
				var v any
				err := dec.Decode(&v)
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err, got.stdout)
			}
			assert.NotZero(t, values)
		})
	}
}

// commandOf returns the path of the command that arguments name.
func commandOf(t *testing.T, args []string) string {
	t.Helper()
	cmd, _, err := testApp(t, nil).rootCommand().Find(args)
	require.NoError(t, err)
	return cmd.CommandPath()
}

// allCommands returns a command and all below it, without those of cobra.
func allCommands(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if sub.Name() != "help" && sub.Name() != "completion" {
			list = append(list, allCommands(sub)...)
		}
	}
	return list
}

func TestHelpHasExamples(t *testing.T) {
	for _, chinese := range []bool{false, true} {
		a := testApp(t, nil)
		a.chinese = chinese
		for _, cmd := range allCommands(a.rootCommand()) {
			assert.NotEmpty(t, cmd.Example, cmd.CommandPath())
			assert.Equal(t, chinese, regexp.MustCompile(`\p{Han}`).MatchString(cmd.Short), cmd.CommandPath())
		}
	}
}

// A rid of a failed call is explained, as text and as JSON.
func TestRID(t *testing.T) {
	srv := newServer(t, wechatusertest.WithFans(3))
	failed := onServer(t, srv, "user", wechatusertest.ForeignOpenID(1))
	require.Equal(t, exitRejected, failed.code)
	rid := rids.FindString(failed.stderr)
	got := onServer(t, srv, "rid", rid)
	assert.Zero(t, got.code, got.stderr)
	assert.Contains(t, got.stdout, "40003")

	got = onServer(t, srv, "rid", rid, "--json")
	var info map[string]any
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &info))
	assert.Contains(t, info["response_body"], "40003")
}

// Each exit code that is documented occurs as documented.
func TestExitCodes(t *testing.T) {
	srv := newServer(t, wechatusertest.WithFans(200), wechatusertest.WithQuota("/cgi-bin/tags/members/batchuntagging", 2, 0))
	srv.AddTag("vip", srv.OpenIDs()...)
	srv.Unfollow(wechatusertest.OpenID(199))
	all := strings.Join(srv.OpenIDs(), "\n")
	documented, err := os.ReadFile("testdata/cli.en.md")
	require.NoError(t, err)
	for code, in := range map[int]invocation{
		exitOK:       {args: []string{"tags"}},
		exitFailed:   {args: []string{"tags", "delete", "nope"}},
		exitUsage:    {args: []string{"tags", "nope"}},
		exitRejected: {args: []string{"tags", "add", "vip", wechatusertest.ForeignOpenID(0), wechatusertest.OpenID(0), "--yes"}},
		exitStopped:  {args: []string{"tags", "remove", "vip", "-f", "-", "--yes", "--over-quota"}, stdin: all},
		exitDeclined: {args: []string{"tags", "delete", "vip"}},
	} {
		in.env = credentials(srv)
		got := in.run(t)
		assert.Equal(t, code, got.code, "%v %s", in.args, got.stderr)
		assert.Contains(t, string(documented), fmt.Sprintf("\n| %d | ", code))
	}
	assert.NotContains(t, string(documented), "| 6 |")
}

// The tool works on a served account as on the sandbox, and changes it only after --yes where nobody can be asked.
func TestChangesAreConfirmed(t *testing.T) {
	srv := newServer(t, wechatusertest.WithFans(3))
	openIDs := srv.OpenIDs()
	for _, args := range [][]string{
		{"tags", "create", "gold"},
		append([]string{"tags", "add", "gold"}, openIDs...),
		{"blacklist", "add", openIDs[0]},
		{"user", "remark", openIDs[0], "Room 7"},
		{"campaign", "gold"},
	} {
		got := onServer(t, srv, args...)
		assert.Equal(t, exitDeclined, got.code, args)
		assert.Contains(t, got.stderr, "--yes")
		assert.Contains(t, got.stderr, "left today")
	}
	assert.Empty(t, srv.Tags())
	assert.Empty(t, srv.Blacklist())

	require.Zero(t, onServer(t, srv, "call", "/cgi-bin/tags/create", "-d", `{"tag":{"name":"silver"}}`).code, "asks nothing")
	require.Len(t, srv.Tags(), 1)
	require.Zero(t, onServer(t, srv, append([]string{"tags", "add", "gold", "--yes"}, openIDs...)...).code)
	assert.Equal(t, openIDs, srv.TagFans(srv.Tags()[1].ID))
}

// A plan that today's quota cannot hold is not begun, unless the user says so; then it stops where it can be resumed.
func TestQuotaIsTooSmall(t *testing.T) {
	srv := newServer(t, wechatusertest.WithFans(200), wechatusertest.WithQuota("/cgi-bin/tags/members/batchtagging", 2, 0))
	in := invocation{
		args: []string{"tags", "add", "gold", "-f", "-", "--yes"}, stdin: strings.Join(srv.OpenIDs(), "\n"), env: credentials(srv),
	}
	got := in.run(t)
	assert.Equal(t, exitDeclined, got.code)
	assert.Contains(t, got.stderr, "--over-quota")
	assert.Zero(t, srv.Calls("/cgi-bin/tags/members/batchtagging"))

	in.args = append(in.args, "--over-quota")
	got = in.run(t)
	assert.Equal(t, exitStopped, got.code)
	afterOf(t, got.stdout)
	assert.Len(t, srv.TagFans(srv.Tags()[0].ID), 100)
}

// Ctrl-C ends a job after what is in flight, and the run that goes on completes it.
func TestInterruptAndGoOn(t *testing.T) {
	const tagging = "/cgi-bin/tags/members/batchtagging"
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			calls := make(chan struct{}, 100)
			srv := newServer(t, wechatusertest.WithFans(2000), wechatusertest.WithRequestHook(func(r wechatusertest.Request) {
				if r.Path == tagging {
					calls <- struct{}{}
				}
			}))
			srv.Delay(tagging, 100*time.Millisecond) // 40 calls, four at a time
			in := invocation{
				args: []string{"tags", "add", "gold", "-f", "-", "--yes", "--json"}, stdin: strings.Join(srv.OpenIDs(), "\n"),
				env: credentials(srv),
			}
			cmd := in.command(t)
			var stdout bytes.Buffer
			cmd.Stdout = &stdout
			require.NoError(t, cmd.Start())
			for range 5 {
				<-calls
			}
			require.NoError(t, cmd.Process.Signal(sig))
			_ = cmd.Wait()
			require.Equal(t, exitStopped, cmd.ProcessState.ExitCode(), stdout.String())

			var report struct {
				Applied  int
				Rejected []any
				Stopped  bool
				After    string
			}
			require.NoError(t, json.Unmarshal(stdout.Bytes(), &report))
			assert.True(t, report.Stopped)
			assert.Empty(t, report.Rejected)
			tagged := srv.TagFans(100)
			assert.Len(t, tagged, report.Applied, "what was in flight is settled and counted")
			require.Less(t, report.Applied, 2000)
			require.NotEmpty(t, report.After)

			srv.ClearFaults()
			in.args = append(in.args, "--after", report.After)
			got := in.run(t)
			require.Zero(t, got.code, got.stderr)
			assert.Len(t, srv.TagFans(100), 2000)
		})
	}
}

// The app secret comes from the environment, a file or a command, is asked for again, and is printed nowhere.
func TestSecrets(t *testing.T) {
	const secret, wrong = "SENTINELsecretSENTINELsecretSENT", "SENTINELwrongSENTINELwrongSENTIN"
	srv := newServer(t, wechatusertest.WithAccount("wxfa4e000000000001", secret), wechatusertest.WithFans(3))
	dir := t.TempDir()
	config := filepath.Join(dir, "wechatuser", "config.toml")
	require.NoError(t, os.Mkdir(filepath.Dir(config), 0o700))
	secretFile := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secretFile, []byte(secret+"\n"), 0o600))
	account := func(name, setting string) string {
		return fmt.Sprintf("[accounts.%s]\nappid = %q\nbase_url = %q\n%s\n", name, srv.AppID, srv.URL, setting)
	}
	require.NoError(t, os.WriteFile(config, []byte("default = \"file\"\n"+
		account("file", fmt.Sprintf("secret_file = %q", secretFile))+
		account("command", fmt.Sprintf(`secret_command = ["cat", %q]`, secretFile))+
		account("failing", `secret_command = ["sh", "-c", "echo `+wrong+`; echo `+wrong+` >&2; exit 3"]`)+
		account("wrong", fmt.Sprintf("secret = %q", wrong))+
		account("plain", fmt.Sprintf("secret = %q", secret))+
		account("two", fmt.Sprintf("secret = %q\nsecret_file = %q", secret, secretFile))+
		account("none", "")), 0o644))
	for name, want := range map[string]int{
		"": exitOK, "file": exitOK, "command": exitOK, "plain": exitOK, "wrong": exitFailed, "failing": exitUsage,
		"two": exitUsage, "none": exitUsage, "nope": exitUsage,
	} {
		for _, args := range [][]string{{"fans", "--count"}, {"config"}, {"fans", "--count", "--json"}} {
			in := invocation{args: append([]string{"--account", name}, args...), dir: dir}
			if name == "" {
				in.args = in.args[2:]
			}
			got := in.run(t)
			if args[0] == "fans" {
				assert.Equal(t, want, got.code, "%s: %s", name, got.stderr)
			}
			assert.NotContains(t, got.stdout+got.stderr, secret[:8], name)
			assert.Contains(t, got.stderr, "chmod 600", "others can read it")
		}
	}
	require.NoError(t, os.WriteFile(config, []byte("[accounts.x]\nsecret = \""+secret+"\n"), 0o600))
	got := invocation{args: []string{"config"}, dir: dir}.run(t)
	assert.Equal(t, exitUsage, got.code)
	assert.Contains(t, got.stderr, "line 2")
	assert.NotContains(t, got.stdout+got.stderr, secret[:8])
}

// Without a config file, config names the place for one, and says that nothing is there.
func TestConfigWithoutAccounts(t *testing.T) {
	got := invocation{args: []string{"config"}, dir: t.TempDir()}.run(t)
	assert.Equal(t, exitOK, got.code)
	assert.Contains(t, got.stdout, "config.toml")
	assert.Contains(t, got.stderr, "--help")
}

func TestWithoutAnAccount(t *testing.T) {
	got := run(t, "fans")
	assert.Equal(t, exitUsage, got.code)
	assert.Contains(t, got.stderr, "WECHAT_APPID")
	assert.Contains(t, got.stderr, "--sandbox")

	got = invocation{args: []string{"fans"}, env: []string{"WECHAT_SECRET=x", "LANG=zh_CN.UTF-8"}}.run(t)
	assert.Equal(t, exitUsage, got.code)
	assert.Contains(t, got.stderr, "没有设置 WECHAT_APPID", "the locale chooses the language")
}

// The sandbox is kept from one command to the next in a state file.
func TestSandboxState(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state.json")
	sandbox := []string{"--sandbox", "--sandbox-state", state, "--yes"}
	require.Zero(t, run(t, append(sandbox, append([]string{"tags", "add", "gold"}, ids(0, 3)...)...)...).code)
	got := run(t, append(sandbox, "fans", "--tag", "gold")...)
	assert.Equal(t, strings.Join(ids(0, 3), "\n")+"\n", got.stdout)

	got = run(t, "--sandbox", "--sandbox-state", filepath.Join(t.TempDir(), "no", "such", "folder", "x.json"), "tags")
	assert.Equal(t, exitUsage, got.code, "reported before the work")
	require.NoError(t, os.WriteFile(state, []byte("{"), 0o600))
	assert.Equal(t, exitUsage, run(t, append(sandbox, "tags")...).code)
}

func TestVersion(t *testing.T) {
	assert.Equal(t, "wechatuser v"+wechatuser.Version+"\n", run(t, "--version").stdout)
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := run(t, "completion", shell)
		assert.Zero(t, got.code)
		assert.Contains(t, got.stdout, "wechatuser")
	}
}
