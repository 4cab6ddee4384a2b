package wechatusertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func newQuirky(t testing.TB, q wechatusertest.Quirks, opts ...wechatusertest.Option) account {
	t.Helper()
	return newAccount(t, append(opts, wechatusertest.WithQuirks(q))...)
}

func TestStrictIsTheDefault(t *testing.T) {
	t.Parallel()
	assert.Zero(t, wechatusertest.Strict())
	assert.PanicsWithValue(t, "wechatusertest: WithQuirks: the probability HTMLErrors must be from 0 to 1, not 2",
		func() { newQuirky(t, wechatusertest.Quirks{HTMLErrors: 2}) })
}

func TestHTMLErrorsAndSystemBusy(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{HTMLErrors: 1})
	query := url.Values{"access_token": {a.AccessToken()}}
	w := a.do(http.MethodPost, "/cgi-bin/tags/create", query, `{"tag":{"name":"vip"}}`)
	assert.Equal(t, http.StatusBadGateway, w.Code)
	assert.Contains(t, w.Body.String(), "<title>502 Bad Gateway</title>")
	assert.Empty(t, a.Tags(), "it was not carried out")
	a = newQuirky(t, wechatusertest.Quirks{SystemBusy: 1})
	assertCode(t, -1, a.post("/cgi-bin/tags/create", `{"tag":{"name":"vip"}}`))
	assert.Empty(t, a.Tags())
}

func TestLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := account{wechatusertest.NewServer(wechatusertest.WithoutListener(),
			wechatusertest.WithQuirks(wechatusertest.Quirks{Latency: time.Second})), t}
		begin := time.Now()
		for range 100 {
			a.get("/cgi-bin/tags/get")
		}
		assert.InDelta(t, 50, time.Since(begin).Seconds(), 20)
	})
}

// Some responses of the platform had the type text/plain: https://github.com/node-webot/wechat-api/issues/126.
func TestPlainText(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{PlainText: 1})
	assert.Equal(t, "text/plain", a.do(http.MethodGet, "/cgi-bin/tags/get", nil, "").Header().Get("Content-Type"))
}

// https://developers.weixin.qq.com/community/personal/oCJUsw4ZiqofvQWItfpyPt_vb8q0
func TestShuffledKeys(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{ShuffledKeys: 1, RawControl: true}, wechatusertest.WithFans(2))
	a.AddTag("a,b:{c}[d]\"e\\")
	a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE", Remark: "a\x14b", TagIDList: []int{100, 2}})
	plain := newAccount(t, wechatusertest.WithFans(2))
	plain.AddTag("a,b:{c}[d]\"e\\")
	plain.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE", Remark: "a\x14b", TagIDList: []int{100, 2}})
	different := 0
	for range 10 {
		for _, call := range []func(a account) string{
			func(a account) string { return a.get("/cgi-bin/tags/get") },
			func(a account) string { return a.get("/cgi-bin/user/get") },
			func(a account) string { return a.get("/cgi-bin/user/info", "openid", "oFAKE") },
			func(a account) string { return a.post("/cgi-bin/tags/getidlist", `{"openid":"oFAKE"}`) },
			func(a account) string { return a.post("/cgi-bin/tags/update", `{"tag":{"id":100,"name":"x"}}`) },
		} {
			want, got := call(plain), strings.ReplaceAll(call(a), "\x14", `\u0014`)
			assert.JSONEq(t, want, got)
			if want != got {
				different++
			}
		}
	}
	assert.Greater(t, different, 25)
}

func TestErrmsgForms(t *testing.T) {
	t.Parallel()
	const rid, hint = `[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}`, `[A-Za-z0-9-]{16}`
	forms := map[string]string{
		"comma":    `^invalid openid, rid: ` + rid + `$`,
		"hint":     `^invalid openid hint: \[` + hint + `\]$`,
		"hints":    `^invalid openid hints: \[` + hint + `!\]$`,
		"req_id":   `^invalid openid, hints: \[ req_id: ` + hint + ` \]$`,
		"rid only": `^ rid: ` + rid + `$`,
		"text":     `^invalid openid$`,
	}
	a := newQuirky(t, wechatusertest.Quirks{ErrmsgForms: 1})
	seen := map[string]bool{}
	for range 100 {
		msg := assertCode(t, 40003, a.get("/cgi-bin/user/info", "openid", "x"))
		matched := ""
		for name, form := range forms {
			if regexp.MustCompile(form).MatchString(msg) {
				matched = name
			}
		}
		assert.NotEmpty(t, matched, msg)
		seen[matched] = true

		_, err := a.Client().GetUserInfo(t.Context(), "oFAKEnobody")
		var e *wechatuser.Error
		require.ErrorAs(t, err, &e)
		assert.NotContains(t, e.Message, "rid:", "the client parses all forms")
		assert.NotContains(t, e.Message, "hint")
	}
	assert.Len(t, seen, len(forms))
}

