package sandbox

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

//go:embed templates static
var files embed.FS

// pageHTML has the page in each language. The texts stand side by side in the template.
var pageHTML = map[language]*template.Template{english: parsePage(english), chinese: parsePage(chinese)}

func parsePage(l language) *template.Template {
	return template.Must(template.New("page.html").Funcs(template.FuncMap{
		"t": l.tr, "number": number, "moment": moment, "tagLink": tagLink,
		"describe": func(f wechatusertest.Fault) string { return describe(f, l) },
		"kind":     func(k wechatusertest.FaultKind) string { return kindName(k, l) },
		"mode":     func(m wechatusertest.PushMode) string { return modeName(m, l) },
		"status":   func(s wechatusertest.PushStatus) string { return statusName(s, l) },
		"meaning":  func(c wechatuser.Code) string { return meaning(c, l) },
	}).ParseFS(files, "templates/*.html"))
}

// page holds the data of the template.
type page struct {
	Lang    string
	Self    string // URL of the page, with the filter of the followers
	Query   string // query of Self
	Base    string
	AppID   string
	Warning string
	Done    string // result of the last action
	Failed  string // error of the last action
	State   string // name of the state file

	Now    string
	Totals wechatusertest.Totals
	Calls  int // since the start
	Quirks []string
	People people
	User   *profile         // the user whose profile is open
	Tags   []wechatuser.Tag // the platform's star tag is first
	Tokens []token
	Quotas []wechatusertest.QuotaState // of the APIs with calls or a limit
	Faults []wechatusertest.Fault
	Last   []call // newest first
	Pushes pushes

	Form  url.Values // values of the fields: those of a failed form, or the defaults
	Paths []wechatusertest.QuotaState
	Kinds []wechatusertest.FaultKind
	Codes []wechatuser.Code
}

// Ticked reports whether a user was selected in a form that has failed, so that the selection is not lost.
func (p *page) Ticked(openID string) bool {
	return slices.Contains(p.Form["openid"], openID) && openID != p.People.User
}

type people struct {
	filter
	List  []person
	Total int    // number of users in the list, 0 if it is not known
	Next  string // URL of the next page, empty on the last one
	First string // URL of the first page, empty on that page
}

type person struct {
	wechatusertest.UserState
	Tags []wechatuser.Tag
}

// Link returns the URL of the page with the profile of a user open.
func (p people) Link(openID string) string {
	p.User = openID
	return p.anchor(partProfile)
}

// profile is the profile of one user.
type profile struct {
	person
	Info  wechatuser.UserInfo // as the platform returns it
	JSON  string
	Close string // URL of the page without the profile
}

type token struct {
	Redacted, Kind string
	ExpiresAt      time.Time
	Replaced       bool // a newer token has shortened its life
}

type call struct {
	Time, API, Method, Path string
	Status                  int
	Code                    int
	Meaning                 string
	RID                     string
	Fault                   wechatusertest.FaultKind
	Duration, ClientIP      string
	Request                 string // query and body
}

// show serves the page.
func (s *sandbox) show(w http.ResponseWriter, r *http.Request) {
	l := preferred(r.Header.Get("Accept-Language"))
	p := s.page(readFilter(r.URL.Query()), l)
	p.Base = "http://" + r.Host
	p.Done = takeFlash(w, r)
	render(w, http.StatusOK, p, l)
}

func render(w http.ResponseWriter, status int, p *page, l language) {
	var body bytes.Buffer
	if err := pageHTML[l].Execute(&body, p); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", l.tag())
	h.Set("Vary", "Accept-Language")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "+
		"img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // fails only if the client has disconnected
}

