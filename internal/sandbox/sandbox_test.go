package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testAppID  = "wxSANDBOX"
	testSecret = "SENTINEL0SECRET0SENTINEL0SECRET0"
)

// parse parses the flags of a sandbox, in English.
func parse(args ...string) (*Config, error) {
	flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	config := Flags(flags, false)
	return config, flags.Parse(args)
}

// runArgs parses the flags and runs the sandbox.
func runArgs(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	config, err := parse(args...)
	if err != nil {
		return err
	}
	return Run(ctx, config, stdout, stderr)
}

// running is a sandbox that is serving.
type running struct {
	base   string
	stderr *seq.Buffer
	stop   func() (stdout string, err error) // like SIGTERM
}

// start runs the sandbox on a free port.
func start(t *testing.T, args ...string) running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	stderr := &seq.Buffer{}
	var err error
	go func() {
		args = append([]string{"-addr", "127.0.0.1:0", "-appid", testAppID, "-secret", testSecret}, args...)
		err = runArgs(ctx, args, w, stderr)
		_ = w.Close()
	}()
	stdout := bufio.NewReader(r)
	base, readErr := stdout.ReadString('\n')
	require.NoError(t, readErr, "the first line is the base URL")
	rest := make(chan string)
	go func() {
		text, _ := io.ReadAll(stdout)
		rest <- string(text)
	}()
	stop := sync.OnceValues(func() (string, error) {
		cancel()
		return <-rest, err
	})
	t.Cleanup(func() {
		_, err := stop()
		assert.NoError(t, err, "it stops without an error")
	})
	return running{base: strings.TrimSpace(base), stderr: stderr, stop: stop}
}

func (r running) client(t *testing.T) *wechatuser.Client {
	t.Helper()
	c, err := wechatuser.New(testAppID, testSecret, wechatuser.WithBaseURL(r.base),
		wechatuser.WithTransport(&http.Transport{DisableKeepAlives: true}))
	require.NoError(t, err)
	return c
}

func (r running) get(t *testing.T, path string) (body, contentType string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base+path, nil)
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(data), resp.Header.Get("Content-Type")
}

// Requests without an SDK, such as those of curl.
func TestPlainRequests(t *testing.T) {
	sb := start(t, "-fans", "3")

	body, contentType := sb.get(t, "/cgi-bin/token?grant_type=client_credential&appid="+testAppID+"&secret="+testSecret)
	assert.Equal(t, "application/json; encoding=utf-8", contentType)
	assert.Regexp(t, `^\{"access_token":"[\w-]{100,}","expires_in":7200\}$`, body)
	token := strings.Split(body, `"`)[3]

	body, _ = sb.get(t, "/cgi-bin/user/get?access_token="+token)
	assert.Regexp(t, `^\{"total":3,"count":3,"data":\{"openid":\["o[\w-]{27}","o[\w-]{27}","o[\w-]{27}"\]\},`+
		`"next_openid":"o[\w-]{27}"\}$`, body)

	body, _ = sb.get(t, "/cgi-bin/user/get?access_token=WRONG")
	assert.Regexp(t,
		`^\{"errcode":40001,"errmsg":"invalid credential.* rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"\}$`, body)

	body, contentType = sb.get(t, "/")
	assert.Equal(t, "text/html; charset=utf-8", contentType)
	assert.Contains(t, body, "at <code>"+sb.base+"</code>")
}

