package sandbox

import (
	"encoding/json"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// newSandbox returns a sandbox without a socket.
func newSandbox(t *testing.T, args ...string) *sandbox {
	t.Helper()
	set, err := parse(append([]string{"-appid", testAppID, "-secret", testSecret}, args...)...)
	require.NoError(t, err)
	account, err := set.account(io.Discard)
	require.NoError(t, err)
	return &sandbox{
		account: account, quirks: set.quirks, state: &StateFile{Path: set.state, Account: account},
		guard: newGuard("127.0.0.1:8080", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}),
	}
}

func (s *sandbox) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, r)
	return w
}

func request(method, path string, form url.Values) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// body returns the page.
func (s *sandbox) body(t *testing.T, path string) string {
	t.Helper()
	w := s.serve(request(http.MethodGet, path, nil))
	require.Equal(t, http.StatusOK, w.Code)
	return w.Body.String()
}

// do posts a form, and returns the message on the page after the redirect.
func (s *sandbox) do(t *testing.T, action string, form url.Values) (done, location string) {
	t.Helper()
	w := s.serve(request(http.MethodPost, "/sandbox/"+action, form))
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	location = w.Header().Get("Location")
	path, _, _ := strings.Cut(location, "#")
	r := request(http.MethodGet, path, nil)
	for _, cookie := range w.Result().Cookies() {
		r.AddCookie(cookie)
	}
	page := s.serve(r)
	require.Equal(t, http.StatusOK, page.Code)
	assert.Contains(t, page.Header().Get("Set-Cookie"), "Max-Age=0", "the message is shown once")
	return part(page.Body.String(), "done"), location
}

// doFails posts an invalid form, asserts that it changes nothing, and returns the error on the page.
func (s *sandbox) doFails(t *testing.T, action string, form url.Values) (failed, page string) {
	t.Helper()
	before := s.account.Snapshot()
	faults := s.account.Faults()
	w := s.serve(request(http.MethodPost, "/sandbox/"+action, form))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	assert.Empty(t, before.Diff(s.account.Snapshot()))
	assert.Equal(t, faults, s.account.Faults())
	return part(w.Body.String(), "failed"), w.Body.String()
}

// part returns the text of the element with an ID.
func part(page, id string) string {
	_, rest, _ := strings.Cut(page, `id="`+id+`">`)
	text, _, _ := strings.Cut(rest, "</p>")
	return html.UnescapeString(strings.TrimPrefix(text, "<b>Failed:</b> "))
}

func TestPageOfAnEmptyAccount(t *testing.T) {
	s := newSandbox(t, "-fans", "0")

	p := s.page(filter{}, english)

	assert.Zero(t, p.Totals)
	assert.Empty(t, p.People.List)
	assert.Empty(t, p.Last)
	assert.Empty(t, p.Tokens)
	assert.Empty(t, p.Quotas)
	assert.Empty(t, p.Quirks)
	assert.Equal(t, []wechatuser.Tag{{ID: 2, Name: "星标组"}}, p.Tags)
	page := s.body(t, "/")
	for _, text := range []string{
		"No followers yet.", "No calls yet. In an SDK", "No valid token.", "none (strict)",
		`<p class="empty">None.</p>`, `<p class="empty">No calls yet.</p>`,
	} {
		assert.Contains(t, page, text)
	}
}

// Following the links to the next page shows every follower once.
func TestPagination(t *testing.T) {
	s := newSandbox(t, "-fans", "3017")
	var seen []string
	address, pages := "/", 0
	for address != "" {
		u, err := url.Parse(address)
		require.NoError(t, err)
		p := s.page(readFilter(u.Query()), english)
		assert.Equal(t, address == "/", p.People.First == "")
		for _, one := range p.People.List {
			seen = append(seen, one.OpenID)
		}
		address = p.People.Next
		pages++
	}
	assert.Equal(t, s.account.OpenIDs(), seen)
	assert.Equal(t, 61, pages)

	page := s.body(t, "/")
	assert.Contains(t, page, "<b>3,017</b> followers")
	assert.Contains(t, page, `href="/?after=`+wechatusertest.OpenID(49)+`#people" rel="next"`)
	onePage := newSandbox(t, "-fans", "50")
	assert.Empty(t, onePage.page(filter{}, english).People.Next)
}

