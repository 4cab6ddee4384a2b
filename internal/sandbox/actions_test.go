package sandbox

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
	assert.Equal(t, "Added followers: 3 users.", done)
	assert.Equal(t, "/?after=x&q=oFAKE#people", location, "the filter is kept")
	assert.Equal(t, []string{id(12), id(11), id(13), id(14)}, s.account.OpenIDs()[9:], "only new openids")

	done, _ = s.do(t, "follow", url.Values{"openids": {" oFAKEanna " + id(0)}, "count": {"7"}})
	assert.Equal(t, "Added followers: 2 users.", done)
	assert.Equal(t, 15, s.account.Totals().Followers)
	assert.Zero(t, s.account.Totals().Left)

	for _, count := range []string{"0", "", "-1", "100001", "many"} {
		failed, _ := s.doFails(t, "follow", url.Values{"count": {count}})
		assert.Contains(t, failed, "from 1 to 100000", count)
	}
	failed, page := s.doFails(t, "follow", url.Values{"openids": {"oFAKE1 <b>"}})
	assert.Contains(t, failed, `"<b>" is not an openid`)
	assert.Contains(t, page, `value="oFAKE1 &lt;b&gt;"`, "the input is kept")
}

func TestUnfollowAndBlock(t *testing.T) {
	s := newSandbox(t, "-fans", "100")
	vip := s.account.AddTag("vip", id(60), id(61), id(62))
	before := s.account.Snapshot()

	done, _ := s.do(t, "block", url.Values{"openid": {id(1), id(2)}})
	assert.Equal(t, "Blocked: 2 users.", done)
	assert.Equal(t, []string{id(1), id(2)}, s.account.Blacklist())

	done, _ = s.do(t, "unblock", url.Values{"openid": {id(1)}})
	assert.Equal(t, "Unblocked: "+id(1)+".", done)
	assert.Equal(t, []string{id(2)}, s.account.Blacklist())
	s.do(t, "unblock", url.Values{"first": {"5"}, "back": {"show=blocked"}})
	assert.Empty(t, before.Diff(s.account.Snapshot()), "nothing else has changed")

	done, _ = s.do(t, "unfollow", url.Values{"first": {"2"}, "back": {"tag=" + strconv.Itoa(vip)}})
	assert.Equal(t, "Unfollowed: 2 users.", done)
	assert.Equal(t, []string{id(62)}, s.account.TagFans(vip))
	assert.Equal(t, 98, s.account.Totals().Followers)

	for _, action := range []string{"block", "unblock", "unfollow", "tag", "untag"} {
		failed, _ := s.doFails(t, action, url.Values{"openid": {id(1), "oFAKEstranger"}, "tag": {"2"}})
		assert.Equal(t, `unknown openid "oFAKEstranger"`, failed)
	}
	for _, action := range []string{"block", "unblock", "unfollow", "tag", "untag"} {
		failed, _ := s.doFails(t, action, url.Values{"tag": {"2"}})
		assert.Contains(t, failed, "no users selected", action)
		failed, _ = s.doFails(t, action, url.Values{"tag": {"2"}, "first": {"some"}})
		assert.Contains(t, failed, `"some" is not a positive number`, action)
	}
}

