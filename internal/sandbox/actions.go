package sandbox

import (
	"cmp"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// action executes a form. It returns what it has done, and the part of the page that shows the result.
type action func(s *sandbox, form url.Values) (done message, part string, err error)

// actions maps the last element of the path to the action.
var actions = map[string]action{
	"follow":   (*sandbox).follow,
	"unfollow": usersAction("Unfollowed: %v.", "已取消关注：%v。", (*wechatusertest.Server).Unfollow),
	"block":    usersAction("Blocked: %v.", "已加入黑名单：%v。", (*wechatusertest.Server).Block),
	"unblock":  usersAction("Unblocked: %v.", "已移出黑名单：%v。", (*wechatusertest.Server).Unblock),
	"tag":      (*sandbox).tag,
	"untag":    (*sandbox).untag,
	"newtag":   (*sandbox).newTag,
	"remark":   (*sandbox).remark,
	"revoke":   (*sandbox).revoke,
	"fault":    (*sandbox).fault,
	"clear":    (*sandbox).clear,
	"advance":  (*sandbox).advance,
	"save":     (*sandbox).save,
	"pushurl":  (*sandbox).pushURL,
	"push":     (*sandbox).pushEvent,
}

// maxForm is the maximum size of a form, far above that of a typed list of openids.
const maxForm = 8 << 20

// post executes an action and redirects the browser to the page. An error is shown without a redirect: reloading the
// page then repeats an action that changed nothing.
func (s *sandbox) post(w http.ResponseWriter, r *http.Request, act action) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	l := preferred(r.Header.Get("Accept-Language"))
	done, part, err := message{}, "", r.ParseForm()
	if err == nil {
		s.mu.Lock()
		done, part, err = act(s, r.PostForm)
		s.mu.Unlock()
	}
	query, _ := url.ParseQuery(r.PostForm.Get("back"))
	back := readFilter(query)
	if err != nil {
		p := s.page(back, l)
		p.Base = "http://" + r.Host
		p.Failed = l.explain(err)
		for name, values := range r.PostForm {
			p.Form[name] = values
		}
		render(w, http.StatusUnprocessableEntity, p, l)
		return
	}
	if part == partPeople && back.User != "" {
		part = partProfile
	}
	setFlash(w, done.in(l))
	http.Redirect(w, r, back.anchor(part), http.StatusSeeOther)
}

// The parts of the page, as URL fragments.
const (
	partPeople  = "people"
	partProfile = "profile"
	partTags    = "tags"
	partTokens  = "tokens"
	partFaults  = "faults"
	partClock   = "clock"
)

// maxFollow is the maximum number of followers that one form adds.
const maxFollow = 100_000

var openIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// follow adds the given openids as followers, or a number of synthetic ones.
func (s *sandbox) follow(form url.Values) (done message, part string, err error) {
	ids := strings.Fields(form.Get("openids"))
	for _, id := range ids {
		if !openIDPattern.MatchString(id) {
			return done, "", say("%q is not an openid: use letters, digits, - and _ only",
				"%q 不是 openid：只能包含字母、数字、- 和 _", id)
		}
	}
	if len(ids) == 0 {
		n, err := strconv.Atoi(form.Get("count"))
		if err != nil || n < 1 || n > maxFollow {
			return done, "", say("enter a number of followers from 1 to %d, or their openids",
				"请输入用户数（1 到 %d），或输入 openid", maxFollow)
		}
		ids = s.newOpenIDs(n)
	}
	s.account.Follow(ids...)
	return say("Added followers: %v.", "已添加用户：%v。", count(ids)), partPeople, nil
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
func usersAction(en, zh string, change func(*wechatusertest.Server, ...string)) action {
	return func(s *sandbox, form url.Values) (done message, part string, err error) {
		ids, err := s.selected(form)
		if err != nil {
			return done, "", err
		}
		change(s.account, ids...)
		return say(en, zh, count(ids)), partPeople, nil
	}
}

// selected returns the openids that are ticked, or all users that the filter of the page selects, or the first ones of
// the list on the page.
func (s *sandbox) selected(form url.Values) ([]string, error) {
	ids := form["openid"]
	query, _ := url.ParseQuery(form.Get("back"))
	f := readFilter(query)
	switch first := strings.TrimSpace(form.Get("first")); {
	case form.Get("all") != "":
		f.After = ""
		ids = openIDs(f.find(s.account, math.MaxInt))
	case len(ids) == 0 && first != "":
		n, err := strconv.Atoi(first)
		if err != nil || n < 1 {
			return nil, say("first: %q is not a positive number", "first：%q 不是正整数", first)
		}
		ids = openIDs(f.find(s.account, n))
	}
	if len(ids) == 0 {
		return nil, say("no users selected: tick users in the list", "没有选择用户：请在列表中勾选用户")
	}
	for _, id := range ids {
		if !s.knows(id) {
			return nil, say("unknown openid %q", "未知的 openid %q", id)
		}
	}
	return ids, nil
}

func openIDs(users []wechatusertest.UserState) []string {
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = u.OpenID
	}
	return ids
}