func TestInvalidArguments(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"an unknown flag":   {[]string{"-port", "1"}, "-port"},
		"no app ID":         {[]string{"-appid", ""}, "must not be empty"},
		"followers":         {[]string{"-fans", "-1"}, "must not be negative"},
		"latency":           {[]string{"-latency", "-1s"}, "must not be negative"},
		"a port in use":     {[]string{"-addr", taken.Addr().String()}, "in use"},
		"no address":        {[]string{"-addr", "nowhere"}, "nowhere"},
		"not even a number": {[]string{"-fans", "many"}, "many"},
		"quirks":            {[]string{"-quirks", "mild"}, "it must be strict, wild or wild:seed"},
		"a wild seed":       {[]string{"-quirks", "wild:x"}, "invalid syntax"},
		"whitelist":         {[]string{"-whitelist", "127.0.0.1,home"}, `"home"`},
		"a quota":           {[]string{"-quotas", "some"}, `"some" must be like /cgi-bin/user/get=500`},
		"a quota below 0":   {[]string{"-quotas", "/cgi-bin/user/get=-1"}, "must be like"},
		"a minute's quota":  {[]string{"-quotas", "/cgi-bin/user/get=1/x"}, "must be like"},
		"a quota's path":    {[]string{"-quotas", "/cgi-bin/user/gets=1"}, `"/cgi-bin/user/get"`},
		"no such folder": {
			[]string{"-addr", "127.0.0.1:0", "-state", "nowhere/account.json"}, "cannot save the account",
		},
	} {
		t.Run(name, func(t *testing.T) {
			assert.ErrorContains(t, runArgs(t.Context(), c.args, io.Discard, io.Discard), c.want)
		})
	}
}

// The next run starts with the account that the previous run has saved.
func TestStateIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "account.json")
	first := start(t, "-fans", "5", "-state", file)
	assert.FileExists(t, file, "it is created at the start")
	c := first.client(t)
	tag, err := c.CreateTag(t.Context(), "会员")
	require.NoError(t, err)
	require.NoError(t, c.BatchTagging(t.Context(), tag.ID, []string{wechatusertest.OpenID(1)}))
	require.NoError(t, c.UpdateRemark(t.Context(), wechatusertest.OpenID(1), "老客户"))
	require.NoError(t, c.BatchBlacklist(t.Context(), []string{wechatusertest.OpenID(2)}))
	stdout, err := first.stop()
	require.NoError(t, err)
	assert.Contains(t, stdout, "Saved the account to "+file)
	saved, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotContains(t, string(saved), testSecret)

	second := start(t, "-fans", "1000", "-state", file)
	user, err := second.client(t).GetUserInfo(t.Context(), wechatusertest.OpenID(1))
	require.NoError(t, err)
	assert.Equal(t, "老客户", user.Remark)
	assert.Equal(t, []int{tag.ID}, user.TagIDList)
	_, err = second.stop()
	require.NoError(t, err)

	savedAgain, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(saved), string(savedAgain), "unchanged: -fans is ignored")
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	require.NoError(t, err)
	assert.Equal(t, []string{file}, left, "no temporary files")
}

// canceled returns a context that is done, so that a sandbox that should not have started stops at once.
func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestInvalidState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "account.json")
	invalid := "{\"tags\":[],\n\"users\":[{\"openid\":\"\"}]}"
	require.NoError(t, os.WriteFile(file, []byte(invalid), 0o600))

	err := runArgs(canceled(t), []string{"-addr", "127.0.0.1:0", "-state", file}, io.Discard, io.Discard)

	require.ErrorContains(t, err, file+" is not a valid account")
	require.ErrorContains(t, err, "line 2: ")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, invalid, string(text))
}

// A file that cannot be opened is not treated as missing.
func TestUnreadableState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.Symlink("account.json", file); err != nil { // a link to itself fails for root too
		t.Skip(err)
	}

	err := runArgs(canceled(t), []string{"-addr", "127.0.0.1:0", "-state", file}, io.Discard, io.Discard)

	require.ErrorContains(t, err, "state file: open "+file)
	_, err = os.Readlink(file)
	assert.NoError(t, err, "it is not replaced")
}

// A file that only its owner may read keeps its mode.
func TestStateKeepsItsMode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "account.json")
	require.NoError(t, os.WriteFile(file, []byte("{}"), 0o600))
	state := &StateFile{Path: file, Account: wechatusertest.NewServer(wechatusertest.WithoutListener())}

	require.NoError(t, state.Save())

	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// Lists are complete in spite of the quirks, and the log shows the errors.
