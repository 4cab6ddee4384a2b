package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// What the SDK refuses is refused before anything is planned or sent.
func TestArgumentsAreCheckedFirst(t *testing.T) {
	srv := newServer(t, wechatusertest.WithFans(3))
	srv.AddTag("vip")
	id, long := wechatusertest.OpenID(0), strings.Repeat("长", 11)
	for _, args := range [][]string{
		{"tags", "create", ""},
		{"tags", "create", long},
		{"tags", "create", "a\x01b"},
		{"tags", "create", "a\xffb"},
		{"tags", "rename", "vip", ""},
		{"tags", "rename", "vip", long},
		{"tags", "rename", "", "gold"},
		{"tags", "delete", ""},
		{"tags", "add", long, id},
		{"tags", "add", "", id},
		{"tags", "add", "vip", "13800000000"},
		{"tags", "remove", "", id},
		{"tags", "remove", "vip", id + "x y"},
		{"blacklist", "add", "bogus"},
		{"user", "bogus"},
		{"user", "remark", "bogus", "Room 7"},
		{"user", "remark", "", "Room 7"},
		{"user", "remark", id, long},
		{"user", "remark", id, "a\nb"},
		{"user", id, "--after", "bogus"},
		{"fans", "--after", "bogus"},
		{"fans", "--tag", ""},
		{"fans", "--tag", "vip", "--after", "a b"},
		{"blacklist", "--after", "bogus"},
		{"campaign", long},
		{"campaign", "vip", "--after", "bogus"},
		{"sync", long, "-"},
		{"sync", "", "-"},
		{"quota", "/cgi-bin/user/get", "user/get"},
		{"quota", "https://api.weixin.qq.com/cgi-bin/user/get"},
		{"rid", "a b"},
		{"call", "cgi-bin/user/get"},
		{"call", "/cgi-bin/user/get", "-X", "PUT"},
		{"call", "/cgi-bin/user/get", "-q", "access_token=x"},
	} {
		for _, lang := range []string{"en", "zh"} {
			got := onServer(t, srv, append([]string{"--yes", "--lang", lang}, args...)...)
			assert.Equal(t, exitUsage, got.code, "%q: %s", args, got.stderr)
			assert.Empty(t, got.stdout)
			assert.NotContains(t, got.stderr, "It takes")
			if lang == "zh" {
				assert.Regexp(t, `\p{Han}`, got.stderr, "%q", args)
			}
		}
	}
	assert.Zero(t, srv.Calls("*"))
}

// A number is the ID of a tag, unless --name says that it is a name.
func TestNumbersAreIDs(t *testing.T) {
	srv := newServer(t, wechatusertest.WithFans(30))
	vip := srv.AddTag("vip", ids(0, 3)...)
	year := srv.AddTag("2024", ids(3, 5)...)
	id := wechatusertest.OpenID(9)
	file := strings.Join(ids(0, 3), "\n")
	for _, args := range []string{
		"tags add 9999 " + id, "tags add 2024 " + id, "tags remove 2024 " + id, "tags delete 2024", "tags rename 2024 gold",
		"fans --tag 2024", "campaign 2024", "sync 2024 - --force", "tags add 0100 " + id, "tags add 99999999999999999999 " + id,
	} {
		got := invocation{args: append(strings.Fields(args), "--yes"), env: credentials(srv), stdin: file}.run(t)
		assert.Equal(t, exitFailed, got.code, args)
		assert.Contains(t, got.stderr, "no tag has the ID ", args)
		assert.Contains(t, got.stderr, "add --name")
		if strings.Contains(args, "2024") {
			assert.Contains(t, got.stderr, `for the tag named "2024", add --name`)
		}
		assert.NotContains(t, got.stderr, "It takes", "before the plan")
	}
	require.Len(t, srv.Tags(), 2)

	assert.Equal(t, exitOK, onServer(t, srv, "--yes", "tags", "add", "100", id).code)
	assert.Contains(t, srv.TagFans(vip), id)
	assert.Equal(t, exitOK, onServer(t, srv, "--yes", "tags", "add", "2024", id, "--name").code)
	assert.Contains(t, srv.TagFans(year), id)
	assert.Equal(t, exitOK, onServer(t, srv, "--yes", "tags", "add", "9999", id, "--name").code)
	assert.Len(t, srv.Tags(), 3)
	assert.Equal(t, strings.Join(ids(3, 5), "\n")+"\n"+id+"\n", onServer(t, srv, "fans", "--tag", "2024", "--name").stdout)
	assert.Equal(t, exitOK, onServer(t, srv, "--yes", "tags", "delete", "2024", "--name").code)
	assert.Len(t, srv.Tags(), 2)
}