// page returns the current state of the account.
func (s *sandbox) page(f filter, l language) *page {
	a := s.account
	p := &page{
		Lang: l.tag(), Self: f.link(), Query: f.query(), AppID: a.AppID, State: s.state.Path,
		Now: moment(a.Now()), Totals: a.Totals(), Quirks: quirkNames(s.quirks),
		Tags: s.tags(), Tokens: tokens(a.Tokens()), Faults: a.Faults(), Paths: a.Quotas(),
		Pushes: s.pushPart(),
		Form: url.Values{
			"path": {"*"}, "kind": {"errcode"}, "code": {"-1"}, "status": {"502"},
			"times": {"1"}, "probability": {"1"}, "after": {"0"}, "count": {"10"},
		},
		Kinds: faultKinds, Codes: wechatuser.Codes(),
	}
	if s.guard.exposed {
		p.Warning = exposedWarning.in(l)
	}
	for _, q := range p.Paths {
		p.Calls += q.Calls
		if q.Calls > 0 || q.PerDay > 0 || q.PerMinute > 0 {
			p.Quotas = append(p.Quotas, q)
		}
	}
	for _, r := range slices.Backward(a.Requests()) {
		p.Last = append(p.Last, newCall(r, a.Secret, l))
	}
	p.People = s.people(f, p)
	p.User = s.profile(f, p.Tags)
	return p
}

// starTag is the ID of the platform's built-in tag for followers.
const starTag = 2

func (s *sandbox) tags() []wechatuser.Tag {
	star := wechatuser.Tag{ID: starTag, Name: "星标组", Count: len(s.account.TagFans(starTag))}
	return append([]wechatuser.Tag{star}, s.account.Tags()...)
}

// filter selects the users of the list.
type filter struct {
	Text  string // part of the openid, unionid, remark or nickname
	TagID int
	Show  string // "" for followers, "blocked" or "left"
	After string // cursor: the openid before the first one of the page
	User  string // openid whose profile is open; it selects nobody
}

func readFilter(q url.Values) filter {
	f := filter{
		Text: strings.TrimSpace(q.Get("q")), Show: q.Get("show"), After: q.Get("after"), User: q.Get("user"),
	}
	f.TagID, _ = strconv.Atoi(q.Get("tag")) // an invalid value is no filter
	if f.Show != "blocked" && f.Show != "left" {
		f.Show = ""
	}
	return f
}

func (f filter) query() string {
	q := url.Values{}
	for name, value := range map[string]string{"q": f.Text, "show": f.Show, "after": f.After, "user": f.User} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.TagID != 0 {
		q.Set("tag", strconv.Itoa(f.TagID))
	}
	return q.Encode()
}

// link returns the URL of the page with this filter.
func (f filter) link() string { return f.anchor(partPeople) }

func (f filter) anchor(part string) string {
	return (&url.URL{Path: "/", RawQuery: f.query(), Fragment: part}).String()
}

// Filtered reports whether the list leaves out followers.
func (f filter) Filtered() bool { return f.Text != "" || f.TagID != 0 || f.Show != "" }

func tagLink(id int) string { return filter{TagID: id}.link() }

func (f filter) find(a *wechatusertest.Server, limit int) []wechatusertest.UserState {
	return a.FindUsers(wechatusertest.UserFilter{
		Text: f.Text, TagID: f.TagID, Blocked: f.Show == "blocked", Left: f.Show == "left", After: f.After, Limit: limit,
	})
}

// pageSize is the number of users on a page.
const pageSize = 50

func (s *sandbox) people(f filter, of *page) people {
	p := people{filter: f, Total: of.listed(f)}
	found := f.find(s.account, pageSize+1)
	if len(found) > pageSize {
		found = found[:pageSize]
		next := f
		next.After = found[pageSize-1].OpenID
		p.Next = next.link()
	}
	if f.After != "" {
		first := f
		first.After = ""
		p.First = first.link()
	}
	for _, u := range found {
		p.List = append(p.List, newPerson(u, of.Tags))
	}
	return p
}