// The counts of tags/get lag by up to 10 hours:
// https://developers.weixin.qq.com/community/personal/oCJUsw0SIktDDzsAwre-41Yoi2n8.
func TestTagCountLag(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{TagCountLag: 10 * time.Hour}, wechatusertest.WithFans(3))
	a.post("/cgi-bin/tags/create", `{"tag":{"name":"vip"}}`)
	a.post(taggingPath, tagging(100, ids(3)...))
	counts := func() string { return a.get("/cgi-bin/tags/get") }
	assert.Contains(t, counts(), `"name":"vip","count":0`)
	a.Advance(10*time.Hour - time.Second)
	assert.Contains(t, counts(), `"name":"vip","count":0`)
	a.ExpireTokens()
	a.Advance(time.Second)
	assert.Contains(t, counts(), `"name":"vip","count":3`)
	assert.Equal(t, 3, a.Tags()[0].Count)
}

// https://developers.weixin.qq.com/community/personal/oCJUsw0I0BKVb9w_n95J3yTx4dPA
func TestFalseInvalidTag(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{FalseInvalidTag: 1}, wechatusertest.WithFans(1))
	vip := a.AddTag("vip")
	assertCode(t, 45159, a.post(taggingPath, tagging(vip, ids(1)...)))
	assertCode(t, 45159, a.post(untaggingPath, tagging(vip, ids(1)...)))
	assert.Empty(t, a.TagFans(vip))
	assert.Contains(t, a.get("/cgi-bin/tags/get"), "vip")
}

// 45169 is returned for concurrent calls for the same openid:
// https://developers.weixin.qq.com/community/develop/doc/000640968607e00ca7b1f3b656b400.
func TestConcurrentTagging(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := account{wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(3),
			wechatusertest.WithQuirks(wechatusertest.Quirks{ConcurrentTagging: true})), t}
		vip, star := a.AddTag("vip"), a.AddTag("star")
		a.Delay("*", time.Second)
		responses := make([]string, 3)
		var wg sync.WaitGroup
		for i, call := range []struct {
			path string
			tag  int
			ids  []string
		}{
			{taggingPath, vip, ids(2)},
			{untaggingPath, star, ids(3)[1:]}, // shares an openid with the first call
			{taggingPath, star, ids(3)[2:]},   // shares an openid with the second call, which failed
		} {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				responses[i] = a.post(call.path, tagging(call.tag, call.ids...))
			})
		}
		wg.Wait()
		assert.Equal(t, []string{ok, ok}, []string{responses[0], responses[2]})
		assertCode(t, 45169, responses[1])
		assert.Equal(t, ids(2), a.TagFans(vip))
		assert.Equal(t, ok, a.post(untaggingPath, tagging(star, ids(3)[1:]...)),
			"it succeeds without a concurrent call")
		assert.Empty(t, a.TagFans(star))
	})
}

// Two concurrent bulk jobs for the same users both succeed.
func TestConcurrentTaggingJobs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1000),
			wechatusertest.WithQuirks(wechatusertest.Quirks{ConcurrentTagging: true}))
		srv.Delay("*", time.Second)
		vip, star := srv.AddTag("vip"), srv.AddTag("star")
		var wg sync.WaitGroup
		for _, tag := range []int{vip, star} {
			wg.Go(func() {
				report, err := srv.Client().BulkTagging(t.Context(), tag, wechatuser.OpenIDs(ids(1000)...))
				assert.NoError(t, err, "%v", report)
			})
		}
		wg.Wait()
		assert.Len(t, srv.TagFans(vip), 1000)
		assert.Len(t, srv.TagFans(star), 1000)
		assert.True(t, slices.ContainsFunc(srv.Requests(taggingPath), func(r wechatusertest.Request) bool {
			return r.Errcode == wechatuser.CodeConcurrentTagging
		}), "the jobs collided")
	})
}

// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchtagging.html
func TestPartialTagging(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{PartialTagging: 1}, wechatusertest.WithFans(50))
	vip := a.AddTag("vip")
	body := a.post(taggingPath, tagging(vip, ids(50)...))
	assertCode(t, 45171, body)
	var resp struct {
		Failed []string `json:"fail_openid_list"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &resp))
	assert.NotEmpty(t, resp.Failed)
	assert.NotEmpty(t, a.TagFans(vip))
	assert.ElementsMatch(t, ids(50), slices.Concat(resp.Failed, a.TagFans(vip)), "the others were processed")

	a.FailOpenIDs(1, wechatusertest.OpenID(7))
	body = a.post(untaggingPath, tagging(vip, ids(50)...))
	assert.Contains(t, body, `"fail_openid_list":`+array(wechatusertest.OpenID(7))+`}`, "FailOpenIDs takes precedence")
}

func TestShortPages(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{ShortPages: 1}, wechatusertest.WithFans(500),
		wechatusertest.WithPageSize(100))
	all, counts := readPages(t, func(cursor string) string { return a.get("/cgi-bin/user/get", "next_openid", cursor) })
	assert.Equal(t, ids(500), all)
	assert.Greater(t, len(counts), 6)
	assert.LessOrEqual(t, slices.Max(counts), 100)
}

func TestNoCursor(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{NoCursor: 1}, wechatusertest.WithFans(30), wechatusertest.WithPageSize(10))
	first := decode[page](t, a.get("/cgi-bin/user/get"))
	assert.Empty(t, *first.Next)
	assert.Equal(t, ids(10), first.Data.OpenID)
	got := 0
	for _, err := range a.Client().AllFans(t.Context()) {
		require.NoError(t, err)
		got++
	}
	assert.Equal(t, 30, got)
}

func TestMaxBatch(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{MaxBatch: 19}, wechatusertest.WithFans(50))
	vip := a.AddTag("vip")
	for path, body := range map[string]func(n int) string{
		taggingPath:   func(n int) string { return tagging(vip, ids(n)...) },
		untaggingPath: func(n int) string { return tagging(vip, ids(n)...) },
		"/cgi-bin/tags/members/batchblacklist": func(n int) string {
			return `{"openid_list":` + array(ids(n)...) + `}`
		},
		"/cgi-bin/tags/members/batchunblacklist": func(n int) string {
			return `{"openid_list":` + array(ids(n)...) + `}`
		},
	} {
		assertCode(t, 40032, a.post(path, body(20)))
		assert.Contains(t, a.post(path, body(19)), `"errcode":0`)
	}
	users := make([]wechatuser.UserQuery, 20)
	for i, id := range ids(20) {
		users[i].OpenID = id
	}
	_, err := a.Client().BatchUserInfo(t.Context(), users)
	assert.ErrorIs(t, err, wechatuser.CodeInvalidOpenIDListSize)
	_, err = a.Client().BatchUserInfo(t.Context(), users[:19])
	assert.NoError(t, err)
}

type batch struct {
	List []wechatuser.UserInfo `json:"user_info_list"`
}

func TestReorderedBatch(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{ReorderedBatch: 1}, wechatusertest.WithFans(100))
	var got []string
	for _, u := range decode[batch](t, a.post("/cgi-bin/user/info/batchget", userList(ids(100)...))).List {
		got = append(got, u.OpenID)
	}
	assert.NotEqual(t, ids(100), got)
	assert.ElementsMatch(t, ids(100), got)
}

// https://developers.weixin.qq.com/community/personal/oCJUsw9O7spQia91XWy7NQSCS-QE
func TestShortBatch(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{ShortBatch: true})
	for i, id := range ids(3) {
		a.AddUsers(wechatuser.UserInfo{OpenID: id, UnionID: fmt.Sprint("union-", i)})
	}
	query := userList(slices.Insert(ids(3), 1, "oFAKEnobody", wechatusertest.ForeignOpenID(0))...)
	got := decode[batch](t, a.post("/cgi-bin/user/info/batchget", query))
	require.Len(t, got.List, 3)
	for i, u := range got.List {
		assert.Equal(t, []string{wechatusertest.OpenID(i), fmt.Sprint("union-", i)}, []string{u.OpenID, u.UnionID})
	}
}

// A report of 2024-09: the unknown openid is in the response, with the unionid of the next one, and so on to the end.
// https://developers.weixin.qq.com/community/personal/oCJUsw9O7spQia91XWy7NQSCS-QE
func TestMixedUnionIDs(t *testing.T) {
	t.Parallel()
	shapes := map[string]int{}
	for seed := range 60 {
		a := newQuirky(t, wechatusertest.Quirks{MixedUnionIDs: true, Seed: uint64(seed)})
		for i, id := range ids(5) {
			a.AddUsers(wechatuser.UserInfo{
				OpenID: id, UnionID: fmt.Sprint("union-", i), Remark: fmt.Sprint("remark-", i),
			})
		}
		asked := slices.Insert(ids(5), 2, wechatusertest.ForeignOpenID(0))
		got := decode[batch](t, a.post("/cgi-bin/user/info/batchget", userList(asked...))).List
		for i, u := range got[:5] {
			assert.Equal(t, []string{asked[i], fmt.Sprint("union-", i)}, []string{u.OpenID, u.UnionID})
		}
		shape := map[bool]string{true: "whole", false: "unionid"}[got[4].Remark == "remark-4"]
		switch {
		case len(got) == 5:
			shape += ", last absent"
		case got[5].Subscribed():
			shape += ", last without unionid"
		default:
			shape += ", last not following"
		}
		if len(got) == 6 {
			assert.Empty(t, got[5].UnionID)
		}
		shapes[shape]++

		whole := decode[batch](t, a.post("/cgi-bin/user/info/batchget", userList(ids(5)...)))
		assert.Equal(t, "union-4", whole.List[4].UnionID, "without an unknown openid the response is correct")
		assert.LessOrEqual(t, len(decode[batch](t, a.post("/cgi-bin/user/info/batchget", userList(asked[2]))).List), 1)
	}
	assert.Len(t, shapes, 6, "%v", shapes)
}

// https://github.com/wechatpy/wechatpy/issues/273
func TestBareEmptyTag(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{BareEmptyTag: true})
	vip := a.AddTag("vip")
	assert.Equal(t, `{"count":0}`, a.post("/cgi-bin/user/tag/get", fmt.Sprintf(`{"tagid":%d}`, vip)))
	assert.Equal(t, `{"total":0,"count":0,"next_openid":""}`, a.get("/cgi-bin/user/get"), "other lists say more")
	page, err := a.Client().GetTagFans(t.Context(), vip, "")
	require.NoError(t, err)
	assert.Empty(t, page.OpenIDs)
}

// One profile breaks the JSON of all: https://github.com/node-webot/co-wechat-api/issues/63.
func TestRawQuotes(t *testing.T) {
	t.Parallel()
	for _, remark := range []string{`a"b`, `y?v\`} {
		a := newQuirky(t, wechatusertest.Quirks{RawQuotes: true, ShuffledKeys: 1}, wechatusertest.WithFans(3))
		a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKE", Remark: remark})
		for _, body := range []string{
			a.get("/cgi-bin/user/info", "openid", "oFAKE"),
			a.post("/cgi-bin/user/info/batchget", userList("oFAKE", wechatusertest.OpenID(1))),
		} {
			assert.Contains(t, body, `"remark":"`+remark+`"`)
			assert.False(t, json.Valid([]byte(body)))
		}
		assert.True(t, json.Valid([]byte(a.post("/cgi-bin/user/info/batchget", userList(ids(3)...)))))
		require.NoError(t, a.Client().UpdateTag(t.Context(), a.AddTag("vip"), remark))
		assert.True(t, json.Valid([]byte(a.get("/cgi-bin/tags/get"))), "tags are another matter")
	}
}

