// Package browser tests the page of the sandbox in a headless Chromium.
package browser

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	appID  = "wxSANDBOX"
	secret = "SENTINEL0SECRET0SENTINEL0SECRET0"
)

// startSandbox builds the sandbox and runs it as a process. stop stops it like Ctrl-C.
func startSandbox(t *testing.T, args ...string) (base string, stop func()) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "sandbox.exe")
	const pkg = "github.com/wechatuser/wechatuser/examples/sandbox"
	out, err := exec.Command("go", "build", "-o", program, pkg).CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := exec.Command(program,
		append([]string{"-addr", "127.0.0.1:0", "-appid", appID, "-secret", secret}, args...)...)
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		assert.NoError(t, cmd.Process.Signal(os.Interrupt))
		_, _ = io.Copy(io.Discard, stdout)
		assert.NoError(t, cmd.Wait())
	}
	t.Cleanup(stop)
	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan(), "the first line is the base URL")
	return lines.Text(), stop
}

func newClient(t *testing.T, base string) *wechatuser.Client {
	t.Helper()
	c, err := wechatuser.New(appID, secret, wechatuser.WithBaseURL(base),
		wechatuser.WithTransport(&http.Transport{DisableKeepAlives: true}))
	require.NoError(t, err)
	return c
}

// All forms of the page, used while an SDK works on the account.
func TestForms(t *testing.T) {
	state := filepath.Join(t.TempDir(), "account.json")
	base, stop := startSandbox(t, "-fans", "120", "-state", state)
	c := newClient(t, base)
	b := openTab(t)
	b.open(base + "/")
	b.waitFor("#totals", "120 followers")

	b.fill("#follow [name=count]", "30")
	b.click("#follow button")
	b.waitFor("#done", "Added followers: 30 users.")
	b.waitFor("#totals", "150 followers")

	b.fill("#newtag [name=name]", "会员")
	b.click("#newtag button")
	b.waitFor("#done", `Created tag 100 "会员".`)
	b.click("#choose tbody tr:nth-child(2) label")
	b.click("#choose tbody tr:nth-child(3) label")
	b.fill("#choose select[name=tag]", "100")
	b.click("#choose button:not([formaction])")
	b.waitFor("#done", "Tagged with 会员: 2 users.")
	fans, err := c.GetTagFans(t.Context(), 100, "")
	require.NoError(t, err)
	assert.Len(t, fans.OpenIDs, 2)

	b.fill("#fault [name=path]", "/cgi-bin/user/get")
	b.fill("#fault [name=code]", "45009")
	b.click("#fault button")
	b.waitFor("#faultlist", "errcode 45009")
	_, err = c.GetFans(t.Context(), "")
	var apiErr *wechatuser.Error
	require.ErrorAs(t, err, &apiErr)
	assert.Equal(t, wechatuser.CodeDailyQuotaExceeded, apiErr.Code)
	b.waitFor("#calls tbody tr:first-child", apiErr.RID) // without a reload
	b.waitFor("#calls tbody tr:first-child", "45009")
	b.waitFor("#faultlist", "None.")

	b.click("#revoke button")
	b.waitFor("#tokenlist", "No valid token.")
	_, err = c.GetTags(t.Context())
	require.NoError(t, err, "the SDK refreshes the token")
	b.waitFor("#tokenlist", "stable")
	b.waitFor("#calls tbody tr:nth-child(1)", "getTags 0")
	b.waitFor("#calls tbody tr:nth-child(2)", "getStableAccessToken 0")
	b.waitFor("#calls tbody tr:nth-child(3)", "getTags 40001")

	b.click("#next")
	b.waitFor("#choose nav", "first page")
	b.click(".save button")
	b.waitFor("#done", "Saved to "+state)
	b.waitFor("#choose nav", "first page") // still on the same page

	assert.NotContains(t, b.text("html"), secret)
	b.assertNoErrors(base)
	stop()
	saved, err := os.ReadFile(state)
	require.NoError(t, err)
	assert.Equal(t, 150, strings.Count(string(saved), `"openid":`))
	assert.Equal(t, 2, strings.Count(string(saved), `"tagid_list":[100]`))
}

// The page works without JavaScript.
func TestWithoutScripts(t *testing.T) {
	base, _ := startSandbox(t, "-fans", "3")
	b := openTab(t)
	b.must(nil, "Emulation.setScriptExecutionDisabled", map[string]any{"value": true})
	b.open(base + "/")

	b.fill("#choose [name=first]", "2")
	b.click(`#choose [formaction="/sandbox/block"]`)
	b.waitFor("#done", "Blocked: 2 users.")
	b.click("#totals li:nth-child(3) a")
	b.waitFor("#totals li:nth-child(3)", "2")
	b.click("#choose tbody tr:nth-child(1) input")
	b.click(`#choose [formaction="/sandbox/unblock"]`)
	b.waitFor("#done", "Unblocked: oFAKE")
	b.waitFor("#totals li:nth-child(3)", "1")

	blocked, err := newClient(t, base).GetBlacklist(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, 1, blocked.Total)
	b.assertNoErrors(base)
}

// The page does not scroll sideways at any screen width.
func TestScreenWidths(t *testing.T) {
	base, _ := startSandbox(t, "-quirks", "wild")
	c := newClient(t, base)
	_, err := c.CreateTag(t.Context(), strings.Repeat("会", 10))
	require.NoError(t, err)
	b := openTab(t)
	for _, width := range []int{320, 390, 800, 1280} {
		b.must(nil, "Emulation.setDeviceMetricsOverride",
			map[string]any{"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500})
		b.open(base + "/")
		var wide int
		require.NoError(t, b.eval(&wide, `document.documentElement.scrollWidth`))
		assert.LessOrEqual(t, wide, width)
	}
	b.assertNoErrors(base)
}

// assertNoErrors asserts that there were no errors in the console, and no requests to other hosts.
func (b *tab) assertNoErrors(base string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.Empty(b.t, b.errors)
	require.NotEmpty(b.t, b.requests)
	for _, url := range b.requests {
		assert.True(b.t, strings.HasPrefix(url, base+"/") && !strings.HasPrefix(url, base+"/favicon"), url)
	}
}
