// Package browser tests the page of the sandbox in a headless Chromium.
package browser

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser"
)

var screenshots = flag.String("screenshots", "", "write screenshots of the page to this `folder`")

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
	b.waitFor("#selected", "2 selected:")
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

	b.click("#choose tbody tr:nth-child(1) label")
	b.click("#choose tbody tr:nth-child(3) label")
	b.click(`#choose [formaction="/sandbox/block"]`)
	b.waitFor("#done", "Blocked: 2 users.")
	b.click("#totals li:nth-child(3) a")
	b.waitFor("#totals li:nth-child(3)", "2")
	b.click("#choose tbody tr:nth-child(1) input")
	b.click(`#choose [formaction="/sandbox/unblock"]`)
	b.waitFor("#done", "Unblocked: oFAKE")
	b.waitFor("#totals li:nth-child(3)", "1")
	b.click("#choose tbody tr:nth-child(1) a")
	b.waitFor("#profile", "blocked")
	b.fill("#remark [name=remark]", "老客户")
	b.click("#remark button")
	b.waitFor("#done", "Saved the remark of oFAKE")
	b.open(base + "/")
	b.click("#all")
	b.click("#choose [formaction='/sandbox/block']")
	b.waitFor("#done", "Blocked: 3 users.")
	b.open(base + "/?show=blocked&user=oFAKE")
	b.click("#choose tbody tr:nth-child(2) input")
	b.click("#choose tbody tr:nth-child(3) input")
	b.click(`#choose [formaction="/sandbox/unblock"]`)
	b.waitFor("#done", "Unblocked: 2 users.")

	blocked, err := newClient(t, base).GetBlacklist(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, 1, blocked.Total)
	b.assertNoErrors(base)
}

// Choosing users, and what can be done with one of them, in Chinese.
func TestUsers(t *testing.T) {
	base, _ := startSandbox(t, "-fans", "120")
	c := newClient(t, base)
	tag, err := c.CreateTag(t.Context(), "会员")
	require.NoError(t, err)
	b := openTab(t)
	b.setLanguage("zh-CN,zh;q=0.9,en;q=0.8")
	b.open(base + "/")
	b.waitFor("h1", "公众号沙箱")

	b.click("#choose button:not([formaction])")
	b.waitFor("#failed", "没有选择用户：请在列表中勾选用户")
	b.click("#onpage")
	b.waitFor("#selected", "已选 50 人：")
	b.click("#choose tbody tr:nth-child(7) label")
	b.waitFor("#selected", "已选 49 人：")
	b.click("#choose button:not([formaction])")
	b.waitFor("#failed", "没有选择标签：请选择标签，或先创建标签")
	b.forgetInvalidForms(2)
	b.click("#all")
	b.waitFor("#selected", "整个列表：")
	b.fill("#choose select[name=tag]", fmt.Sprint(tag.ID))
	b.click("#choose button:not([formaction])")
	b.waitFor("#done", "已打上标签 会员：120 个用户。")
	fans, err := c.GetTagFans(t.Context(), tag.ID, "")
	require.NoError(t, err)
	assert.Len(t, fans.OpenIDs, 120)

	b.click("#choose tbody tr:nth-child(2) a")
	b.waitFor("#profile", fans.OpenIDs[1])
	b.fill("#remark [name=remark]", "老客户")
	b.click("#remark button")
	b.waitFor("#done", "已保存 "+fans.OpenIDs[1]+" 的备注。")
	b.click("#hastags .remove")
	b.waitFor("#hastags", "无")
	b.click(`#change [formaction="/sandbox/block"]`)
	b.waitFor("#profile dl", "黑名单")
	b.click(`#change [formaction="/sandbox/unblock"]`)
	b.waitFor("#done", "已移出黑名单："+fans.OpenIDs[1])
	user, err := c.GetUserInfo(t.Context(), fans.OpenIDs[1])
	require.NoError(t, err)
	assert.Equal(t, "老客户", user.Remark)
	assert.Empty(t, user.TagIDList)
	b.click("#change .danger:last-child")
	b.waitFor("#profile dl", "已取消关注")
	b.click(`#change [formaction="/sandbox/follow"]`)
	b.waitFor("#profile dl", "已关注")
	b.click("#profile .close")
	b.waitFor("#people tbody tr:nth-child(2)", fans.OpenIDs[1])
	assert.Empty(t, b.text("#profile"))
	b.assertNoErrors(base)
}

// The page does not scroll sideways at any screen width.
func TestScreenWidths(t *testing.T) {
	base, _ := startSandbox(t, "-quirks", "wild")
	c := newClient(t, base)
	_, err := c.CreateTag(t.Context(), strings.Repeat("会", 10))
	require.NoError(t, err)
	fans, err := c.GetFans(t.Context(), "")
	require.NoError(t, err)
	b := openTab(t)
	for _, width := range []int{320, 390, 800, 1280} {
		b.setWidth(width)
		for _, path := range []string{"/", "/?user=" + fans.OpenIDs[0]} {
			b.open(base + path)
			var wide int
			require.NoError(t, b.eval(&wide, `document.documentElement.scrollWidth`))
			assert.LessOrEqual(t, wide, width)
		}
	}
	b.assertNoErrors(base)
}