func TestFilters(t *testing.T) {
	s := newSandbox(t, "-fans", "100")
	a := s.account
	vip := a.AddTag("vip", wechatusertest.OpenID(3), wechatusertest.OpenID(4))
	a.Block(wechatusertest.OpenID(4), wechatusertest.OpenID(5))
	a.Unfollow(wechatusertest.OpenID(6))
	a.AddUsers(wechatuser.UserInfo{OpenID: "oFAKEnick", Nickname: "小明"})

	for query, want := range map[string][]string{
		"tag=100":                        {wechatusertest.OpenID(3), wechatusertest.OpenID(4)},
		"tag=100&show=blocked":           {wechatusertest.OpenID(4)},
		"show=blocked":                   {wechatusertest.OpenID(4), wechatusertest.OpenID(5)},
		"show=left":                      {wechatusertest.OpenID(6)},
		"q=%E5%B0%8F%E6%98%8E":           {"oFAKEnick"},
		"q=+" + wechatusertest.OpenID(7): {wechatusertest.OpenID(7)},
		"tag=99":                         nil,
		"tag=100&after=" + wechatusertest.OpenID(3): {wechatusertest.OpenID(4)},
	} {
		q, err := url.ParseQuery(query)
		require.NoError(t, err)
		var got []string
		for _, one := range s.page(readFilter(q), english).People.List {
			got = append(got, one.OpenID)
		}
		assert.Equal(t, want, got, query)
	}
	assert.Equal(t, filter{}, readFilter(url.Values{"tag": {"x"}, "show": {"all"}}))

	p := s.page(filter{TagID: vip}, english)
	assert.Equal(t, []wechatuser.Tag{{ID: vip, Name: "vip", Count: 2}}, p.People.List[0].Tags)
	assert.Contains(t, s.body(t, "/?tag=100"), `<option value="100" selected>vip (2)</option>`)
	assert.Contains(t, s.body(t, "/?show=left"), `<span class="badge">unfollowed</span>`)
	assert.Contains(t, s.body(t, "/?tag=99"), "No matches.")
}

func TestProfile(t *testing.T) {
	s := newSandbox(t, "-fans", "3")
	vip := s.account.AddTag("vip", id(1))
	s.account.AddUsers(wechatuser.UserInfo{
		OpenID: "oFAKEanna", Remark: "about " + id(1), UnionID: "oFAKEunion", Nickname: "小明", TagIDList: []int{vip},
		SubscribeTime: 1773115200, SubscribeScene: wechatuser.SceneQRCode, QRSceneStr: "shop-7",
	})
	s.account.Block("oFAKEanna")

	page := s.body(t, "/?q=oFAKE&user=oFAKEanna")
	for _, text := range []string{
		"<code>oFAKEanna</code>", "<code>oFAKEunion</code>", "小明", "2026-03-10 12:00:00", "ADD_SCENE_QR_CODE", "shop-7",
		`value="about ` + id(1) + `"`, `aria-label="Remove tag vip"`, ">Unblock</button>", ">Unfollow</button>",
		`href="/?q=oFAKE#people"`, "&#34;subscribe_scene&#34;: &#34;ADD_SCENE_QR_CODE&#34;",
	} {
		assert.Contains(t, page, text)
	}
	assert.Equal(t, id(1), s.page(filter{User: id(1)}, english).User.OpenID, "not that of the remark")
	assert.Contains(t, s.body(t, "/?q="+id(2)), `href="/?q=`+id(2)+`&amp;user=`+id(2)+`#profile"`)

	s.account.Unfollow("oFAKEanna")
	page = s.body(t, "/?user=oFAKEanna")
	assert.Contains(t, page, ">Follow again</button>")
	assert.NotContains(t, page, `action="/sandbox/remark"`)
	s.do(t, "follow", url.Values{"openid": {"oFAKEanna"}, "openids": {"oFAKEanna"}, "back": {"user=oFAKEanna"}})
	assert.Contains(t, s.account.OpenIDs(), "oFAKEanna")

	assert.NotContains(t, s.body(t, "/?user=oFAKEstranger"), `id="profile"`)
	assert.Nil(t, s.page(filter{}, english).User)
}

// The list says how many users it has if that is known without a search.
func TestListedUsers(t *testing.T) {
	s := newSandbox(t, "-fans", "70")
	vip := s.account.AddTag("vip", id(1), id(2))
	s.account.Unfollow(id(3))
	for want, f := range map[int]filter{69: {}, 2: {TagID: vip}, 1: {Show: "left"}} {
		assert.Equal(t, want, s.page(f, english).People.Total)
	}
	for _, f := range []filter{{Text: "x"}, {Show: "blocked"}, {Show: "left", TagID: vip}, {TagID: 999}} {
		assert.Zero(t, s.page(f, english).People.Total)
	}
}