// newTypedAccount has users and tags whose values can be written in many ways.
func newTypedAccount(t *testing.T, q wechatusertest.Quirks) account {
	t.Helper()
	now := time.Date(2026, time.March, 10, 18, 0, 0, 0, time.UTC)
	a := newQuirky(t, q, wechatusertest.WithFans(2), wechatusertest.WithClock(func() time.Time { return now }))
	a.AddUsers(wechatuser.UserInfo{
		OpenID: "oFAKE", Remark: "123", UnionID: "0123", TagIDList: []int{2}, QRScene: 98765,
	})
	a.AddTag("7", "oFAKE")
	a.Handle("/cgi-bin/other", func(wechatusertest.Request) any {
		return map[string]any{
			"true": true, "false": false, "half": 0.5, "list": []any{"", 0, nil}, "map": map[string]int{},
		}
	})
	return a
}

func TestOtherTypes(t *testing.T) {
	t.Parallel()
	forms := map[string]map[string]bool{} // of the values, by key
	for seed := range uint64(200) {
		a := newTypedAccount(t, wechatusertest.Quirks{OtherTypes: 1, Seed: seed})
		for _, body := range []string{
			a.get("/cgi-bin/user/info", "openid", "oFAKE"), a.get("/cgi-bin/user/get", "next_openid", "oFAKE"),
			a.post("/cgi-bin/tags/update", `{"tag":{"id":100,"name":"8"}}`), a.get("/cgi-bin/other"),
		} {
			var values map[string]json.RawMessage
			require.NoError(t, json.Unmarshal([]byte(body), &values), body)
			for key, raw := range values {
				if forms[key] == nil {
					forms[key] = map[string]bool{}
				}
				forms[key][string(raw)] = true
			}
		}
	}
	for key, want := range map[string][]string{
		"sex":         {`0`, `"0"`, `0.0`, `0e0`, `null`, `""`, `[]`, `{}`},
		"city":        {`""`, `null`, `[]`, `{}`},
		"next_openid": {`""`, `null`, `[]`, `{}`},
		"map":         {`{}`, `null`, `""`, `[]`},
		"remark":      {`"123"`, `123`},
		"unionid":     {`"0123"`},
		"qr_scene":    {`98765`, `"98765"`, `98765.0`, `98765e0`},
		"subscribe":   {`1`, `"1"`, `1.0`, `1e0`},
		"errcode":     {`0`, `"0"`, `0.0`, `0e0`},
		"errmsg":      {`"ok"`},
		"true":        {`true`, `1`},
		"false":       {`false`, `0`},
		"half":        {`0.5`},
		"list":        {`["",0,null]`, `["","0",null]`, `["",0.0,null]`, `["",0e0,null]`},
	} {
		assert.ElementsMatch(t, want, slices.Collect(maps.Keys(forms[key])), key)
	}
}

