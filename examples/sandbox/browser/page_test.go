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

// startSandbox builds the sandbox and runs it as a process. stop ends it as Ctrl-C does.
func startSandbox(t *testing.T, args ...string) (base string, stop func()) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "sandbox.exe")
	built, err := exec.Command("go", "build", "-o", program, "github.com/wechatuser/wechatuser/examples/sandbox").CombinedOutput()
	require.NoError(t, err, "%s", built)
	cmd := exec.Command(program, append([]string{"-addr", "127.0.0.1:0", "-appid", appID, "-secret", secret}, args...)...)
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

// TestByHand does what a person does with the page, while an SDK works on the account.
func TestByHand(t *testing.T) {
	state := filepath.Join(t.TempDir(), "account.json")
	base, stop := startSandbox(t, "-fans", "120", "-state", state)
	c := newClient(t, base)
	b := openTab(t)
	b.open(base + "/")
	b.sees("#totals", "120 followers")

	b.fill("#follow [name=count]", "30")
	b.click("#follow button")
	b.sees("#done", "Follow now: 30 people.")
	b.sees("#totals", "150 followers")

	b.fill("#newtag [name=name]", "会员")
	b.click("#newtag button")
	b.sees("#done", `There is tag 100 "会员" now.`)
	b.click("#choose tbody tr:nth-child(2) label")
	b.click("#choose tbody tr:nth-child(3) label")
	b.fill("#choose select[name=tag]", "100")
	b.click("#choose button:not([formaction])")
	b.sees("#done", "Tagged with 会员: 2 people.")
	fans, err := c.GetTagFans(t.Context(), 100, "")
	require.NoError(t, err)
	assert.Len(t, fans.OpenIDs, 2)

	b.fill("#fault [name=path]", "/cgi-bin/user/get")
	b.fill("#fault [name=code]", "45009")
	b.click("#fault button")
	b.sees("#faultlist", "errcode 45009 to 1 calls of /cgi-bin/user/get")
	_, err = c.GetFans(t.Context(), "")
	var refused *wechatuser.Error
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, wechatuser.CodeDailyQuotaExceeded, refused.Code)
	b.sees("#calls tbody tr:first-child", refused.RID) // without a reload
	b.sees("#calls tbody tr:first-child", "45009")
	b.sees("#faultlist", "None.")

	b.click("#revoke button")
	b.sees("#tokenlist", "None is good.")
	_, err = c.GetTags(t.Context())
	require.NoError(t, err, "the SDK renews the token")
	b.sees("#tokenlist", "stable")
	b.sees("#calls tbody tr:nth-child(1)", "getTags 0")
	b.sees("#calls tbody tr:nth-child(2)", "getStableAccessToken 0")
	b.sees("#calls tbody tr:nth-child(3)", "getTags 40001")

	b.click("#more")
	b.sees("#choose nav", "first page")
	b.click(".save button")
	b.sees("#done", "Saved to "+state)
	b.sees("#choose nav", "first page") // it is where it was

	assert.NotContains(t, b.text("html"), secret)
	b.isAtPeace(base)
	stop()
	saved, err := os.ReadFile(state)
	require.NoError(t, err)
	assert.Equal(t, 150, strings.Count(string(saved), `"openid":`))
	assert.Equal(t, 2, strings.Count(string(saved), `"tagid_list":[100]`))
}

// TestWithoutScripts shows that the script is for comfort only.
func TestWithoutScripts(t *testing.T) {
	base, _ := startSandbox(t, "-fans", "3")
	b := openTab(t)
	b.must(nil, "Emulation.setScriptExecutionDisabled", map[string]any{"value": true})
	b.open(base + "/")

	b.fill("#choose [name=first]", "2")
	b.click(`#choose [formaction="/sandbox/block"]`)
	b.sees("#done", "Blocked: 2 people.")
	b.click("#totals li:nth-child(3) a")
	b.sees("#totals li:nth-child(3)", "2")
	b.click("#choose tbody tr:nth-child(1) input")
	b.click(`#choose [formaction="/sandbox/unblock"]`)
	b.sees("#done", "No longer blocked: oFAKE")
	b.sees("#totals li:nth-child(3)", "1")

	blocked, err := newClient(t, base).GetBlacklist(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, 1, blocked.Total)
	b.isAtPeace(base)
}

// TestFitsAPhone: nothing is wider than the screen, so that the page does not move sideways.
func TestFitsAPhone(t *testing.T) {
	base, _ := startSandbox(t, "-quirks", "wild")
	c := newClient(t, base)
	_, err := c.CreateTag(t.Context(), strings.Repeat("会", 10))
	require.NoError(t, err)
	b := openTab(t)
	for _, width := range []int{320, 390, 800, 1280} {
		b.must(nil, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500})
		b.open(base + "/")
		var wide int
		require.NoError(t, b.eval(&wide, `document.documentElement.scrollWidth`))
		assert.LessOrEqual(t, wide, width)
	}
	b.isAtPeace(base)
}

// isAtPeace: no errors in the console, and no request to anywhere else.
func (b *tab) isAtPeace(base string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.Empty(b.t, b.troubles)
	require.NotEmpty(b.t, b.requests)
	for _, url := range b.requests {
		assert.True(b.t, strings.HasPrefix(url, base+"/") && !strings.HasPrefix(url, base+"/favicon"), url)
	}
}
