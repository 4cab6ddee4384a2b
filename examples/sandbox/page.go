package main

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
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

var (
	//go:embed templates static
	files    embed.FS
	pageHTML = template.Must(template.New("page.html").Funcs(template.FuncMap{
		"number": number, "moment": moment, "tagLink": tagLink,
	}).ParseFS(files, "templates/page.html"))
)

// page is what the template shows.
type page struct {
	Self    string // address of the page, with what it shows of the followers
	Query   string // of Self
	Base    string
	AppID   string
	Warning string
	Done    string // what an action did
	Failed  string // why it did not
	State   string // file

	Now    string
	Totals wechatusertest.Totals
	Calls  int // ever
	Quirks []string
	People people
	Tags   []wechatuser.Tag // the platform's star tag first
	Tokens []token
	Quotas []wechatusertest.QuotaState // of paths with calls or a limit
	Faults []wechatusertest.Fault
	Last   []call // the newest first

	Form  url.Values // what the fields hold: what was refused, or where to begin
	Paths []wechatusertest.QuotaState
	Kinds []wechatusertest.FaultKind
	Codes []wechatuser.Code
}

type people struct {
	filter
	List  []person
	More  string // address of the next page, empty on the last
	First string // address of the first page, empty on it
}

type person struct {
	wechatusertest.UserState
	Tags []wechatuser.Tag
}

type token struct {
	Masked, Kind string
	Ends         time.Time
	Replaced     bool // which is why it ends
}

type call struct {
	Time, API, Method, Path string
	Status                  int
	Code                    int
	Meaning, MeaningZH      string
	RID, Fault, Took, From  string
	Asked                   string // query and body
}

// show writes the page.
func (s *sandbox) show(w http.ResponseWriter, r *http.Request) {
	p := s.page(readFilter(r.URL.Query()))
	p.Base = "http://" + r.Host
	p.Done = takeNote(w, r)
	render(w, http.StatusOK, p)
}

func render(w http.ResponseWriter, status int, p *page) {
	var body bytes.Buffer
	if err := pageHTML.Execute(&body, p); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // who has gone does not mind
}

// page is the account as it is now.
func (s *sandbox) page(f filter) *page {
	a := s.account
	p := &page{
		Self: f.link(), Query: f.query(), AppID: a.AppID, State: s.state.path,
		Now: moment(a.Now()), Totals: a.Totals(), Quirks: quirkNames(s.quirks),
		Tags: s.tags(), Tokens: tokens(a.Tokens()), Faults: a.Faults(), Paths: a.Quotas(),
		Form:  url.Values{"path": {"*"}, "kind": {"errcode"}, "code": {"-1"}, "status": {"502"}, "times": {"1"}, "probability": {"1"}, "after": {"0"}, "count": {"10"}},
		Kinds: faultKinds, Codes: wechatuser.Codes(),
	}
	if s.guard.exposed {
		p.Warning = exposedWarning
	}
	for _, q := range p.Paths {
		p.Calls += q.Calls
		if q.Calls > 0 || q.PerDay > 0 || q.PerMinute > 0 {
			p.Quotas = append(p.Quotas, q)
		}
	}
	for _, r := range slices.Backward(a.Requests()) {
		p.Last = append(p.Last, newCall(r, a.Secret))
	}
	p.People = s.people(f, p.Tags)
	return p
}

// starTag is the platform's own tag that followers can have.
const starTag = 2

func (s *sandbox) tags() []wechatuser.Tag {
	star := wechatuser.Tag{ID: starTag, Name: "星标组", Count: len(s.account.TagFans(starTag))}
	return append([]wechatuser.Tag{star}, s.account.Tags()...)
}

// filter chooses who is shown.
type filter struct {
	Text  string // part of openid, unionid, remark or nickname
	TagID int
	Show  string // "" for followers, or "blocked" or "left"
	After string // openid before the page
}

func readFilter(q url.Values) filter {
	f := filter{Text: strings.TrimSpace(q.Get("q")), Show: q.Get("show"), After: q.Get("after")}
	f.TagID, _ = strconv.Atoi(q.Get("tag")) // anything else is no filter
	if f.Show != "blocked" && f.Show != "left" {
		f.Show = ""
	}
	return f
}

func (f filter) query() string {
	q := url.Values{}
	for name, value := range map[string]string{"q": f.Text, "show": f.Show, "after": f.After} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.TagID != 0 {
		q.Set("tag", strconv.Itoa(f.TagID))
	}
	return q.Encode()
}

// link is the address of the page that shows them.
func (f filter) link() string {
	return (&url.URL{Path: "/", RawQuery: f.query(), Fragment: partPeople}).String()
}

func tagLink(id int) string { return filter{TagID: id}.link() }

func (f filter) find(a *wechatusertest.Server, limit int) []wechatusertest.UserState {
	return a.FindUsers(wechatusertest.UserFilter{
		Text: f.Text, TagID: f.TagID, Blocked: f.Show == "blocked", Left: f.Show == "left", After: f.After, Limit: limit,
	})
}

// shownPeople are the people on a page.
const shownPeople = 50

func (s *sandbox) people(f filter, tags []wechatuser.Tag) people {
	p := people{filter: f}
	found := f.find(s.account, shownPeople+1)
	if len(found) > shownPeople {
		found = found[:shownPeople]
		next := f
		next.After = found[shownPeople-1].OpenID
		p.More = next.link()
	}
	if f.After != "" {
		first := f
		first.After = ""
		p.First = first.link()
	}
	for _, u := range found {
		one := person{UserState: u}
		for _, t := range tags {
			if slices.Contains(u.TagIDList, t.ID) {
				one.Tags = append(one.Tags, t)
			}
		}
		p.List = append(p.List, one)
	}
	return p
}

func tokens(states []wechatusertest.TokenState) []token {
	list := make([]token, len(states))
	for i, t := range states {
		list[i] = token{Masked: t.Masked, Kind: "legacy", Ends: t.Expires}
		if t.Stable {
			list[i].Kind = "stable"
		}
		if !t.Revoked.IsZero() {
			list[i].Ends, list[i].Replaced = t.Revoked, true
		}
	}
	return list
}

func newCall(r wechatusertest.Request, secret string) call {
	c := call{
		Time: r.Time.In(beijing).Format(time.TimeOnly), API: apiOf(r), Method: r.Method, Path: pathOf(r, secret),
		Status: r.Status, Code: int(r.Errcode), RID: r.RID, Fault: string(r.Fault), Took: short(r.Duration), From: r.ClientIP,
	}
	if r.Errcode != 0 {
		c.Meaning, c.MeaningZH = cmp.Or(r.Errcode.Meaning(), r.Errcode.Text()), r.Errcode.MeaningZH()
	}
	var asked []string
	for _, name := range slices.Sorted(maps.Keys(r.Query)) {
		asked = append(asked, name+"="+strings.Join(r.Query[name], ","))
	}
	if r.Body != nil {
		var body bytes.Buffer
		enc := json.NewEncoder(&body)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(r.Body) // it was JSON before
		asked = append(asked, strings.TrimSpace(body.String()))
	}
	c.Asked = hide(strings.Join(asked, "\n"), secret)
	return c
}

// quirkNames are the quirks that the account has, such as "SystemBusy 0.02".
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

// number is n with commas.
func number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
