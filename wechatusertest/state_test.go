package wechatusertest_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const saved = `{"next_tag_id":136,"tags":[
{"id":2,"name":"星标组"},
{"id":134,"name":"a&b"}
],"users":[
{"openid":"oFAKE1","subscribe_time":1773115200,"remark":"老客户","tagid_list":[2,134],"unionid":"union","qr_scene_str":"x"},
{"openid":"oFAKE2","subscribe_time":1773115200,"left":true,"blocked":true,"remark":"kept"}
]}
`

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(2))
	require.NoError(t, a.Load(iotest.OneByteReader(strings.NewReader(saved))))
	assert.Equal(t, []string{"oFAKE1"}, a.OpenIDs(), "the account before is gone")
	assert.Equal(t, []string{"oFAKE2"}, a.Blacklist())
	assert.Equal(t, []string{"oFAKE1"}, a.TagFans(134))
	assert.Equal(t, "a&b", a.Tags()[0].Name)
	u, _ := a.User("oFAKE1")
	assert.Equal(t, []any{"union", "x", "老客户", 2}, []any{u.UnionID, u.QRSceneStr, u.Remark, u.GroupID})
	a.Follow("oFAKE2")
	u, _ = a.User("oFAKE2")
	assert.Equal(t, "kept", u.Remark, "who comes back has the remark that they had")
	assert.Equal(t, 136, a.AddTag("next"))

	require.NoError(t, a.Load(strings.NewReader(saved)))
	var out strings.Builder
	require.NoError(t, a.Save(&out))
	assert.Equal(t, saved, out.String())

	// The JSON of a snapshot is the same without the lines.
	encoded, err := json.Marshal(a.Snapshot())
	require.NoError(t, err)
	assert.JSONEq(t, saved, string(encoded))
	other := newAccount(t)
	require.NoError(t, other.Load(strings.NewReader(string(encoded))))
	assert.Empty(t, a.Snapshot().Diff(other.Snapshot()))

	require.NoError(t, newAccount(t).Load(strings.NewReader("{}")), "an account with nobody in it")
	failure := errors.New("disk full")
	require.ErrorIs(t, a.Save(errWriter{failure}), failure)
	require.ErrorIs(t, a.Load(iotest.ErrReader(failure)), failure)
}

type errWriter struct{ err error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.err }

func TestLoadSaysWhereItIsWrong(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(1))
	before := a.Snapshot()
	const user1 = `{"openid":"oFAKE1"`
	for name, row := range map[string]struct{ old, changed, want string }{
		"no object":       {saved, "[]", `line 1: [ where "{" should be`},
		"null account":    {saved, "null", `line 1: null where "{" should be`},
		"nothing":         {saved, "", "line 1: the JSON ends too early"},
		"something after": {saved, saved + "{}", "line 8: there is something after the account"},
		"cut":             {`"left":true,"blocked":true,"remark":"kept"}` + "\n]}\n", `"le`, "line 6: the JSON ends too early"},
		"broken":          {`"left":true`, `"left"=true`, "line 6: invalid character '=' after object key"},
		"wrong type":      {`"left":true`, `"left":1`, "line 6: json: cannot unmarshal number"},
		"typing error":    {`"left":true`, `"lefft":true`, `line 6: json: unknown field "lefft"`},
		"unknown key":     {`"users":`, `"people":`, `line 4: an account has no "people"`},
		"no openid":       {user1, `{"remark":"x"`, "line 5: a user without openid"},
		"twice":           {`"oFAKE2"`, `"oFAKE1"`, "line 6: user oFAKE1: is there twice"},
		"no such tag":     {`[2,134]`, `[2,135]`, "line 5: user oFAKE1: there is no tag 135"},
		"id taken":        {`{"id":134`, `{"id":1`, `line 3: tag 1 "a&b": this id is taken`},
		"long name":       {"a&b", strings.Repeat("客", 11), "line 3: tag 134"},
		"null":            {`{"id":134,"name":"a&b"}`, "null", `line 3: tag 0 "": this id is taken`},
		"a bad id":        {`136`, `"136"`, "line 1: json: cannot unmarshal string"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, saved, row.old)
			err := a.Load(strings.NewReader(strings.Replace(saved, row.old, row.changed, 1)))
			require.ErrorContains(t, err, "wechatusertest: Load: "+row.want)
			assert.Equal(t, before, a.Snapshot(), "the account is as it was")
		})
	}
	var code wechatuser.Code
	require.ErrorAs(t, a.Load(strings.NewReader(strings.Replace(saved, "a&b", "", 1))), &code)
	assert.Equal(t, wechatuser.CodeInvalidTagName, code)
}

// An account goes through Save and Load as a stream: neither waits for the whole of the other.
func TestSaveAndLoadManyFans(t *testing.T) {
	t.Parallel()
	from, to := newAccount(t, wechatusertest.WithFans(50_000)), newAccount(t)
	from.AddTag("vip", from.OpenIDs()[20_000:]...)
	through(t, from, to)
	assert.Equal(t, wechatusertest.Totals{Followers: 50_000, Tags: 1}, to.Totals())
	assert.Len(t, to.TagFans(100), 30_000)
	assert.Equal(t, from.OpenIDs(), to.OpenIDs())
}

// The account is replaced, saved and compared while calls are under way, whose hook looks at the server: what is saved is
// one account or the other, and no mixture.
func TestStateWhileServing(t *testing.T) {
	t.Parallel()
	var srv *wechatusertest.Server
	quirks := wechatusertest.Wild(1)
	quirks.Latency = 0
	srv = wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(200), wechatusertest.WithRequestLog(3),
		wechatusertest.WithQuirks(quirks), wechatusertest.WithRequestHook(func(wechatusertest.Request) {
			_, _, _, _ = srv.Totals(), srv.Requests("*"), srv.Faults(), srv.Tokens()
		}))
	vip := srv.AddTag("vip")
	a := account{srv, t}
	var large, small strings.Builder
	require.NoError(t, srv.Save(&large))
	srv.Unfollow(ids(100)...)
	require.NoError(t, srv.Save(&small))

	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 25 {
				a.post(taggingPath, tagging(vip, ids(200)[100+i:150+i]...))
				a.post("/cgi-bin/user/info/batchget", userList(ids(100)...))
				srv.FailNext("*", -1, g)
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			assert.NoError(t, srv.Load(strings.NewReader(large.String())))
			assert.NoError(t, srv.Load(strings.NewReader(small.String())))
		}
	})
	wg.Go(func() {
		for range 10 {
			other := newAccount(t)
			through(t, a, other)
			assert.Contains(t, []int{100, 200}, other.Totals().Followers)
			before := srv.Snapshot()
			_ = before.Diff(srv.Snapshot())
		}
	})
	wg.Wait()
}

func through(t testing.TB, from, to account) {
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(from.Save(w)) }()
	assert.NoError(t, to.Load(r))
}

func BenchmarkSaveAndLoadAMillion(b *testing.B) {
	from := newAccount(b, wechatusertest.WithFans(1_000_000))
	b.ReportAllocs()
	for b.Loop() {
		through(b, from, newAccount(b))
	}
}