func TestTags(t *testing.T) {
	s := newSandbox(t, "-fans", "30")
	done, location := s.do(t, "newtag", url.Values{"name": {"会员"}})
	assert.Equal(t, `Created tag 100 "会员".`, done)
	assert.Equal(t, "/#tags", location)
	for name, want := range map[string]string{"会员": "45157", "": "45157", strings.Repeat("会", 11): "45158"} {
		failed, _ := s.doFails(t, "newtag", url.Values{"name": {name}})
		assert.Contains(t, failed, want)
	}

	gold := s.account.AddTag("gold", id(1))
	s.account.AddUsers(wechatuser.UserInfo{
		OpenID: id(2), Remark: "老客户", UnionID: "oFAKEunion", GroupID: 7, SubscribeScene: wechatuser.SceneQRCode,
	})
	before := s.account.Snapshot()
	done, _ = s.do(t, "tag", url.Values{"openid": {id(1), id(2), id(3)}, "tag": {"100"}})
	assert.Equal(t, "Tagged with 会员: 3 users.", done)
	s.do(t, "tag", url.Values{"openid": {id(1)}, "tag": {"100"}})
	assert.Equal(t, []string{id(1), id(2), id(3)}, s.account.TagFans(100))
	assert.Equal(t, []string{id(1)}, s.account.TagFans(gold))

	done, _ = s.do(t, "untag", url.Values{"first": {"50"}, "tag": {"100"}, "back": {"tag=100"}})
	assert.Equal(t, "Removed tag 会员 from: 3 users.", done)
	assert.Empty(t, before.Diff(s.account.Snapshot()), "remark, profile and other tags are unchanged")

	s.do(t, "tag", url.Values{"openid": {id(4)}, "tag": {"2"}})
	assert.Equal(t, 1, s.page(filter{}, english).Tags[0].Count, "the built-in star tag")

	for _, tag := range []string{"", "0", "999", "x"} {
		failed, _ := s.doFails(t, "tag", url.Values{"openid": {id(1)}, "tag": {tag}})
		assert.Contains(t, failed, "no tag selected")
	}
	s.account.Unfollow(id(9))
	failed, page := s.doFails(t, "tag", url.Values{"openid": {id(8), id(9)}, "tag": {"100"}})
	assert.Equal(t, id(9)+" is not a follower", failed)
	assert.Contains(t, page, `value="`+id(8)+`" checked`, "the selection is kept")
	assert.Contains(t, page, `<option value="100" selected>`)
	for i := range 20 {
		s.account.AddTag("tag"+strconv.Itoa(i), id(10))
	}
	failed, _ = s.doFails(t, "tag", url.Values{"openid": {id(10)}, "tag": {"100"}})
	assert.Contains(t, failed, "has 20 tags")
}

// The whole list is all users that the filter selects, on whatever page it is.
func TestWholeList(t *testing.T) {
	s := newSandbox(t, "-fans", "120")
	vip := s.account.AddTag("vip", s.account.OpenIDs()[:70]...)
	back := "after=" + id(49) + "&tag=" + strconv.Itoa(vip)

	done, _ := s.do(t, "block", url.Values{"all": {"1"}, "openid": {id(99)}, "back": {back}})

	assert.Equal(t, "Blocked: 70 users.", done)
	assert.Equal(t, s.account.OpenIDs()[:70], s.account.Blacklist())
	s.do(t, "unfollow", url.Values{"all": {"1"}})
	assert.Empty(t, s.account.OpenIDs())
	failed, _ := s.doFails(t, "block", url.Values{"all": {"1"}})
	assert.Contains(t, failed, "no users selected")
}

func TestRemark(t *testing.T) {
	s := newSandbox(t, "-fans", "2")
	back := "user=" + id(1)

	done, location := s.do(t, "remark", url.Values{"openid": {id(1)}, "remark": {" 老客户 "}, "back": {back}})

	assert.Equal(t, "Saved the remark of "+id(1)+".", done)
	assert.Equal(t, "/?user="+id(1)+"#profile", location, "the profile stays open")
	u, _ := s.account.User(id(1))
	assert.Equal(t, "老客户", u.Remark)
	s.do(t, "remark", url.Values{"openid": {id(1)}, "remark": {strings.Repeat("长", 30)}})
	s.account.Unfollow(id(0))
	for want, form := range map[string]url.Values{
		"at most 30 characters":          {"openid": {id(1)}, "remark": {strings.Repeat("长", 31)}},
		"no line breaks":                 {"openid": {id(1)}, "remark": {"a\nb"}},
		`unknown openid "oFAKEstranger"`: {"openid": {"oFAKEstranger"}},
		id(0) + " is not a follower":     {"openid": {id(0)}},
	} {
		failed, _ := s.doFails(t, "remark", form)
		assert.Contains(t, failed, want)
	}
	_, page := s.doFails(t, "remark", url.Values{"openid": {id(1)}, "remark": {"a\tb"}, "back": {back}})
	assert.Contains(t, page, "value=\"a\tb\"", "the input is kept")
}

func TestRevoke(t *testing.T) {
	s := newSandbox(t)
	c := s.account.Client()
	_, err := c.GetTags(t.Context())
	require.NoError(t, err)

	done, location := s.do(t, "revoke", url.Values{})

	assert.Contains(t, done, "now fail with 40001")
	assert.Equal(t, "/#tokens", location)
	assert.Empty(t, s.page(filter{}, english).Tokens)
	_, err = c.GetTags(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 2, s.account.Calls("/cgi-bin/stable_token"))
}