// The client reads values in other types as they are meant.
func TestClientReadsOtherTypes(t *testing.T) {
	t.Parallel()
	batch := []wechatuser.UserQuery{{OpenID: "oFAKE"}}
	calls := map[string]func(ctx context.Context, c *wechatuser.Client) (any, error){
		"GetUserInfo": func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.GetUserInfo(ctx, "oFAKE")
		},
		"BatchUserInfo": func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.BatchUserInfo(ctx, batch)
		},
		"GetTags": func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetTags(ctx) },
		"GetTagIDList": func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.GetTagIDList(ctx, "oFAKE")
		},
		"GetFans": func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetFans(ctx, "") },
		"GetFans, last": func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.GetFans(ctx, "oFAKE")
		},
		"GetBlacklist": func(ctx context.Context, c *wechatuser.Client) (any, error) { return c.GetBlacklist(ctx, "") },
		"GetAPIQuota": func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return c.GetAPIQuota(ctx, "/cgi-bin/tags/create")
		},
		"UpdateRemark": func(ctx context.Context, c *wechatuser.Client) (any, error) {
			return nil, c.UpdateRemark(ctx, "oFAKE", "123")
		},
	}
	plain := newTypedAccount(t, wechatusertest.Strict())
	for seed := range uint64(50) {
		c := newTypedAccount(t, wechatusertest.Quirks{OtherTypes: 1, Seed: seed}).Client()
		for name, call := range calls {
			want, err := call(t.Context(), plain.Client())
			require.NoError(t, err, name)
			got, err := call(t.Context(), c)
			require.NoError(t, err, "%s, seed %d", name, seed)
			assert.Equal(t, want, got, "%s, seed %d", name, seed)
		}
		_, err := c.GetUserInfo(t.Context(), "oFAKEnobody")
		assert.ErrorIs(t, err, wechatuser.CodeInvalidOpenID)
	}
}

// 45057 is no longer documented: https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_deletetag.html.
func TestDeletableTags(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{DeletableTags: true}, wechatusertest.WithFans(100_001))
	vip := a.AddTag("vip", a.OpenIDs()...)
	assert.Equal(t, ok, a.post("/cgi-bin/tags/delete", fmt.Sprintf(`{"tag":{"id":%d}}`, vip)))
}

// https://developers.weixin.qq.com/community/personal/oCJUswzlrUZiiZD6o5yMFx1P6YD0
func TestUnusedQuota(t *testing.T) {
	t.Parallel()
	a := newQuirky(t, wechatusertest.Quirks{UnusedQuota: true}, wechatusertest.WithQuota("/cgi-bin/tags/get", 1, 0))
	a.get("/cgi-bin/tags/get")
	assertCode(t, 45009, a.get("/cgi-bin/tags/get"))
	assert.Contains(t, a.quota("/cgi-bin/tags/get"), `"used":0,"remain":1`)
}

