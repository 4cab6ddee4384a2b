package browser

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
	b.waitFor("#selected", "已选 49 人：") // they are still selected
	b.forgetInvalidForms(2)
	b.click("#all")
	b.waitFor("#selected", "整个列表：")
	b.fill("#choose select[name=tag]", fmt.Sprint(tag.ID))
	b.click("#choose button:not([formaction])")
	b.waitFor("#done", "已打上标签 会员：120 个用户。")
	fans, err := c.GetTagFans(t.Context(), tag.ID, "")
	require.NoError(t, err)
	assert.Len(t, fans.OpenIDs, 120)

	b.setWidth(390)
	b.click("#choose tbody tr:nth-child(3) label")
	assert.Less(t, b.top("#choose .actions"), 844, "what can be done is in view")
	b.fill("#choose select[name=tag]", fmt.Sprint(tag.ID))
	b.click(`#choose [formaction="/sandbox/untag"]`)
	b.waitFor("#done", "已取消标签 会员："+fans.OpenIDs[2])
	b.setWidth(1280)

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