func TestWildQuirks(t *testing.T) {
	sb := start(t, "-fans", "400", "-quirks", "wild:3", "-pagesize", "20", "-log")
	c := sb.client(t)

	n := 0
	for range 3 {
		for _, err := range c.AllFans(t.Context()) {
			require.NoError(t, err)
			n++
		}
	}

	assert.Equal(t, 1200, n)
	assert.Regexp(t, `(?m) getFans errcode=-1 .*fault="errcode"| getFans http=502 `, sb.stderr)
}

func TestLog(t *testing.T) {
	sb := start(t, "-fans", "2", "-log")
	c := sb.client(t)
	_, err := c.GetFans(t.Context(), "")
	require.NoError(t, err)
	_, err = c.GetUserInfo(t.Context(), "oNOBODY")
	var apiErr *wechatuser.Error
	require.ErrorAs(t, err, &apiErr)
	body, _ := sb.get(t, "/cgi-bin/token?grant_type=client_credential&appid="+testAppID+"&secret="+testSecret)
	token := strings.Split(body, `"`)[3]
	_, _ = sb.get(t, "/cgi-bin/odd%0Apath/"+token+"/"+testSecret)

	_, err = sb.stop()
	require.NoError(t, err)
	text := sb.stderr.String()

	const stamp = `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} `
	took := `[\d.]+(µs|ms|s)$`
	lines := strings.Split(strings.TrimSpace(text), "\n")
	require.Len(t, lines, 5)
	for i, form := range []string{
		"getStableAccessToken errcode=0 POST /cgi-bin/stable_token ",
		"getFans errcode=0 GET /cgi-bin/user/get ",
		"userInfo errcode=40003 GET /cgi-bin/user/info rid=" + apiErr.RID + " ",
		"getAccessToken errcode=0 GET /cgi-bin/token ",
		`\(unknown\) errcode=40066 GET /cgi-bin/odd\\npath/xxxx/xxxx rid=[\w-]+ `,
	} {
		assert.Regexp(t, "^"+stamp+form+took, lines[i])
	}
	assert.NotContains(t, text, testSecret)
	assert.NotContains(t, text, token)
}

// Lines for what is hard to provoke with requests.
func TestLogLine(t *testing.T) {
	at := time.Date(2026, 3, 10, 4, 0, 0, 0, time.UTC)
	call := wechatusertest.Request{
		Time: at, Duration: 812_345, API: "getFans", Method: "GET", Path: "/cgi-bin/user/get",
		Fault: wechatusertest.FaultDropAnswer,
	}
	var out bytes.Buffer
	log := &callLog{w: &out, secret: testSecret}
	log.write(call)
	call.Status, call.Fault, call.Duration = 502, wechatusertest.FaultHTTP, 1_234_567_890
	log.write(call)
	assert.Equal(t,
		`2026-03-10 12:00:00.000 getFans no-response errcode=0 GET /cgi-bin/user/get fault="drop answer" 812µs
2026-03-10 12:00:00.000 getFans http=502 errcode=0 GET /cgi-bin/user/get fault="http" 1.2346s
`, out.String())
	assert.Len(t, pathOf(wechatusertest.Request{Path: strings.Repeat("/", 500)}, testSecret), 200+len("…"))
}

// Calls take at most the given latency.
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, err := parse("-latency", "30ms", "-fans", "1")
		require.NoError(t, err)
		account, err := set.account(io.Discard)
		require.NoError(t, err)
		c := account.Client()
		var longest time.Duration
		for range 50 {
			start := time.Now()
			_, err := c.GetTags(t.Context())
			require.NoError(t, err)
			longest = max(longest, time.Since(start))
		}
		assert.Greater(t, longest, 10*time.Millisecond)
		assert.LessOrEqual(t, longest, 60*time.Millisecond, "the first call includes a token request")
	})
}

func TestQuotas(t *testing.T) {
	for flag, want := range map[string]wechatusertest.QuotaState{
		"documented":              {PerDay: 500},
		"/cgi-bin/user/get=7":     {PerDay: 7},
		"/cgi-bin/user/get=7/2":   {PerDay: 7, PerMinute: 2},
		"/cgi-bin/tags/get=1":     {},
		"/cgi-bin/user/get=0/600": {PerMinute: 600},
	} {
		set, err := parse("-quotas", flag)
		require.NoError(t, err)
		account, err := set.account(io.Discard)
		require.NoError(t, err)
		for _, q := range account.Quotas() {
			if q.Path == "/cgi-bin/user/get" {
				assert.Equal(t, want.PerDay, q.PerDay, flag)
				assert.Equal(t, want.PerMinute, q.PerMinute, flag)
			}
		}
	}
}

