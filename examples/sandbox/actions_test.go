package main

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func id(i int) string { return wechatusertest.OpenID(i) }

func TestFollow(t *testing.T) {
	s := newSandbox(t, "-fans", "10")
	s.account.Unfollow(id(0))
	s.account.Follow(id(12))

	done, location := s.do(t, "follow", url.Values{"count": {"3"}, "back": {"q=oFAKE&after=x&evil=1"}})
	assert.Equal(t, "Follow now: 3 people.", done)
	assert.Equal(t, "/?after=x&q=oFAKE#people", location, "back to where it was")
	assert.Equal(t, []string{id(12), id(11), id(13), id(14)}, s.account.OpenIDs()[9:], "new ones, and nobody who is known")

	done, _ = s.do(t, "follow", url.Values{"openids": {" oFAKEanna " + id(0)}, "count": {"7"}})
	assert.Equal(t, "Follow now: 2 people.", done)
	assert.Equal(t, 15, s.account.Totals().Followers)
	assert.Zero(t, s.account.Totals().Left)

	for _, count := range []string{"0", "", "-1", "100001", "many"} {
		failed, _ := s.refuses(t, "follow", url.Values{"count": {count}})
		assert.Contains(t, failed, "From 1 to 100000", count)
	}
	failed, page := s.refuses(t, "follow", url.Values{"openids": {"oFAKE1 <b>"}})
	assert.Contains(t, failed, `"<b>" is no openid`)
	assert.Contains(t, page, `value="oFAKE1 &lt;b&gt;"`, "what was typed is still there")
}

func TestUnfollowAndBlock(t *testing.T) {
	s := newSandbox(t, "-fans", "100")
	vip := s.account.AddTag("vip", id(60), id(61), id(62))
	before := s.account.Snapshot()

	done, _ := s.do(t, "block", url.Values{"openid": {id(1), id(2)}})
	assert.Equal(t, "Blocked: 2 people.", done)
	assert.Equal(t, []string{id(1), id(2)}, s.account.Blacklist())

	done, _ = s.do(t, "unblock", url.Values{"openid": {id(1)}})
	assert.Equal(t, "No longer blocked: "+id(1)+".", done)
	assert.Equal(t, []string{id(2)}, s.account.Blacklist())
	s.do(t, "unblock", url.Values{"first": {"5"}, "back": {"show=blocked"}})
	assert.Empty(t, before.Diff(s.account.Snapshot()), "nothing else has changed")

	done, _ = s.do(t, "unfollow", url.Values{"first": {"2"}, "back": {"tag=" + strconv.Itoa(vip)}})
	assert.Equal(t, "Left: 2 people.", done)
	assert.Equal(t, []string{id(62)}, s.account.TagFans(vip))
	assert.Equal(t, 98, s.account.Totals().Followers)

	for _, action := range []string{"block", "unblock", "unfollow", "tag", "untag"} {
		failed, _ := s.refuses(t, action, url.Values{"openid": {id(1), "oFAKEstranger"}, "tag": {"2"}})
		assert.Equal(t, `the account does not know the openid "oFAKEstranger"`, failed)
	}
	for _, action := range []string{"block", "unblock", "unfollow", "tag", "untag"} {
		failed, _ := s.refuses(t, action, url.Values{"tag": {"2"}})
		assert.Contains(t, failed, "nobody is chosen", action)
		failed, _ = s.refuses(t, action, url.Values{"tag": {"2"}, "first": {"some"}})
		assert.Contains(t, failed, `"some" is no number`, action)
	}
}

func TestTags(t *testing.T) {
	s := newSandbox(t, "-fans", "30")
	done, location := s.do(t, "newtag", url.Values{"name": {"会员"}})
	assert.Equal(t, `There is tag 100 "会员" now.`, done)
	assert.Equal(t, "/#tags", location)
	for name, says := range map[string]string{"会员": "45157", "": "45157", strings.Repeat("会", 11): "45158"} {
		failed, _ := s.refuses(t, "newtag", url.Values{"name": {name}})
		assert.Contains(t, failed, says)
	}

	gold := s.account.AddTag("gold", id(1))
	s.account.AddUsers(wechatuser.UserInfo{OpenID: id(2), Remark: "老客户", UnionID: "oFAKEunion", GroupID: 7, SubscribeScene: wechatuser.SceneQRCode})
	before := s.account.Snapshot()
	done, _ = s.do(t, "tag", url.Values{"openid": {id(1), id(2), id(3)}, "tag": {"100"}})
	assert.Equal(t, "Tagged with 会员: 3 people.", done)
	s.do(t, "tag", url.Values{"openid": {id(1)}, "tag": {"100"}})
	assert.Equal(t, []string{id(1), id(2), id(3)}, s.account.TagFans(100))
	assert.Equal(t, []string{id(1)}, s.account.TagFans(gold))

	done, _ = s.do(t, "untag", url.Values{"first": {"50"}, "tag": {"100"}, "back": {"tag=100"}})
	assert.Equal(t, "Taken tag 会员 from: 3 people.", done)
	assert.Empty(t, before.Diff(s.account.Snapshot()), "remark, profile and other tags are as they were")

	s.do(t, "tag", url.Values{"openid": {id(4)}, "tag": {"2"}})
	assert.Equal(t, 1, s.page(filter{}).Tags[0].Count, "the platform's star tag")

	for _, tag := range []string{"", "0", "999", "x"} {
		failed, _ := s.refuses(t, "tag", url.Values{"openid": {id(1)}, "tag": {tag}})
		assert.Contains(t, failed, "which tag?")
	}
	s.account.Unfollow(id(9))
	failed, _ := s.refuses(t, "tag", url.Values{"openid": {id(8), id(9)}, "tag": {"100"}})
	assert.Equal(t, id(9)+" does not follow", failed)
	for i := range 20 {
		s.account.AddTag("tag"+strconv.Itoa(i), id(10))
	}
	failed, _ = s.refuses(t, "tag", url.Values{"openid": {id(10)}, "tag": {"100"}})
	assert.Contains(t, failed, "has 20 tags")
}