func (s *sandbox) newTag(form url.Values) (done message, part string, err error) {
	var id int
	name := form.Get("name")
	err = try(func() { id = s.account.AddTag(name) })
	if err != nil {
		return done, "", say("cannot create the tag %q: %v", "无法创建标签 %q：%v", name, err)
	}
	return say("Created tag %d %q.", "已创建标签 %d %q。", id, name), partTags, nil
}

func (s *sandbox) tag(form url.Values) (done message, part string, err error) {
	return s.retag(form, s.checkCanTag, s.account.Tag, "Tagged with %s: %v.", "已打上标签 %s：%v。")
}

func (s *sandbox) untag(form url.Values) (done message, part string, err error) {
	return s.retag(form, s.checkCanUntag, s.account.Untag, "Removed tag %s from: %v.", "已取消标签 %s：%v。")
}

// retag changes the tags of the selected users. If it fails for one of them, it changes none.
func (s *sandbox) retag(
	form url.Values, check func(openID string, tagID int) error, change func(tagID int, openIDs ...string),
	en, zh string,
) (done message, part string, err error) {
	ids, err := s.selected(form)
	if err != nil {
		return done, "", err
	}
	tags := s.tags()
	i := slices.IndexFunc(tags, func(t wechatuser.Tag) bool { return strconv.Itoa(t.ID) == form.Get("tag") })
	if i < 0 {
		return done, "", say("no tag selected: choose a tag, or create one first", "没有选择标签：请选择标签，或先创建标签")
	}
	for _, id := range ids {
		if err := check(id, tags[i].ID); err != nil {
			return done, "", err
		}
	}
	// It fails if a call has changed the tags meanwhile.
	if err := try(func() { change(tags[i].ID, ids...) }); err != nil {
		return done, "", err
	}
	return say(en, zh, tags[i].Name, count(ids)), partPeople, nil
}

// maxTagsOfUser is the platform's limit.
const maxTagsOfUser = 20

func (s *sandbox) checkCanTag(openID string, tagID int) error {
	u, _ := s.account.User(openID)
	if !slices.Contains(u.TagIDList, tagID) && len(u.TagIDList) >= maxTagsOfUser {
		return say("%s has %d tags, the maximum: %v", "%s 已有 %d 个标签，达到上限：%v", openID, maxTagsOfUser,
			wechatuser.CodeTooManyTagsOnUser)
	}
	return s.checkFollows(openID)
}

func (s *sandbox) checkCanUntag(openID string, _ int) error { return s.checkFollows(openID) }

func (s *sandbox) checkFollows(openID string) error {
	u, known := s.account.User(openID)
	switch {
	case !known:
		return say("unknown openid %q", "未知的 openid %q", openID)
	case !u.Subscribed():
		return say("%s is not a follower", "%s 没有关注", openID)
	}
	return nil
}