// What matters first is at hand on a phone and on a desktop, in both languages. With -screenshots, so it looks.
func TestScreenshots(t *testing.T) {
	base, _ := startSandbox(t, "-appid", "wx0123456789abcdef")
	c, err := wechatuser.New("wx0123456789abcdef", secret, wechatuser.WithBaseURL(base),
		wechatuser.WithTransport(&http.Transport{DisableKeepAlives: true}))
	require.NoError(t, err)
	fans, err := c.GetFans(t.Context(), "")
	require.NoError(t, err)
	tag, err := c.CreateTag(t.Context(), "会员")
	require.NoError(t, err)
	require.NoError(t, c.BatchTagging(t.Context(), tag.ID, fans.OpenIDs[1:4]))
	require.NoError(t, c.UpdateRemark(t.Context(), fans.OpenIDs[1], "老客户"))
	require.NoError(t, c.BatchBlacklist(t.Context(), fans.OpenIDs[5:6]))
	_, err = c.GetUserInfo(t.Context(), "oFAKEnobody")
	require.ErrorIs(t, err, wechatuser.ErrInvalidArgument)

	b := openTab(t)
	for language, accept := range map[string]string{"en": "en-US,en;q=0.9", "zh": "zh-CN,zh;q=0.9"} {
		b.setLanguage(accept)
		for _, width := range []int{390, 1280} {
			b.setWidth(width)
			b.open(base + "/")
			b.assertControlsFirst(width)
			b.assertDangerIsVisible()
			b.save("sandbox", language, width)
			b.open(base + "/?user=" + fans.OpenIDs[1] + "#profile")
			assert.Less(t, b.top("#profile"), 844, "the profile is in view")
			b.save("profile", language, width)
		}
	}
	b.assertNoErrors(base)
}

// save writes a screenshot if the flag asks for it.
func (b *tab) save(name, language string, width int) {
	b.t.Helper()
	if *screenshots != "" {
		file := filepath.Join(*screenshots, fmt.Sprintf("%s-%s-%d.png", name, language, width))
		require.NoError(b.t, os.WriteFile(file, b.screenshot(), 0o600))
	}
}

// top returns how far below the top of the screen an element is, in pixels.
func (b *tab) top(selector string) int {
	b.t.Helper()
	var top int
	require.NoError(b.t, b.eval(&top, `Math.floor(document.querySelector(%s).getBoundingClientRect().top)`, selector))
	return top
}

// assertControlsFirst asserts that faults, tokens and the clock come before the list of users, and that one click on a
// phone leads to each of them.
func (b *tab) assertControlsFirst(width int) {
	b.t.Helper()
	desktop := width > 1000
	for _, part := range []string{"#faults", "#tokens", "#clock"} {
		if desktop {
			var left int
			require.NoError(b.t, b.eval(&left, `document.querySelector(%s).getBoundingClientRect().left`, part))
			assert.Greater(b.t, left, width/2, "%s is beside the list", part)
			continue
		}
		assert.Less(b.t, b.top(part), b.top("#people"), part)
	}
	if desktop {
		return
	}
	for _, part := range []string{"#people", "#clock", "#tokens", "#faults", "#recent"} {
		b.click(`.jump [href="` + part + `"]`)
		require.Eventually(b.t, func() bool { top := b.top(part); return top >= 0 && top < 844/2 }, timeout,
			50*time.Millisecond, "%s is in view", part)
	}
	b.must(nil, "Runtime.evaluate", map[string]any{"expression": "scrollTo(0, 0)"})
}

// assertDangerIsVisible asserts that buttons which take something away do not look like the others.
func (b *tab) assertDangerIsVisible() {
	b.t.Helper()
	for dangerous, harmless := range map[string]string{
		"#revoke button":                           "#advance button",
		`#choose [formaction="/sandbox/block"]`:    `#choose [formaction="/sandbox/unblock"]`,
		`#choose [formaction="/sandbox/unfollow"]`: "#choose button:not([formaction])",
	} {
		var colors [2][2]string
		for i, selector := range []string{dangerous, harmless} {
			require.NoError(b.t, b.eval(&colors[i], `(() => {
				const style = getComputedStyle(document.querySelector(%s));
				return [style.color, style.backgroundColor];
			})()`, selector))
		}
		assert.NotEqual(b.t, colors[1][0], colors[0][0], dangerous)
		assert.NotEqual(b.t, colors[1][1], colors[0][1], dangerous)
	}
}

// forgetInvalidForms forgets the errors in the console that n rejected forms have caused.
func (b *tab) forgetInvalidForms(n int) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.Len(b.t, b.errors, n)
	for _, text := range b.errors {
		assert.Contains(b.t, text, "status of 422")
	}
	b.errors = nil
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