func TestRevoke(t *testing.T) {
	s := newSandbox(t)
	c := s.account.Client()
	_, err := c.GetTags(t.Context())
	require.NoError(t, err)

	done, location := s.do(t, "revoke", url.Values{})

	assert.Contains(t, done, "refused now with 40001")
	assert.Equal(t, "/#tokens", location)
	assert.Empty(t, s.page(filter{}).Tokens)
	_, err = c.GetTags(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 2, s.account.Calls("/cgi-bin/stable_token"))
}

func TestFaults(t *testing.T) {
	s := newSandbox(t)
	done, location := s.do(t, "fault", url.Values{"path": {"/cgi-bin/user/get"}, "kind": {"errcode"}, "code": {"45009"}, "times": {"2"}, "status": {"x"}, "probability": {"0.5"}, "after": {"1"}})
	assert.Equal(t, "Ordered: errcode 45009 to 2 calls of /cgi-bin/user/get, each with probability 0.5, but not the first 1.", done)
	assert.Equal(t, "/#faults", location)
	s.do(t, "fault", url.Values{"path": {"*"}, "kind": {"http"}, "status": {"503"}, "body": {"busy"}})
	s.do(t, "fault", url.Values{"path": {"*"}, "kind": {"delay"}, "delay": {"3s"}, "code": {"-1"}})
	assert.Equal(t, []wechatusertest.Fault{
		{Path: "/cgi-bin/user/get", Kind: wechatusertest.FaultErrcode, Code: 45009, Times: 2, Probability: 0.5, After: 1},
		{Path: "*", Kind: wechatusertest.FaultHTTP, Status: 503, Body: "busy", Probability: 1},
		{Path: "*", Kind: wechatusertest.FaultDelay, Delay: 3 * time.Second, Probability: 1},
	}, s.account.Faults())
	assert.Contains(t, s.body(t, "/"), "<li>http 503 to all calls</li>")

	for says, form := range map[string]url.Values{
		`code: "x" is not a whole number`:        {"kind": {"errcode"}, "code": {"x"}},
		"needs a Code":                           {"kind": {"errcode"}},
		"needs a Status from 200 to 599, not 99": {"kind": {"http"}, "status": {"99"}},
		"needs a Delay":                          {"kind": {"delay"}},
		`delay: "soon" is not a time`:            {"kind": {"delay"}, "delay": {"soon"}},
		"there is no kind of fault":              {"kind": {"mishap"}},
		`probability: "0" is not above 0`:        {"kind": {"garbage"}, "probability": {"0"}},
		"the Probability 2 is not from 0 to 1":   {"kind": {"garbage"}, "probability": {"2"}},
		`probability: "often" is not a number`:   {"kind": {"garbage"}, "probability": {"often"}},
		"must not be below 0":                    {"kind": {"garbage"}, "times": {"-1"}},
		`the nearest one is "/cgi-bin/user/get"`: {"kind": {"garbage"}, "path": {"/cgi-bin/user/gets"}},
	} {
		failed, page := s.refuses(t, "fault", form)
		assert.Contains(t, failed, says)
		if kind := form.Get("kind"); kind == "http" {
			assert.Contains(t, page, `<option value="http" selected>`, "what was chosen is still there")
		}
	}

	done, _ = s.do(t, "clear", url.Values{})
	assert.Equal(t, "No faults any more.", done)
	assert.Empty(t, s.account.Faults())
}

func TestAdvance(t *testing.T) {
	s := newSandbox(t)
	_ = s.account.AccessToken()
	before := s.account.Now()

	done, location := s.do(t, "advance", url.Values{"by": {"2h"}})

	assert.Equal(t, "The account's clock is 2h0m0s further.", done)
	assert.Equal(t, "/#clock", location)
	assert.WithinRange(t, s.account.Now(), before.Add(2*time.Hour), before.Add(3*time.Hour))
	assert.Empty(t, s.page(filter{}).Tokens)
	for _, by := range []string{"", "0s", "-1h", "tomorrow"} {
		failed, _ := s.refuses(t, "advance", url.Values{"by": {by}})
		assert.Contains(t, failed, "by: ")
	}
}

func TestFormTooLarge(t *testing.T) {
	s := newSandbox(t)
	failed, _ := s.refuses(t, "follow", url.Values{"openids": {strings.Repeat("o", maxForm)}})
	assert.Contains(t, failed, "too large")
}

// TestAllActions: each action has a form or a button.
func TestAllActions(t *testing.T) {
	page := newSandbox(t, "-state", "x").body(t, "/")
	for name := range actions {
		assert.Contains(t, page, `action="/sandbox/`+name+`"`)
	}
}