// The plan says how many calls there can be at most, and there are no more.
func TestMostCalls(t *testing.T) {
	assert.Equal(t, callRange{0, 0}, callsFor(0, 50))
	assert.Equal(t, oneCall, callsFor(1, 50))
	assert.Equal(t, callRange{4, 396}, callsFor(200, 50))
	assert.Equal(t, callRange{2, 101 - 1}, callsFor(51, 50))
	const tagging = "/cgi-bin/tags/members/batchtagging"
	var strangers []string
	for i := range 70 {
		strangers = append(strangers, wechatusertest.ForeignOpenID(i))
	}
	for _, c := range []struct {
		quota, code int
		text        string
	}{
		{1000, exitRejected, "It takes 2 API calls (at most 138 if openids are rejected); 1000 of 1000 are left today."},
		{100, exitStopped, "warning: if many openids are rejected, today's quota may not be enough"},
		{1, exitDeclined, "today's quota is too small"},
	} {
		srv := newServer(t, wechatusertest.WithFans(3), wechatusertest.WithQuota(tagging, c.quota, 0))
		srv.AddTag("vip")
		got := onServer(t, srv, append([]string{"--yes", "tags", "add", "vip"}, strangers...)...)
		assert.Equal(t, c.code, got.code, got.stderr)
		assert.Contains(t, got.stderr, c.text)
		assert.LessOrEqual(t, srv.Calls(tagging), 138)
	}
}

// An openid whose outcome no response tells is not called rejected, and the place to go on is before it.
func TestUnknownOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tagging = "/cgi-bin/tags/members/batchtagging"
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(200))
		defer srv.Close()
		vip := srv.AddTag("vip")
		openIDs := append(srv.OpenIDs()[:120:120], wechatusertest.ForeignOpenID(1))
		openIDs[3] = wechatusertest.ForeignOpenID(2)
		c := srv.Client()
		defer c.HTTPClient().CloseIdleConnections()

		srv.Fault(wechatusertest.Fault{
			Path: tagging, Kind: wechatusertest.FaultErrcode, Code: wechatuser.CodeSystemBusy, After: 12, Times: 1000,
		})
		report, err := c.BulkTagging(t.Context(), vip, wechatuser.OpenIDs(openIDs...), wechatuser.WithConcurrency(1))
		require.ErrorIs(t, err, wechatuser.CodeSystemBusy)
		for lang, want := range map[string][]string{
			"en": {
				"99 done, 1 rejected, 10 unknown, 11 not reached. API calls: ",
				"\n1 rejected: 49003, ", "\n10 unknown: -1, ", "\nUnknown: no response says whether it was done. ",
				"\nStopped. To go on, add: --after " + openIDs[99] + "\n",
			},
			"zh": {
				"成功 99 个，被拒绝 1 个，结果未知 10 个，未处理 11 个。", "\n1 个被拒绝：49003，", "\n10 个结果未知：-1，",
				"\n结果未知：没有收到明确的响应", "\n已停止。如需继续，请添加：--after " + openIDs[99] + "\n",
			},
		} {
			a := testApp(t, nil)
			a.chinese = lang == "zh"
			err := a.printReport(report, err, listOf(openIDs), "")
			assert.Equal(t, exitStopped, exitCode(err))
			for _, text := range want {
				assert.Contains(t, a.out.(*bytes.Buffer).String(), text)
			}
		}
	})
}

func listOf(ids []string) *openIDs { return &openIDs{ids: ids} }