// A failed call is shown with its rid and meaning, without tokens and secrets.
func TestRecentCalls(t *testing.T) {
	s := newSandbox(t, "-quotas", "/cgi-bin/user/get=1")
	c := s.account.Client(wechatuser.WithRetry(wechatuser.RetryPolicy{}))
	_, err := c.GetFans(t.Context(), "")
	require.NoError(t, err)
	_, err = c.GetFans(t.Context(), "")
	var apiErr *wechatuser.Error
	require.ErrorAs(t, err, &apiErr)
	s.account.Fault(wechatusertest.Fault{Path: "/cgi-bin/tags/get", Kind: wechatusertest.FaultHTTP, Status: 502})
	_, err = c.GetTags(t.Context())
	require.Error(t, err)
	token := s.account.AccessToken()
	_ = s.serve(request(http.MethodGet, "/cgi-bin/"+token+"/"+testSecret+"?odd="+testSecret, nil))

	p := s.page(filter{}, english)

	require.GreaterOrEqual(t, len(p.Last), 5)
	odd, last, first := p.Last[0], p.Last[1], p.Last[len(p.Last)-1]
	assert.Equal(t, "(unknown)", odd.API)
	assert.Equal(t, "/cgi-bin/xxxx/xxxx", odd.Path)
	assert.Equal(t, "odd=xxxx", odd.Request)
	assert.Equal(t, 502, last.Status)
	assert.Equal(t, wechatusertest.FaultHTTP, last.Fault)
	assert.Equal(t, "getStableAccessToken", first.API)
	assert.Contains(t, first.Request, `"secret":"xxxx"`)
	over := p.Last[len(p.Last)-3]
	assert.Equal(t, 45009, over.Code)
	assert.Equal(t, apiErr.RID, over.RID)
	assert.Equal(t, wechatuser.CodeDailyQuotaExceeded.Meaning(), over.Meaning)
	assert.Equal(t, []string{"stable"}, kinds(p.Tokens))

	page := s.body(t, "/")
	assert.Contains(t, page, apiErr.RID)
	assert.Contains(t, page, `<span class="full">1</span> of 1`)
	assert.NotContains(t, page, testSecret)
	assert.NotContains(t, page, token)
	assert.Equal(t, len(p.Last), p.Calls+1, "the unknown path and the page itself are not counted")
}

func kinds(list []token) (kinds []string) {
	for _, t := range list {
		if t.Replaced {
			t.Kind += " replaced"
		}
		kinds = append(kinds, t.Kind)
	}
	return kinds
}

func TestTokens(t *testing.T) {
	s := newSandbox(t)
	for range 2 {
		query := "?grant_type=client_credential&appid=" + testAppID + "&secret=" + testSecret
		_ = s.serve(request(http.MethodGet, "/cgi-bin/token"+query, nil))
	}
	_ = s.account.AccessToken()
	assert.Equal(t, []string{"legacy replaced", "legacy", "stable"}, kinds(s.page(filter{}, english).Tokens))
}

func TestQuirks(t *testing.T) {
	s := newSandbox(t, "-quirks", "wild", "-latency", "30ms")
	p := s.page(filter{}, english)
	for _, name := range []string{"SystemBusy 0.02", "Latency 30ms", "RawControl"} {
		assert.Contains(t, p.Quirks, name)
	}
	assert.Contains(t, s.body(t, "/"), `<li class="badge">SystemBusy 0.02</li>`)
}

// User input is escaped everywhere on the page.
func TestScriptInjection(t *testing.T) {
	const evil = `<script>alert(1)</script>"'`
	s := newSandbox(t, "-fans", "0")
	tag := s.account.AddTag(`"><script>`)
	s.account.AddUsers(wechatuser.UserInfo{
		OpenID: "oFAKE" + evil, Remark: evil, Nickname: evil, TagIDList: []int{tag},
	})
	_ = s.serve(request(http.MethodPost, "/cgi-bin/x?a="+url.QueryEscape(evil), url.Values{"b": {evil}}))
	_ = s.serve(httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8080/cgi-bin/%3Cscript%3Ealert(1)",
		strings.NewReader(`{"a":"<script>alert(1)"}`)))

	failed, failedPage := s.doFails(t, "newtag", url.Values{"name": {evil + evil}})
	assert.Contains(t, failed, "<script>", "unescaped here, escaped in the page below")

	withFlash := request(http.MethodGet, "/?q="+url.QueryEscape(evil), nil)
	w := httptest.NewRecorder()
	setFlash(w, evil)
	withFlash.AddCookie(w.Result().Cookies()[0])
	profile := "/?user=" + url.QueryEscape("oFAKE"+evil)
	for _, page := range []string{s.body(t, "/"), s.body(t, profile), failedPage, s.serve(withFlash).Body.String()} {
		assert.Equal(t, 1, strings.Count(page, "<script"), "the script of the page")
		assert.Contains(t, page, "&lt;script&gt;")
	}
	r := s.serve(request(http.MethodGet, "/", nil))
	policy := r.Header().Get("Content-Security-Policy")
	assert.Contains(t, policy, "default-src 'none'")
	assert.Contains(t, policy, "frame-ancestors 'none'")
	assert.NotContains(t, policy, "unsafe")
}

