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

// action executes a form. It returns a message, and the part of the page that shows the result.
type action func(s *sandbox, form url.Values) (done, part string, err error)

// actions maps the last element of the path to the action.
var actions = map[string]action{
	"follow":   (*sandbox).follow,
	"unfollow": usersAction("Unfollowed: %s.", (*sandbox).unfollow),
	"block":    usersAction("Blocked: %s.", (*sandbox).block),
	"unblock":  usersAction("Unblocked: %s.", (*sandbox).unblock),
	"tag":      (*sandbox).tag,
	"untag":    (*sandbox).untag,
	"newtag":   (*sandbox).newTag,
	"revoke":   (*sandbox).revoke,
	"fault":    (*sandbox).fault,
	"clear":    (*sandbox).clear,
	"advance":  (*sandbox).advance,
	"save":     (*sandbox).save,
}

// maxForm is the maximum size of a form, far above that of a typed list of openids.
const maxForm = 8 << 20

// post executes an action and redirects the browser to the page. An error is shown without a redirect: reloading the
// page then repeats an action that changed nothing.
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
	setFlash(w, done)
	http.Redirect(w, r, (&url.URL{Path: "/", RawQuery: back.query(), Fragment: part}).String(), http.StatusSeeOther)
}

// The parts of the page, as URL fragments.
const (
	partPeople = "people"
	partTags   = "tags"
	partTokens = "tokens"
	partFaults = "faults"
	partClock  = "clock"
)

// maxFollow is the maximum number of followers that one form adds.
const maxFollow = 100_000

var openIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// follow adds the given openids as followers, or a number of synthetic ones.
func (s *sandbox) follow(form url.Values) (done, part string, err error) {
	ids := strings.Fields(form.Get("openids"))
	for _, id := range ids {
		if !openIDPattern.MatchString(id) {
			return "", "", fmt.Errorf("%q is not an openid: use letters, digits, - and _ only", id)
		}
	}
	if len(ids) == 0 {
		n, err := strconv.Atoi(form.Get("count"))
		if err != nil || n < 1 || n > maxFollow {
			return "", "", fmt.Errorf("enter a number of followers from 1 to %d, or their openids", maxFollow)
		}
		ids = s.newOpenIDs(n)
	}
	s.account.Follow(ids...)
	return "Added followers: " + count(ids) + ".", partPeople, nil
}

