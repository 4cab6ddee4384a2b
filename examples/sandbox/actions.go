package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// action does what a form asks. It says what it did, and at what part of the page that is seen.
type action func(s *sandbox, form url.Values) (done, part string, err error)

// actions by the last part of their path.
var actions = map[string]action{
	"follow":   (*sandbox).follow,
	"unfollow": onPeople("Left: %s.", (*sandbox).unfollow),
	"block":    onPeople("Blocked: %s.", (*sandbox).block),
	"unblock":  onPeople("No longer blocked: %s.", (*sandbox).unblock),
	"tag":      (*sandbox).tag,
	"untag":    (*sandbox).untag,
	"newtag":   (*sandbox).newTag,
	"revoke":   (*sandbox).revoke,
	"fault":    (*sandbox).fault,
	"clear":    (*sandbox).clear,
	"advance":  (*sandbox).advance,
	"save":     (*sandbox).save,
}

// maxForm is far more than a list of openids takes that a person has.
const maxForm = 8 << 20

// post does an action and sends the browser back to the page. What is refused is shown at once: a reload does no harm.
func (s *sandbox) post(w http.ResponseWriter, r *http.Request, act action) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	done, part, err := "", "", r.ParseForm()
	if err == nil {
		s.mu.Lock()
		done, part, err = act(s, r.PostForm)
		s.mu.Unlock()
	}
	query, _ := url.ParseQuery(r.PostForm.Get("back"))
	back := readFilter(query)
	if err != nil {
		p := s.page(back)
		p.Base = "http://" + r.Host
		p.Failed = err.Error()
		for name, values := range r.PostForm {
			p.Form[name] = values
		}
		render(w, http.StatusUnprocessableEntity, p)
		return
	}
	leaveNote(w, done)
	http.Redirect(w, r, (&url.URL{Path: "/", RawQuery: back.query(), Fragment: part}).String(), http.StatusSeeOther)
}

// The parts of the page.
const (
	partPeople = "people"
	partTags   = "tags"
	partTokens = "tokens"
	partFaults = "faults"
	partClock  = "clock"
)

// maxFollow is how many followers one form adds.
const maxFollow = 100_000

var openIDForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// follow adds the followers that are named, or else so many synthetic ones.
func (s *sandbox) follow(form url.Values) (done, part string, err error) {
	ids := strings.Fields(form.Get("openids"))
	for _, id := range ids {
		if !openIDForm.MatchString(id) {
			return "", "", fmt.Errorf("%q is no openid: letters, digits, - and _ only", id)
		}
	}
	if len(ids) == 0 {
		n, err := strconv.Atoi(form.Get("count"))
		if err != nil || n < 1 || n > maxFollow {
			return "", "", fmt.Errorf("how many followers? From 1 to %d, or name their openids", maxFollow)
		}
		ids = s.strangers(n)
	}
	s.account.Follow(ids...)
	return "Follow now: " + count(ids) + ".", partPeople, nil
}