func TestFaults(t *testing.T) {
	s := newSandbox(t)
	done, location := s.do(t, "fault", url.Values{
		"path": {"/cgi-bin/user/get"}, "kind": {"errcode"}, "code": {"45009"}, "times": {"2"}, "status": {"x"},
		"probability": {"0.5"}, "after": {"1"},
	})
	assert.Equal(t, "Added fault: "+s.account.Faults()[0].String()+".", done)
	assert.Equal(t, "/#faults", location)
	s.do(t, "fault", url.Values{"path": {"*"}, "kind": {"http"}, "status": {"503"}, "body": {"busy"}})
	s.do(t, "fault", url.Values{"path": {"*"}, "kind": {"delay"}, "delay": {"3s"}, "code": {"-1"}})
	assert.Equal(t, []wechatusertest.Fault{
		{
			Path: "/cgi-bin/user/get", Kind: wechatusertest.FaultErrcode, Code: 45009, Times: 2, Probability: 0.5,
			After: 1,
		},
		{Path: "*", Kind: wechatusertest.FaultHTTP, Status: 503, Body: "busy", Probability: 1},
		{Path: "*", Kind: wechatusertest.FaultDelay, Delay: 3 * time.Second, Probability: 1},
	}, s.account.Faults())
	assert.Contains(t, s.body(t, "/"), "<li>"+s.account.Faults()[1].String()+"</li>")

	for want, form := range map[string]url.Values{
		`code: "x" is not a whole number`:      {"kind": {"errcode"}, "code": {"x"}},
		"needs a Code":                         {"kind": {"errcode"}},
		"Status from 200 to 599, not 99":       {"kind": {"http"}, "status": {"99"}},
		"needs a Delay":                        {"kind": {"delay"}},
		`delay: "soon" is not a duration`:      {"kind": {"delay"}, "delay": {"soon"}},
		`"mishap"`:                             {"kind": {"mishap"}},
		`probability: "0" is not above 0`:      {"kind": {"garbage"}, "probability": {"0"}},
		"Probability":                          {"kind": {"garbage"}, "probability": {"2"}},
		`probability: "often" is not a number`: {"kind": {"garbage"}, "probability": {"often"}},
		"Times":                                {"kind": {"garbage"}, "times": {"-1"}},
		`"/cgi-bin/user/get"`:                  {"kind": {"garbage"}, "path": {"/cgi-bin/user/gets"}},
	} {
		failed, page := s.doFails(t, "fault", form)
		assert.Contains(t, failed, want)
		if kind := form.Get("kind"); kind == "http" {
			assert.Contains(t, page, `<option value="http" selected>`, "the input is kept")
		}
	}

	done, _ = s.do(t, "clear", url.Values{})
	assert.Equal(t, "Cleared all faults.", done)
	assert.Empty(t, s.account.Faults())
}

func TestAdvance(t *testing.T) {
	s := newSandbox(t)
	_ = s.account.AccessToken()
	before := s.account.Now()

	done, location := s.do(t, "advance", url.Values{"by": {"2h"}})

	assert.Equal(t, "Advanced the clock by 2h0m0s.", done)
	assert.Equal(t, "/#clock", location)
	assert.WithinRange(t, s.account.Now(), before.Add(2*time.Hour), before.Add(3*time.Hour))
	assert.Empty(t, s.page(filter{}, english).Tokens)
	for _, by := range []string{"", "0s", "-1h", "tomorrow"} {
		failed, _ := s.doFails(t, "advance", url.Values{"by": {by}})
		assert.Contains(t, failed, "by: ")
	}
}

func TestFormTooLarge(t *testing.T) {
	s := newSandbox(t)
	failed, _ := s.doFails(t, "follow", url.Values{"openids": {strings.Repeat("o", maxForm)}})
	assert.Contains(t, failed, "too large")
}

// Every action has a form or a button on the page.
func TestPageHasAllActions(t *testing.T) {
	page := newSandbox(t, "-state", "x").body(t, "/?user="+id(0))
	for name := range actions {
		assert.Contains(t, page, `action="/sandbox/`+name+`"`)
	}
}