// Other sites can neither post forms nor read the page by DNS rebinding.
func TestCrossSiteRequests(t *testing.T) {
	s := newSandbox(t, "-fans", "1")
	post := func(change func(*http.Request)) int {
		r := request(http.MethodPost, "/sandbox/follow", url.Values{"count": {"1"}})
		change(r)
		return s.serve(r).Code
	}
	for name, change := range map[string]func(*http.Request){
		"Sec-Fetch-Site": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"same site":      func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"Origin":         func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
		"another port":   func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:9999") },
		"Host": func(r *http.Request) {
			r.Host = "evil.example:8080"
			r.Header.Set("Origin", "http://evil.example:8080")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		},
	} {
		assert.Equal(t, http.StatusForbidden, post(change), name)
	}
	assert.Equal(t, 1, s.account.Totals().Followers)
	r := request(http.MethodGet, "/", nil)
	r.Host = "evil.example"
	w := s.serve(r)
	assert.Equal(t, http.StatusForbidden, w.Code)
	assert.Contains(t, w.Body.String(), "as Host")

	assert.Equal(t, http.StatusSeeOther, post(func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }))
	assert.Equal(t, http.StatusSeeOther, post(func(*http.Request) {}), "curl sends neither header")
	assert.Equal(t, 3, s.account.Totals().Followers)
}

func TestHosts(t *testing.T) {
	for addr, want := range map[string]map[string]bool{
		"127.0.0.1:8080": {
			"127.0.0.1:8080": true, "127.0.0.1": true, "localhost:99": true, "[::1]:8080": true,
			"192.0.2.1:8080": false, "sandbox": false, "": false,
		},
		"192.0.2.1:8080":   {"192.0.2.1:8080": true, "192.0.2.2:8080": false, "localhost": true},
		"0.0.0.0:8080":     {"192.0.2.1:8080": true, "evil.example": false, "localhost": true},
		":8080":            {"192.0.2.1:8080": true, "": false},
		"sandbox.lan:8080": {"sandbox.lan:8080": true, "SANDBOX.lan": true, "evil.example": false},
	} {
		ip, _, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		at := net.ParseIP(ip)
		switch ip {
		case "":
			at = net.IPv6unspecified
		case "sandbox.lan":
			at = net.IPv4(192, 0, 2, 7)
		}
		g := newGuard(addr, &net.TCPAddr{IP: at, Port: 8080})
		assert.Equal(t, addr != "127.0.0.1:8080", g.exposed, addr)
		for host, ours := range want {
			assert.Equal(t, ours, g.isOurs(host), "Host %q at %s", host, addr)
		}
	}
}

// All paths but those of the page go to the account, even if they are not clean.
func TestAccountPaths(t *testing.T) {
	s := newSandbox(t)
	for _, c := range []struct{ method, path string }{
		{"GET", "/nothing"}, {"POST", "/"}, {"GET", "//"}, {"GET", "/cgi-bin/../"}, {"GET", "/sandbox"},
		{"GET", "/sandbox/nothing"},
		{"POST", "/sandbox/nothing"}, {"DELETE", "/sandbox/follow"}, {"GET", "/favicon.ico"},
	} {
		w := s.serve(request(c.method, c.path, nil))
		assert.Equal(t, http.StatusOK, w.Code, c)
		var resp struct{ Errcode int }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &resp), "%v: %s", c, w.Body)
		assert.Equal(t, 40066, resp.Errcode, c)
	}
	r := request(http.MethodGet, "/cgi-bin/user/get?access_token="+s.account.AccessToken(), nil)
	r.Host = "sandbox:8080" // such as from another container
	assert.Contains(t, s.serve(r).Body.String(), `"total":1000`)

	assert.Equal(t, "/", s.serve(request(http.MethodGet, "/sandbox/follow", nil)).Header().Get("Location"))
	for _, file := range []string{"style.css", "page.js", "icon.svg"} {
		assert.Equal(t, http.StatusOK, s.serve(request(http.MethodGet, "/sandbox/static/"+file, nil)).Code, file)
	}
}

func TestSave(t *testing.T) {
	noFile := newSandbox(t)
	failed, page := noFile.doFails(t, "save", url.Values{})
	assert.Contains(t, failed, "-state account.json")
	assert.Contains(t, page, "<button disabled")

	file := filepath.Join(t.TempDir(), "account.json")
	s := newSandbox(t, "-fans", "3", "-state", file)
	done, _ := s.do(t, "save", url.Values{})
	assert.Equal(t, "Saved to "+file+".", done)
	other := newSandbox(t, "-fans", "0", "-state", file)
	require.NoError(t, other.state.Open())
	assert.Empty(t, s.account.Snapshot().Diff(other.account.Snapshot()))

	noFolder := newSandbox(t, "-state", filepath.Join(t.TempDir(), "gone", "account.json"))
	failed, _ = noFolder.doFails(t, "save", url.Values{})
	assert.Contains(t, failed, "cannot save the account")
}