func TestWhitelist(t *testing.T) {
	sb := start(t, "-whitelist", "203.0.113.0/24")
	body, _ := sb.get(t, "/cgi-bin/token?grant_type=client_credential&appid="+testAppID+"&secret="+testSecret)
	assert.Contains(t, body, `"errcode":40164`)
	assert.Contains(t, body, "127.0.0.1")
}

// An address that is not loopback causes a warning, and the printed address works.
func TestExposedAddress(t *testing.T) {
	sb := start(t, "-addr", "0.0.0.0:0")
	assert.Regexp(t, regexp.MustCompile(`^http://127\.0\.0\.1:\d+$`), sb.base)
	assert.Contains(t, sb.stderr.String(), exposedWarning.en)
	page, _ := sb.get(t, "/")
	assert.Contains(t, page, exposedWarning.en)

	sb = start(t)
	assert.Empty(t, sb.stderr.String())
	page, _ = sb.get(t, "/")
	assert.NotContains(t, page, exposedWarning.en)
}

// With JSON, one line says where the account is, and nothing else is printed.
func TestJSON(t *testing.T) {
	config, err := parse("-addr", "127.0.0.1:0", "-fans", "7", "-state", filepath.Join(t.TempDir(), "account.json"))
	require.NoError(t, err)
	config.JSON = true
	var stdout bytes.Buffer

	require.NoError(t, Run(canceled(t), config, &stdout, io.Discard))

	var start struct {
		BaseURL   string `json:"base_url"`
		Page      string `json:"page"`
		AppID     string `json:"appid"`
		Secret    string `json:"secret"`
		Followers int    `json:"followers"`
	}
	dec := json.NewDecoder(&stdout)
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&start))
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+$`, start.BaseURL)
	assert.Equal(t, start.BaseURL+"/", start.Page)
	assert.Equal(t, "wx0000000000000000", start.AppID)
	assert.Equal(t, strings.Repeat("0", 32), start.Secret)
	assert.Equal(t, 7, start.Followers)
	assert.Empty(t, strings.TrimSpace(stdout.String()))
}

// In Chinese, so are the output and the errors.
func TestChinese(t *testing.T) {
	run := func(args ...string) (string, error) {
		flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		config := Flags(flags, true)
		if err := flags.Parse(append([]string{"-addr", "127.0.0.1:0"}, args...)); err != nil {
			return "", err
		}
		var stdout bytes.Buffer
		err := Run(canceled(t), config, &stdout, io.Discard)
		return stdout.String(), err
	}
	file := filepath.Join(t.TempDir(), "account.json")

	out, err := run("-fans", "3", "-state", file)

	require.NoError(t, err)
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+\n`, out, "the first line is the base URL")
	assert.Contains(t, out, "AppID wx0000000000000000，共 3 个用户")
	assert.Contains(t, out, "账号已保存到 "+file)
	for want, args := range map[string][]string{
		"fans、pagesize 和 latency 不能为负数":                  {"-fans", "-1"},
		"appid 和 secret 不能为空":                            {"-appid", ""},
		"只能是 strict、wild 或 wild:种子":                      {"-quirks", "mild"},
		`"some" 的格式应为 /cgi-bin/user/get=500`:             {"-quotas", "some"},
		"无法保存账号：open ":                                   {"-state", "nowhere/account.json"},
		"状态文件：" + filepath.Dir(file) + " 不是有效的账号，文件未改动：": {"-state", filepath.Dir(file)},
	} {
		_, err := run(args...)
		assert.ErrorContains(t, err, want)
	}
	_, err = run("-state", "nowhere/account.json")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.NoError(t, Localize(nil, true))
}
