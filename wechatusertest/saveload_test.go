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
{"openid":"oFAKE1","subscribe_time":1773115200,"remark":"老客户","tagid_list":[2,134],"unionid":"u1","qr_scene_str":"x"},
{"openid":"oFAKE2","subscribe_time":1773115200,"left":true,"blocked":true,"remark":"kept"}
]}
`

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(2))
	require.NoError(t, a.Load(iotest.OneByteReader(strings.NewReader(saved))))
	assert.Equal(t, []string{"oFAKE1"}, a.OpenIDs(), "Load replaces the account")
	assert.Equal(t, []string{"oFAKE2"}, a.Blacklist())
	assert.Equal(t, []string{"oFAKE1"}, a.TagFans(134))
	assert.Equal(t, "a&b", a.Tags()[0].Name)
	u, _ := a.User("oFAKE1")
	assert.Equal(t, []any{"u1", "x", "老客户", 2}, []any{u.UnionID, u.QRSceneStr, u.Remark, u.GroupID})
	a.Follow("oFAKE2")
	u, _ = a.User("oFAKE2")
	assert.Equal(t, "kept", u.Remark, "a returning user has the old remark")
	assert.Equal(t, 136, a.AddTag("next"))

	require.NoError(t, a.Load(strings.NewReader(saved)))
	var out strings.Builder
	require.NoError(t, a.Save(&out))
	assert.Equal(t, saved, out.String())

	// The JSON of a snapshot differs only in white space.
	encoded, err := json.Marshal(a.Snapshot())
	require.NoError(t, err)
	assert.JSONEq(t, saved, string(encoded))
	other := newAccount(t)
	require.NoError(t, other.Load(strings.NewReader(string(encoded))))
	assert.Empty(t, a.Snapshot().Diff(other.Snapshot()))

	require.NoError(t, newAccount(t).Load(strings.NewReader("{}")), "an empty account")
	failure := errors.New("disk full")
	require.ErrorIs(t, a.Save(errWriter{failure}), failure)
	require.ErrorIs(t, a.Load(iotest.ErrReader(failure)), failure)
}

type errWriter struct{ err error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.err }

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	a := newAccount(t, wechatusertest.WithFans(1))
	before := a.Snapshot()
	const user1 = `{"openid":"oFAKE1"`
	for name, row := range map[string]struct{ old, changed, want string }{
		"array":           {saved, "[]", `line 1: got [, want "{"`},
		"null":            {saved, "null", `line 1: got null, want "{"`},
		"empty":           {saved, "", "line 1: truncated JSON"},
		"trailing data":   {saved, saved + "{}", "line 8: data after the account"},
		"truncated":       {`"left":true,"blocked":true,"remark":"kept"}` + "\n]}\n", `"le`, "line 6: truncated JSON"},
		"syntax error":    {`"left":true`, `"left"=true`, "line 6: invalid character '=' after object key"},
		"wrong type":      {`"left":true`, `"left":1`, "line 6: json: cannot unmarshal number"},
		"unknown field":   {`"left":true`, `"lefft":true`, `line 6: json: unknown field "lefft"`},
		"unknown key":     {`"users":`, `"people":`, `line 4: unknown key "people"`},
		"no openid":       {user1, `{"remark":"x"`, "line 5: user without openid"},
		"duplicate user":  {`"oFAKE2"`, `"oFAKE1"`, "line 6: user oFAKE1: duplicate openid"},
		"unknown tag":     {`[2,134]`, `[2,135]`, "line 5: user oFAKE1: unknown tag 135"},
		"reserved tag id": {`{"id":134`, `{"id":1`, `line 3: tag 1 "a&b": the id is reserved or used twice`},
		"long tag name":   {"a&b", strings.Repeat("客", 11), "line 3: tag 134"},
		"null tag":        {`{"id":134,"name":"a&b"}`, "null", `line 3: tag 0 "": the id is reserved or used twice`},
		"wrong id type":   {`136`, `"136"`, "line 1: json: cannot unmarshal string"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, saved, row.old)
			err := a.Load(strings.NewReader(strings.Replace(saved, row.old, row.changed, 1)))
			require.ErrorContains(t, err, "wechatusertest: Load: "+row.want)
			assert.Equal(t, before, a.Snapshot(), "the account is unchanged")
		})
	}
	var code wechatuser.Code
	require.ErrorAs(t, a.Load(strings.NewReader(strings.Replace(saved, "a&b", "", 1))), &code)
	assert.Equal(t, wechatuser.CodeInvalidTagName, code)
}

// Save and Load can be connected by a pipe: neither needs the whole account at once.
func TestSaveAndLoadManyFans(t *testing.T) {
	t.Parallel()
	fans := atFullSize(50_000, 10_000)
	from, to := newAccount(t, wechatusertest.WithFans(fans)), newAccount(t)
	from.AddTag("vip", from.OpenIDs()[4_000:]...)
	copyAccount(t, from, to)
	assert.Equal(t, wechatusertest.Totals{Followers: fans, Tags: 1}, to.Totals())
	assert.Len(t, to.TagFans(100), fans-4_000)
	assert.Equal(t, from.OpenIDs(), to.OpenIDs())
}

// The account is replaced, saved and compared during calls, whose hook inspects the server. Each save holds one account
// or the other, never a mixture.
func TestSaveAndLoadDuringCalls(t *testing.T) {
	t.Parallel()
	var srv *wechatusertest.Server
	quirks := wechatusertest.Wild(1)
	quirks.Latency = 0
	hook := func(wechatusertest.Request) {
		_, _, _, _ = srv.Totals(), srv.Requests("*"), srv.Faults(), srv.Tokens()
	}
	srv = wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(200),
		wechatusertest.WithRequestLog(3), wechatusertest.WithQuirks(quirks), wechatusertest.WithRequestHook(hook))
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
			copyAccount(t, a, other)
			assert.Contains(t, []int{100, 200}, other.Totals().Followers)
			before := srv.Snapshot()
			_ = before.Diff(srv.Snapshot())
		}
	})
	wg.Wait()
}

// copyAccount copies an account through a pipe.
func copyAccount(t testing.TB, from, to account) {
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(from.Save(w)) }()
	assert.NoError(t, to.Load(r))
}

func BenchmarkSaveAndLoadAMillionFans(b *testing.B) {
	from := newAccount(b, wechatusertest.WithFans(1_000_000))
	b.ReportAllocs()
	for b.Loop() {
		copyAccount(b, from, newAccount(b))
	}
}