// listed returns how many users a filter selects, or 0 if the whole account would have to be searched for that.
func (p *page) listed(f filter) int {
	switch {
	case f.Text != "" || f.Show == "blocked" || f.Show == "left" && f.TagID != 0:
		return 0
	case f.Show == "left":
		return p.Totals.Left
	case f.TagID == 0:
		return p.Totals.Followers
	}
	for _, t := range p.Tags {
		if t.ID == f.TagID {
			return t.Count
		}
	}
	return 0
}

func newPerson(u wechatusertest.UserState, tags []wechatuser.Tag) person {
	one := person{UserState: u}
	for _, t := range tags {
		if slices.Contains(u.TagIDList, t.ID) {
			one.Tags = append(one.Tags, t)
		}
	}
	return one
}

// profile returns the profile that is open, or nil.
func (s *sandbox) profile(f filter, tags []wechatuser.Tag) *profile {
	state, found := s.lookUp(f.User)
	if !found {
		return nil
	}
	info, _ := s.account.User(f.User)
	f.User = ""
	return &profile{person: newPerson(state, tags), Info: info, JSON: prettyJSON(info), Close: f.link()}
}

// lookUp returns a user, who may have left.
func (s *sandbox) lookUp(openID string) (wechatusertest.UserState, bool) {
	info, known := s.account.User(openID)
	if !known {
		return wechatusertest.UserState{}, false
	}
	for _, u := range s.account.FindUsers(wechatusertest.UserFilter{
		Text: openID, Left: !info.Subscribed(), Limit: math.MaxInt, // another user's remark may hold this openid
	}) {
		if u.OpenID == openID {
			return u, true
		}
	}
	return wechatusertest.UserState{}, false // unfollowed meanwhile
}

// Since returns when the user has followed the account.
func (p *profile) Since() time.Time { return time.Unix(p.SubscribeTime, 0) }

func prettyJSON(v any) string {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(text.String())
}

func tokens(states []wechatusertest.TokenState) []token {
	list := make([]token, len(states))
	for i, t := range states {
		list[i] = token{Redacted: t.Masked, Kind: "legacy", ExpiresAt: t.Expires}
		if t.Stable {
			list[i].Kind = "stable"
		}
		if !t.Revoked.IsZero() {
			list[i].ExpiresAt, list[i].Replaced = t.Revoked, true
		}
	}
	return list
}

func newCall(r wechatusertest.Request, secret string, l language) call {
	c := call{
		Time: r.Time.In(beijing).Format(time.TimeOnly), API: apiOf(r), Method: r.Method, Path: pathOf(r, secret),
		Status: r.Status, Code: int(r.Errcode), RID: r.RID, Fault: r.Fault,
		Duration: formatDuration(r.Duration), ClientIP: r.ClientIP,
	}
	if r.Errcode != 0 {
		c.Meaning = meaning(r.Errcode, l)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.Query)) {
		parts = append(parts, name+"="+strings.Join(r.Query[name], ","))
	}
	if r.Body != nil {
		var body bytes.Buffer
		enc := json.NewEncoder(&body)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(r.Body) // it was decoded from JSON
		parts = append(parts, strings.TrimSpace(body.String()))
	}
	c.Request = redact(strings.Join(parts, "\n"), secret)
	return c
}

// meaning returns what an errcode means.
func meaning(c wechatuser.Code, l language) string {
	en := cmp.Or(c.Meaning(), c.Text())
	return l.tr(en, cmp.Or(c.MeaningZH(), en))
}

// quirkNames lists the quirks of the account, such as "SystemBusy 0.02".
func quirkNames(q wechatusertest.Quirks) []string {
	var names []string
	v := reflect.ValueOf(q)
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		switch {
		case field.IsZero() || name == "Seed":
		case field.Kind() == reflect.Bool:
			names = append(names, name)
		default:
			names = append(names, fmt.Sprint(name, " ", field.Interface()))
		}
	}
	return names
}

func moment(t time.Time) string { return t.In(beijing).Format(time.DateTime) }

// number formats n with commas.
func number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