// maxRemark is the maximum length of a remark in the platform's console. The API accepts 30 bytes.
const maxRemark = 30

// remark sets the remark of one user.
func (s *sandbox) remark(form url.Values) (done message, part string, err error) {
	id, text := form.Get("openid"), strings.TrimSpace(form.Get("remark"))
	if err := s.checkFollows(id); err != nil {
		return done, "", err
	}
	if utf8.RuneCountInString(text) > maxRemark || strings.ContainsFunc(text, unicode.IsControl) {
		return done, "", say("a remark has at most %d characters and no line breaks",
			"备注不能超过 %d 个字，也不能换行", maxRemark)
	}
	s.account.SetRemark(id, text)
	return say("Saved the remark of %s.", "已保存 %s 的备注。", id), partPeople, nil
}

func (s *sandbox) revoke(url.Values) (done message, part string, err error) {
	s.account.ExpireTokens()
	return say("Revoked all access tokens: calls with them now fail with 40001.",
		"所有 access_token 已失效：使用它们的调用将返回 40001。"), partTokens, nil
}

// fault adds a fault. It ignores the fields that the kind of fault does not use.
func (s *sandbox) fault(form url.Values) (done message, part string, err error) {
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
		in.fail("probability", "above 0", "大于 0 的数")
	}
	if err := cmp.Or(in.err, checkFault(f)); err != nil {
		return done, "", err
	}
	s.account.Fault(f)
	return say("Added fault: %v.", "已添加故障：%v。", message{en: describe(f, english), zh: describe(f, chinese)}),
		partFaults, nil
}

func (s *sandbox) clear(url.Values) (done message, part string, err error) {
	s.account.ClearFaults()
	return say("Cleared all faults.", "已清除全部故障。"), partFaults, nil
}

func (s *sandbox) advance(form url.Values) (done message, part string, err error) {
	in := fields{form: form}
	d := in.duration("by")
	if in.err == nil && d <= 0 {
		in.fail("by", "a positive duration such as 90s, 5m or 2h", "正的时长，例如 90s、5m 或 2h")
	}
	if in.err != nil {
		return done, "", in.err
	}
	s.account.Advance(d)
	return say("Advanced the clock by %v.", "时钟已拨快 %v。", d), partClock, nil
}

func (s *sandbox) save(url.Values) (done message, part string, err error) {
	if s.state.Path == "" {
		return done, "", say("no file to save to: start the sandbox with --state account.json",
			"没有可保存的文件：启动沙箱时请加上 --state account.json")
	}
	return say("Saved to %s.", "已保存到 %s。", s.state.Path), "", s.state.Save()
}

// fields parses the fields of a form, and keeps the first error. An empty field is 0.
type fields struct {
	form url.Values
	err  error
}

func (f *fields) fail(name, want, wantZH string) {
	if f.err == nil {
		f.err = say("%s: %q is not %v", "%s：%q 不是%v", name, f.form.Get(name), message{en: want, zh: wantZH})
	}
}

func (f *fields) int(name string) int {
	n, err := strconv.Atoi(cmp.Or(strings.TrimSpace(f.form.Get(name)), "0"))
	if err != nil {
		f.fail(name, "a whole number", "整数")
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
		f.fail(name, "a number", "数字")
	}
	return x
}

func (f *fields) duration(name string) time.Duration {
	d, err := time.ParseDuration(cmp.Or(strings.TrimSpace(f.form.Get(name)), "0"))
	if err != nil {
		f.fail(name, "a duration such as 300ms or 2h", "时长，例如 300ms 或 2h")
	}
	return d
}

// count returns the openid if there is only one, and their number otherwise.
func count(ids []string) message {
	if len(ids) == 1 {
		return message{en: ids[0], zh: ids[0]}
	}
	return say("%s users", "%s 个用户", number(len(ids)))
}