// newOpenIDs returns n synthetic openids that the account does not know.
func (s *sandbox) newOpenIDs(n int) []string {
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

// usersAction returns an action that applies change to the selected users.
func usersAction(done string, change func(*sandbox, []string) error) action {
	return func(s *sandbox, form url.Values) (string, string, error) {
		ids, err := s.selected(form)
		if err == nil {
			err = change(s, ids)
		}
		return fmt.Sprintf(done, count(ids)), partPeople, err
	}
}

// selected returns the openids that are ticked, or else the first ones of the list on the page.
func (s *sandbox) selected(form url.Values) ([]string, error) {
	ids := form["openid"]
	if first := strings.TrimSpace(form.Get("first")); len(ids) == 0 && first != "" {
		n, err := strconv.Atoi(first)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("first: %q is not a positive number", first)
		}
		query, _ := url.ParseQuery(form.Get("back"))
		for _, u := range readFilter(query).find(s.account, n) {
			ids = append(ids, u.OpenID)
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("no users selected: tick users in the list, or enter how many of the first ones")
	}
	for _, id := range ids {
		if !s.knows(id) {
			return nil, fmt.Errorf("unknown openid %q", id)
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

// unblock changes a snapshot and loads it, since the account has no other way to unblock without an API call. Changes
// by concurrent calls are lost.
func (s *sandbox) unblock(ids []string) error {
	unblocked := make(map[string]bool, len(ids))
	for _, id := range ids {
		unblocked[id] = true
	}
	snap := s.account.Snapshot()
	for i := range snap.Users {
		u := &snap.Users[i]
		u.Blocked = u.Blocked && !unblocked[u.OpenID]
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
		return "", "", fmt.Errorf("cannot create the tag %q: %w", name, err)
	}
	return fmt.Sprintf("Created tag %d %q.", id, name), partTags, nil
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
	return s.retag(form, "Removed tag %s from: %s.", func(ids []int, id int) []int {
		return slices.DeleteFunc(ids, func(have int) bool { return have == id })
	})
}

// retag changes the tags of the selected users. If it fails for one of them, it changes none.
func (s *sandbox) retag(form url.Values, done string, change func(ids []int, id int) []int) (string, string, error) {
	ids, err := s.selected(form)
	if err != nil {
		return "", "", err
	}
	tags := s.tags()
	i := slices.IndexFunc(tags, func(t wechatuser.Tag) bool { return strconv.Itoa(t.ID) == form.Get("tag") })
	if i < 0 {
		return "", "", errors.New("no tag selected: choose a tag, or create one first")
	}
	users := make([]wechatuser.UserInfo, len(ids))
	for n, id := range ids {
		u, _ := s.account.User(id)
		if !u.Subscribed() {
			return "", "", fmt.Errorf("%s is not a follower", id)
		}
		u = withoutDefaults(u)
		u.TagIDList = change(u.TagIDList, tags[i].ID)
		if len(u.TagIDList) > maxTagsOfUser {
			return "", "", fmt.Errorf("%s has %d tags, the maximum: %w", id, maxTagsOfUser, wechatuser.CodeTooManyTagsOnUser)
		}
		users[n] = u
	}
	s.account.AddUsers(users...)
	return fmt.Sprintf(done, tags[i].Name, count(ids)), partPeople, nil
}

// withoutDefaults clears the fields that the account fills in itself.
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
	return "Revoked all access tokens: calls with them now fail with 40001.", partTokens, nil
}

var faultKinds = []wechatusertest.FaultKind{
	wechatusertest.FaultErrcode, wechatusertest.FaultHTTP, wechatusertest.FaultDelay, wechatusertest.FaultDropRequest,
	wechatusertest.FaultDropAnswer, wechatusertest.FaultCutBody, wechatusertest.FaultGarbage,
}

// fault adds a fault. It ignores the fields that the kind of fault does not use.
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
		in.fail("probability", "above 0")
	}
	if err := cmp.Or(in.err, f.Check()); err != nil {
		return "", "", err
	}
	s.account.Fault(f)
	return "Added fault: " + f.String() + ".", partFaults, nil
}

func (s *sandbox) clear(url.Values) (done, part string, err error) {
	s.account.ClearFaults()
	return "Cleared all faults.", partFaults, nil
}

func (s *sandbox) advance(form url.Values) (done, part string, err error) {
	in := fields{form: form}
	d := in.duration("by")
	if in.err == nil && d <= 0 {
		in.fail("by", "a positive duration such as 90s, 5m or 2h")
	}
	if in.err != nil {
		return "", "", in.err
	}
	s.account.Advance(d)
	return "Advanced the clock by " + d.String() + ".", partClock, nil
}

func (s *sandbox) save(url.Values) (done, part string, err error) {
	if s.state.path == "" {
		return "", "", errors.New("no file to save to: start the sandbox with -state account.json")
	}
	return "Saved to " + s.state.path + ".", "", s.state.save()
}

// fields parses the fields of a form, and keeps the first error. An empty field is 0.
type fields struct {
	form url.Values
	err  error
}

func (f *fields) fail(name, want string) {
	if f.err == nil {
		f.err = fmt.Errorf("%s: %q is not %s", name, f.form.Get(name), want)
	}
}

func (f *fields) int(name string) int {
	n, err := strconv.Atoi(cmp.Or(strings.TrimSpace(f.form.Get(name)), "0"))
	if err != nil {
		f.fail(name, "a whole number")
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
		f.fail(name, "a number")
	}
	return x
}

func (f *fields) duration(name string) time.Duration {
	d, err := time.ParseDuration(cmp.Or(strings.TrimSpace(f.form.Get(name)), "0"))
	if err != nil {
		f.fail(name, "a duration such as 300ms or 2h")
	}
	return d
}

// count returns the openid if there is only one, and their number otherwise.
func count(ids []string) string {
	if len(ids) == 1 {
		return ids[0]
	}
	return number(len(ids)) + " users"
}
