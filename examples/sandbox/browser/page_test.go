// Package browser tests the page of the sandbox in a headless Chromium.
package browser

import (
	"os"
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