// Calls without retries get all kinds of random errors.
func TestWild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(100),
			wechatusertest.WithQuirks(wechatusertest.Wild(1)))
		vip := srv.AddTag("vip")
		c := srv.Client(wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 1}))
		codes, pages := map[wechatuser.Code]bool{}, 0
		for i := range 300 {
			openIDs := []string{wechatusertest.OpenID(i % 100), wechatusertest.OpenID((i + 1) % 100)}
			err := c.BatchTagging(t.Context(), vip, openIDs)
			var (
				failure *wechatuser.Error
				html    *wechatuser.ResponseError
			)
			switch {
			case errors.As(err, &failure):
				codes[failure.Code] = true
			case errors.As(err, &html):
				pages++
			default:
				require.NoError(t, err)
			}
		}
		assert.Equal(t, map[wechatuser.Code]bool{
			wechatuser.CodeSystemBusy: true, wechatuser.CodeInvalidTagID: true, wechatuser.CodeSomeOpenIDsFailed: true,
		}, codes)
		assert.NotZero(t, pages)
	})
}

// Lists, bulk jobs and syncs of the client succeed on a bad day of the platform, and the account is then as expected.
func TestClientOnAWildServer(t *testing.T) {
	t.Parallel()
	for seed := range atFullSize(8, 3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			q := wechatusertest.Wild(uint64(seed))
			q.OtherTypes = float64(seed % 2)
			synctest.Test(t, func(t *testing.T) { testBulkWork(t, q) })
		})
	}
}

func testBulkWork(t *testing.T, q wechatusertest.Quirks) {
	const fans = 5000
	ctx := t.Context()
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithQuirks(q))
	all := ids(fans)
	for i, id := range all {
		srv.AddUsers(wechatuser.UserInfo{
			OpenID: id, UnionID: fmt.Sprint("union-", i), Remark: fmt.Sprint("no.\x14 ", i),
		})
	}
	c := srv.Client(wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 6})) // three attempts in a row can fail

	var listed []string
	for id, err := range c.AllFans(ctx) {
		require.NoError(t, err)
		listed = append(listed, id)
	}
	assert.Equal(t, all, listed)

	vip, err := c.CreateTag(ctx, "vip")
	require.NoError(t, err)
	strangers := []string{"oFAKEnobody", wechatusertest.ForeignOpenID(1)}
	tagged := slices.Insert(slices.Clone(all[:3000]), 700, strangers...)
	report, err := c.BulkTagging(ctx, vip.ID, wechatuser.OpenIDs(tagged...))
	require.Error(t, err)
	assert.ElementsMatch(t, strangers, report.FailedOpenIDs(), "%v", err)
	assert.Equal(t, 3000, report.Applied)
	assert.ElementsMatch(t, all[:3000], srv.TagFans(vip.ID))

	want := slices.Concat(all[100:400], all[2900:4000])
	synced, err := c.SyncTag(ctx, vip.ID, wechatuser.OpenIDs(want...))
	require.NoError(t, err, "%v", synced)
	assert.ElementsMatch(t, want, srv.TagFans(vip.ID))

	_, err = c.SyncBlacklist(ctx, wechatuser.OpenIDs(all[:500]...))
	require.NoError(t, err)
	_, err = c.SyncBlacklist(ctx, wechatuser.OpenIDs(all[400:600]...))
	require.NoError(t, err)
	assert.ElementsMatch(t, all[400:600], srv.Blacklist())

	var read []string
	queried := slices.Insert(slices.Clone(all), 2500, strangers...)
	for user, err := range c.BulkUserInfo(ctx, wechatuser.OpenIDs(queried...)) {
		var one *wechatuser.OpenIDError
		if errors.As(err, &one) {
			assert.Contains(t, strangers, one.OpenID, "%v", err)
			continue
		}
		require.NoError(t, err)
		i := len(read)
		assert.Equal(t, fmt.Sprint("union-", i), user.UnionID)
		assert.Equal(t, fmt.Sprint("no.\x14 ", i), user.Remark)
		assert.Equal(t, i >= 100 && i < 400 || i >= 2900 && i < 4000, slices.Contains(user.TagIDList, vip.ID))
		read = append(read, user.OpenID)
	}
	assert.Equal(t, all, read)
	outcomes := map[string]int{}
	for _, r := range srv.Requests() {
		outcomes[fmt.Sprint(r.Fault, " ", int(r.Errcode))]++
	}
	t.Logf("%d calls: %v", srv.Calls("*"), outcomes)
}