// strangers are synthetic openids that the account does not know.
func (s *sandbox) strangers(n int) []string {
	ids := make([]string, 0, n)
	t := s.account.Totals()
	for i := t.Followers + t.Left; len(ids) < n; i++ {
		if id := wechatusertest.OpenID(i); !s.knows(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *sandbox) knows(openID string) bool {
	_, known := s.account.User(openID)
	return known
}

// onPeople makes an action of a change to those who are chosen.
func onPeople(done string, change func(*sandbox, []string) error) action {
	return func(s *sandbox, form url.Values) (string, string, error) {
		ids, err := s.chosen(form)
		if err == nil {
			err = change(s, ids)
		}
		return fmt.Sprintf(done, count(ids)), partPeople, err
	}
}

// chosen are the openids that are ticked, or else the first so many of the list that the page shows.
func (s *sandbox) chosen(form url.Values) ([]string, error) {
	ids := form["openid"]
	if first := strings.TrimSpace(form.Get("first")); len(ids) == 0 && first != "" {
		n, err := strconv.Atoi(first)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("the first how many? %q is no number from 1 on", first)
		}
		query, _ := url.ParseQuery(form.Get("back"))
		for _, u := range readFilter(query).find(s.account, n) {
			ids = append(ids, u.OpenID)
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("nobody is chosen: tick people in the list, or say how many from its beginning")
	}
	for _, id := range ids {
		if !s.knows(id) {
			return nil, fmt.Errorf("the account does not know the openid %q", id)
		}
	}
	return ids, nil
}

func (s *sandbox) unfollow(ids []string) error {
	s.account.Unfollow(ids...)
	return nil
}

func (s *sandbox) block(ids []string) error {
	s.account.Block(ids...)
	return nil
}

// unblock goes by way of a snapshot, since the account has no other way that is not an API call: what a call changes
// in that moment is lost.
func (s *sandbox) unblock(ids []string) error {
	chosen := make(map[string]bool, len(ids))
	for _, id := range ids {
		chosen[id] = true
	}
	snap := s.account.Snapshot()
	for i := range snap.Users {
		u := &snap.Users[i]
		u.Blocked = u.Blocked && !chosen[u.OpenID]
	}
	text, err := json.Marshal(snap)
	if err != nil {
		return err
	}
	return s.account.Load(bytes.NewReader(text))
}

func (s *sandbox) newTag(form url.Values) (done, part string, err error) {
	var id int
	name := form.Get("name")
	err = try(func() { id = s.account.AddTag(name) })
	if err != nil {
		return "", "", fmt.Errorf("no tag %q: %w", name, err)
	}
	return fmt.Sprintf("There is tag %d %q now.", id, name), partTags, nil
}

// maxTagsOfUser is the platform's limit.
const maxTagsOfUser = 20

func (s *sandbox) tag(form url.Values) (done, part string, err error) {
	return s.retag(form, "Tagged with %s: %s.", func(ids []int, id int) []int {
		if slices.Contains(ids, id) {
			return ids
		}
		return append(ids, id)
	})
}

func (s *sandbox) untag(form url.Values) (done, part string, err error) {
	return s.retag(form, "Taken tag %s from: %s.", func(ids []int, id int) []int {
		return slices.DeleteFunc(ids, func(have int) bool { return have == id })
	})
}

// retag changes the tags of those who are chosen: of all, or of nobody.
func (s *sandbox) retag(form url.Values, done string, change func(ids []int, id int) []int) (string, string, error) {
	ids, err := s.chosen(form)
	if err != nil {
		return "", "", err
	}
	tags := s.tags()
	i := slices.IndexFunc(tags, func(t wechatuser.Tag) bool { return strconv.Itoa(t.ID) == form.Get("tag") })
	if i < 0 {
		return "", "", errors.New("which tag? Choose one, or make one first")
	}
	users := make([]wechatuser.UserInfo, len(ids))
	for n, id := range ids {
		u, _ := s.account.User(id)
		if !u.Subscribed() {
			return "", "", fmt.Errorf("%s does not follow", id)
		}
		u = withoutDefaults(u)
		u.TagIDList = change(u.TagIDList, tags[i].ID)
		if len(u.TagIDList) > maxTagsOfUser {
			return "", "", fmt.Errorf("%s has %d tags, which is the most: %w", id, maxTagsOfUser, wechatuser.CodeTooManyTagsOnUser)
		}
		users[n] = u
	}
	s.account.AddUsers(users...)
	return fmt.Sprintf(done, tags[i].Name, count(ids)), partPeople, nil
}

// withoutDefaults takes away what the account says of everybody, so that it goes on to say it by itself.
func withoutDefaults(u wechatuser.UserInfo) wechatuser.UserInfo {
	if u.SubscribeScene == wechatuser.SceneSearch {
		u.SubscribeScene = ""
	}
	if u.Language == string(wechatuser.LangZhCN) {
		u.Language = ""
	}
	if len(u.TagIDList) > 0 && u.GroupID == u.TagIDList[0] {
		u.GroupID = 0
	}
	return u
}

func (s *sandbox) revoke(url.Values) (done, part string, err error) {
	s.account.ExpireTokens()
	return "All access tokens are refused now with 40001.", partTokens, nil
}

var faultKinds = []wechatusertest.FaultKind{
	wechatusertest.FaultErrcode, wechatusertest.FaultHTTP, wechatusertest.FaultDelay, wechatusertest.FaultDropRequest,
	wechatusertest.FaultDropAnswer, wechatusertest.FaultCutBody, wechatusertest.FaultGarbage,
}

// fault reads a fault; a field that its kind does not have may hold anything.
func (s *sandbox) fault(form url.Values) (done, part string, err error) {
	in := fields{form: form}
	f := wechatusertest.Fault{
		Path: form.Get("path"), Kind: wechatusertest.FaultKind(form.Get("kind")),
		Times: in.int("times"), After: in.int("after"), Probability: in.float("probability", 1), Delay: in.duration("delay"),
	}
	switch f.Kind {
	case wechatusertest.FaultErrcode:
		f.Code = wechatuser.Code(in.int("code"))
	case wechatusertest.FaultHTTP:
		f.Status, f.Body = in.int("status"), form.Get("body")
	}
	if f.Probability == 0 {
		in.refuse("probability", "above 0")
	}
	if err := cmp.Or(in.err, f.Check()); err != nil {
		return "", "", err
	}
	s.account.Fault(f)
	return "Ordered: " + f.String() + ".", partFaults, nil
}

func (s *sandbox) clear(url.Values) (done, part string, err error) {
	s.account.ClearFaults()
	return "No faults any more.", partFaults, nil
}

func (s *sandbox) advance(form url.Values) (done, part string, err error) {
	in := fields{form: form}
	d := in.duration("by")
	if in.err == nil && d <= 0 {
		in.refuse("by", "a time such as 90s, 5m or 2h, and forwards")
	}
	if in.err != nil {
		return "", "", in.err
	}
	s.account.Advance(d)
	return "The account's clock is " + d.String() + " further.", partClock, nil
}

func (s *sandbox) save(url.Values) (done, part string, err error) {
	if s.state.path == "" {
		return "", "", errors.New("there is no file to save to: start the sandbox with -state account.json")
	}
	return "Saved to " + s.state.path + ".", "", s.state.save()
}

// fields reads the fields of a form, and keeps what was wrong first. An empty field is 0.
type fields struct {
	form url.Values
	err  error
}

func (f *fields) refuse(name, want string) {
	if f.err == nil {
		f.err = fmt.Errorf("%s: %q is not %s", name, f.form.Get(name), want)
	}
}

func (f *fields) int(name string) int {
	n, err := strconv.Atoi(cmp.Or(strings.TrimSpace(f.form.Get(name)), "0"))
	if err != nil {
		f.refuse(name, "a whole number")
	}
	return n
}

func (f *fields) float(name string, empty float64) float64 {
	text := strings.TrimSpace(f.form.Get(name))
	if text == "" {
		return empty
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		f.refuse(name, "a number")
	}
	return x
}

func (f *fields) duration(name string) time.Duration {
	d, err := time.ParseDuration(cmp.Or(strings.TrimSpace(f.form.Get(name)), "0"))
	if err != nil {
		f.refuse(name, "a time such as 300ms or 2h")
	}
	return d
}

// count says how many openids there are, or which it is.
func count(ids []string) string {
	if len(ids) == 1 {
		return ids[0]
	}
	return number(len(ids)) + " people"
}
