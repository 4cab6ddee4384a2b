package wechatuser_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

func TestBulkUserInfo(t *testing.T) {
	srv, c, _ := testutil.NewAccount(t, 250)
	ids := testutil.OpenIDs(250)
	foreign := wechatusertest.ForeignOpenID(1)
	srv.Unfollow(ids[7])
	input := slices.Concat(ids[:120], []string{foreign, "", ids[3]}, ids[120:])
	profiles := c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(input...))
	assert.Zero(t, srv.Calls("*"), "no call before the loop")
	for range 2 {
		i := 0
		for user, err := range profiles {
			switch want := input[i]; want {
			case foreign, "":
				var one *wechatuser.OpenIDError
				require.ErrorAs(t, err, &one)
				assert.Equal(t, want, one.OpenID)
				assert.Equal(t, want == foreign, errors.Is(err, wechatuser.CodeInvalidOpenID))
				assert.Empty(t, user)
			default:
				require.NoError(t, err)
				assert.Equal(t, want, user.OpenID)
				assert.Equal(t, want != ids[7], user.Subscribed())
			}
			i++
		}
		assert.Equal(t, len(input), i)
	}
	assert.LessOrEqual(t, srv.Calls(testutil.PathBatchUserInfo), 2*(3+14))
}

func TestBulkUserInfoDoesNotHoldBackWhatItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := testutil.NewAccount(t, 150)
		read, got := 0, 0
		slow := func(yield func(string, error) bool) {
			for _, id := range testutil.OpenIDs(150) {
				if read++; read > 100 {
					time.Sleep(time.Second)
				}
				if !yield(id, nil) {
					return
				}
			}
		}
		for _, err := range c.BulkUserInfo(t.Context(), slow) {
			require.NoError(t, err)
			if got++; got == 100 {
				assert.Less(t, read, 105, "the first hundred come while the input is slow")
			}
		}
		assert.Equal(t, 150, got)
	})
}

func TestBulkUserInfoMatchesProfilesByOpenID(t *testing.T) {
	srv, _, _ := testutil.NewAccount(t, 0)
	ids := testutil.OpenIDs(240)
	for i, id := range ids {
		srv.AddUsers(wechatuser.UserInfo{OpenID: id, UnionID: fmt.Sprint("union-", i)})
	}
	input := slices.Insert(slices.Clone(ids), 30, "oFAKEunknown1", "oFAKEunknown2")
	lenient := wechatusertest.NewServer(wechatusertest.WithoutListener(),
		wechatusertest.WithQuirks(wechatusertest.Quirks{ShortBatch: true}))
	lenient.AddUsers(srv.Users()...)
	for name, change := range map[string]func(*batchResponse, int){
		"short":    func(*batchResponse, int) {},
		"reversed": func(a *batchResponse, _ int) { slices.Reverse(a.Users) },
		"shuffled, one missing": func(a *batchResponse, asked int) {
			if n := len(a.Users); n > 1 && n < asked {
				first := a.Users[0]["unionid"]
				for i := range n - 1 {
					a.Users[i]["unionid"] = a.Users[i+1]["unionid"]
				}
				a.Users[n-1]["unionid"] = first
			}
		},
		"another openid in place of a missing one": func(a *batchResponse, asked int) {
			if len(a.Users) < asked {
				a.Users = append(a.Users,
					map[string]any{"openid": "oFAKEstranger", "subscribe": 1, "unionid": "union-stranger"})
			}
		},
	} {
		c := lenient.Client(
			wechatuser.WithTransport(testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
				asked := strings.Count(testutil.PeekBody(req), `"openid"`)
				resp, err := lenient.Transport().RoundTrip(req)
				if err != nil || req.URL.Path != testutil.PathBatchUserInfo {
					return resp, err
				}
				var a batchResponse
				if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
					return nil, err
				}
				change(&a, asked)
				body, err := json.Marshal(a)
				if err != nil {
					return nil, err
				}
				return testutil.RespondJSON(string(body))(req)
			})))
		i := 0
		for user, err := range c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(input...)) {
			if strings.HasPrefix(input[i], "oFAKEunknown") {
				var one *wechatuser.OpenIDError
				require.ErrorAs(t, err, &one, name)
				assert.Equal(t, input[i], one.OpenID, name)
				assert.ErrorIs(t, err, wechatuser.CodeInvalidOpenID, name)
			} else {
				require.NoError(t, err, name)
				assert.Equal(t, input[i], user.OpenID, name)
				assert.Equal(t, fmt.Sprint("union-", slices.Index(ids, user.OpenID)), user.UnionID, name)
			}
			i++
		}
		assert.Equal(t, len(input), i, name)
	}
	assert.LessOrEqual(t, lenient.Calls(testutil.PathBatchUserInfo), 4*(3+2*14))
}

func TestBulkUserInfoEndsWithTheJobsError(t *testing.T) {
	srv, c, _ := testutil.NewAccount(t, 1000)
	var last error
	n := 0
	for user, err := range c.BulkUserInfo(t.Context(), c.AllFans(t.Context()), wechatuser.WithConcurrency(2)) {
		require.NoError(t, last, "nothing comes after it")
		if last = err; err != nil {
			continue
		}
		assert.Equal(t, wechatusertest.OpenID(n), user.OpenID)
		if n++; n == 100 {
			srv.FailNext(testutil.PathBatchUserInfo, wechatuser.CodeDailyQuotaExceeded, 1000)
		}
	}
	assert.ErrorIs(t, last, wechatuser.CodeDailyQuotaExceeded)
	assert.GreaterOrEqual(t, n, 100)
	assert.Less(t, n, 1000)
	assert.Zero(t, n%100)

	srv.FailNext(testutil.PathBatchUserInfo, 0, 0)
	rest, errs := seq.Collect(c.BulkUserInfo(t.Context(),
		c.AllFans(t.Context(), wechatuser.StartAfter(wechatusertest.OpenID(n-1)))))
	assert.Empty(t, errs)
	assert.Len(t, rest, 1000-n)
}

func TestBulkUserInfoWaitsOutTheMinuteQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(1000),
			wechatusertest.WithQuota(testutil.PathBatchUserInfo, 0, 3))
		start := time.Now()
		users, errs := seq.Collect(srv.Client().BulkUserInfo(t.Context(),
			wechatuser.OpenIDs(testutil.OpenIDs(1000)...)))
		assert.Empty(t, errs)
		assert.Len(t, users, 1000)
		assert.Equal(t, 3*time.Minute, time.Since(start))
	})
}

func TestBulkChangeOpenID(t *testing.T) {
	moved := map[string]string{}
	var input []string
	for i := range 250 {
		old := wechatusertest.ForeignOpenID(i)
		input = append(input, old)
		if i%50 != 7 {
			moved[old] = wechatusertest.OpenID(i)
		}
	}
	input = append(input, "", input[0])
	srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithMigration("wxOLD", moved))
	c := srv.Client()
	i := 0
	for ch, err := range c.BulkChangeOpenID(t.Context(), "wxOLD", wechatuser.OpenIDs(input...)) {
		assert.Equal(t, input[i], ch.From)
		assert.Equal(t, moved[input[i]], ch.To)
		assert.Equal(t, err, ch.Err)
		if moved[input[i]] == "" {
			var one *wechatuser.OpenIDError
			require.ErrorAs(t, err, &one)
			assert.Equal(t, input[i], one.OpenID)
		} else {
			require.NoError(t, err)
		}
		i++
	}
	assert.Equal(t, len(input), i)
	assert.Equal(t, 3, srv.Calls(testutil.PathChangeOpenID))

	changes, errs := seq.Collect(c.BulkChangeOpenID(t.Context(), "wxANOTHER", wechatuser.OpenIDs(input...)))
	assert.Empty(t, changes)
	require.Len(t, errs, 1)
	assert.ErrorIs(t, errs[0], wechatuser.CodeMigrationInvalidAppID)
}

// A profile of which the platform does not escape a text breaks the JSON of its batch:
// https://github.com/node-webot/co-wechat-api/issues/63. It is found, and all others are returned.
func TestBulkUserInfoFindsAProfileThatIsBroken(t *testing.T) {
	for _, broken := range []string{
		`"city":"y?v\"`, `"remark":"a"b"`, `"remark":"a\` + "\x14" + `b"`, `"subscribe_time":[1]`, `"remark":{"a":1}`,
		`"tagid_list":[`,
	} {
		srv, _, _ := testutil.NewAccount(t, 1000)
		ids := testutil.OpenIDs(1000)
		c := srv.Client(
			wechatuser.WithTransport(breakProfile(srv, func(openID string) bool { return openID == ids[437] }, broken)))
		_, err := c.GetUserInfo(t.Context(), ids[0])
		require.NoError(t, err)
		before := srv.Calls("*")
		i := 0
		for user, err := range c.BulkUserInfo(t.Context(), c.AllFans(t.Context())) {
			if i == 437 {
				var one *wechatuser.OpenIDError
				require.ErrorAs(t, err, &one, broken)
				assert.Equal(t, ids[437], one.OpenID)
				var re *wechatuser.ResponseError
				require.ErrorAs(t, err, &re)
				assert.Equal(t, 200, re.StatusCode)
			} else {
				require.NoError(t, err, broken)
				assert.Equal(t, ids[i], user.OpenID)
			}
			i++
		}
		assert.Equal(t, 1000, i, broken)
		assert.LessOrEqual(t, srv.Calls("*")-before, 2+10+14+2, "two pages, ten batches, the bisection, two retries")
	}
}

// breakProfile puts a text into the profiles of some users, in batches.
func breakProfile(srv *wechatusertest.Server, of func(openID string) bool, broken string) http.RoundTripper {
	return testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := srv.Transport().RoundTrip(req)
		if err != nil || req.URL.Path != testutil.PathBatchUserInfo {
			return resp, err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		var out strings.Builder
		for i, part := range strings.SplitAfter(string(body), `"openid":"`) {
			if openID, _, _ := strings.Cut(part, `"`); i > 0 && of(openID) {
				out.WriteString(openID + `",` + broken)
				part = strings.TrimPrefix(part, openID+`"`)
			}
			out.WriteString(part)
		}
		return testutil.RespondJSON(out.String())(req)
	})
}

// A profile with values of another type is read as it is meant. It costs a call more only where it ends a batch, or
// seems to lack something.
func TestBulkUserInfoReadsValuesOfAnotherType(t *testing.T) {
	ids := testutil.OpenIDs(1000)
	for odd, field := range map[string]string{
		`"qr_scene":"98765"`: `"qr_scene":\d+`, `"tagid_list":""`: `"tagid_list":\[\]`,
		`"subscribe_time":""`: `"subscribe_time":\d+`, `"subscribe_time":[]`: `"subscribe_time":\d+`,
	} {
		srv, _, _ := testutil.NewAccount(t, 1000)
		pattern := regexp.MustCompile(`("openid":"` + ids[437] + `".*?)` + field)
		rt := testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
			resp, err := srv.Transport().RoundTrip(req)
			if err != nil || req.URL.Path != testutil.PathBatchUserInfo {
				return resp, err
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return nil, err
			}
			return testutil.RespondJSON(pattern.ReplaceAllString(string(body), "${1}"+odd))(req)
		})
		c := srv.Client(wechatuser.WithTransport(rt))
		users, errs := seq.Collect(c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(ids...)))
		assert.Empty(t, errs, odd)
		require.Len(t, users, 1000, odd)
		assert.Equal(t, ids[437], users[437].OpenID)
		assert.Equal(t, strings.Contains(odd, "98765"), users[437].QRScene == 98765, odd)
		assert.Equal(t, strings.Contains(odd, "subscribe_time"), users[437].SubscribeTime == 0, odd)
		assert.Equal(t, []int{}, users[437].TagIDList, odd)
		assert.LessOrEqual(t, srv.Calls(testutil.PathBatchUserInfo), 11, odd)
	}
}

// Where all profiles are broken, something else is wrong: the job ends, and does not report everybody.
func TestBulkUserInfoEndsIfEverythingIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, _ := testutil.NewAccount(t, 1000)
		rt := breakProfile(srv, func(string) bool { return true }, `"remark":"a"b"`)
		c := srv.Client(wechatuser.WithTransport(rt))
		users, errs := seq.Collect(c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(testutil.OpenIDs(1000)...),
			wechatuser.WithConcurrency(1)))
		assert.Empty(t, users)
		require.NotEmpty(t, errs)
		var (
			one *wechatuser.OpenIDError
			re  *wechatuser.ResponseError
		)
		last := errs[len(errs)-1]
		assert.False(t, errors.As(last, &one), "%v", last)
		assert.ErrorAs(t, last, &re)
		assert.Less(t, srv.Calls(testutil.PathBatchUserInfo), 100)
	})
}

// What is not the platform's list is not asked for in parts: a page of a proxy, or a body that was cut off.
func TestBulkUserInfoDoesNotHalveWhatIsNoList(t *testing.T) {
	for name, body := range map[string]string{
		"html": "<html></html>", "cut off": `{"user_info_list":[{"openid":"a"`, "another object": `{"error":"a"b"}`,
	} {
		s := testutil.Play(testutil.RespondJSON(body))
		users, errs := seq.Collect(testutil.NewClient(t, s).BulkUserInfo(t.Context(),
			wechatuser.OpenIDs(testutil.OpenIDs(100)...)))
		assert.Empty(t, users, name)
		require.Len(t, errs, 1, name)
		assert.LessOrEqual(t, s.Count(), 3, name)
	}
}

// The same for openids that are changed.
func TestBulkChangeOpenIDFindsAResultThatIsBroken(t *testing.T) {
	ids := testutil.OpenIDs(100)
	s := testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		sent := testutil.PeekBody(req)
		var results []string
		for i, id := range ids {
			if !strings.Contains(sent, id) {
				continue
			}
			result := fmt.Sprintf(`{"ori_openid":%q,"new_openid":"o%d","err_msg":"ok"}`, id, i)
			switch i {
			case 30:
				result = fmt.Sprintf(`{"ori_openid":%q,"err_msg":"a"b"}`, id)
			case 60:
				result = result + "," + result
			}
			results = append(results, result)
		}
		return testutil.RespondJSON(`{"errcode":0,"errmsg":"ok","result_list":[` + strings.Join(results, ",") + `]}`)(
			req)
	})
	c := testutil.NewClient(t, s)
	i := 0
	for ch, err := range c.BulkChangeOpenID(t.Context(), "wxOLD", wechatuser.OpenIDs(ids...)) {
		assert.Equal(t, ids[i], ch.From)
		if i == 30 || i == 60 {
			require.Error(t, err)
		} else {
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprint("o", i), ch.To)
		}
		i++
	}
	assert.Equal(t, 100, i)
}

// An openid that is in the input twice has two profiles, and not one that both share.
func TestBulkUserInfoSharesNothing(t *testing.T) {
	srv, c, tag := testutil.NewAccount(t, 3)
	require.NoError(t, c.BatchTagging(t.Context(), tag, testutil.OpenIDs(3)))
	id := wechatusertest.OpenID(1)
	input := []string{id, wechatusertest.OpenID(0), id, id}
	users, errs := seq.Collect(c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(input...)))
	require.Empty(t, errs)
	require.Len(t, users, 4)
	assert.Equal(t, 1, srv.Calls(testutil.PathBatchUserInfo))
	for i := range users {
		users[i].TagIDList[0] = -i
	}
	for i := range users {
		assert.Equal(t, []int{-i}, users[i].TagIDList)
	}
	one := testutil.RespondJSON(
		`{"user_info_list":[{"subscribe":1,"openid":"` + testutil.Alice + `","new_field":[1]}]}`)
	users, errs = seq.Collect(testutil.NewClient(t, testutil.Play(one)).BulkUserInfo(t.Context(),
		wechatuser.OpenIDs(testutil.Alice, testutil.Alice)))
	require.Empty(t, errs)
	require.Len(t, users, 2)
	users[0].Extra["new_field"][1] = '7'
	users[0].Extra["another"] = nil
	assert.Equal(t, map[string]json.RawMessage{"new_field": json.RawMessage("[1]")}, users[1].Extra)
}

// Profiles that a program keeps stay as they were, whatever the job does with the memory of its responses: where an openid
// comes twice, where responses are in another order, and where an interceptor makes calls twice or leaves one running.
func TestBulkUserInfoDoesNotChangeWhatItReturned(t *testing.T) {
	profile := func(id string) wechatuser.UserInfo {
		n := len(id) + int(id[len(id)-1])
		return wechatuser.UserInfo{
			Subscribe: 1, OpenID: id, UnionID: "u" + id, SubscribeTime: 1641364601, Remark: id[20:], TagIDList: []int{n, n + 1},
			SubscribeScene: wechatuser.SceneQRCode, Extra: map[string]json.RawMessage{"new": json.RawMessage(`"` + id + `"`)},
		}
	}
	ids := testutil.OpenIDs(2_000)
	var input []string
	for i, id := range ids {
		if input = append(input, id); i%7 == 0 {
			input = append(input, ids[max(0, i-i%900)])
		}
	}
	var calls atomic.Int64
	platform := testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		var asked struct {
			List []struct {
				OpenID string `json:"openid"`
			} `json:"user_list"`
		}
		if err := json.NewDecoder(req.Body).Decode(&asked); err != nil {
			return nil, err
		}
		if n := calls.Add(1); n%5 == 0 {
			slices.Reverse(asked.List)
		} else if n%11 == 0 {
			return testutil.RespondCode(wechatuser.CodeSystemBusy)(req)
		}
		var answer struct {
			Users []wechatuser.UserInfo `json:"user_info_list"`
		}
		for _, u := range asked.List {
			answer.Users = append(answer.Users, profile(u.OpenID))
		}
		body, err := json.Marshal(answer)
		if err != nil {
			return nil, err
		}
		return testutil.RespondJSON(string(body))(req)
	})
	var running sync.WaitGroup
	defer running.Wait()
	type sender = func(context.Context) (wechatuser.Result, error)
	twice := func(ctx context.Context, call wechatuser.Call, next sender) (wechatuser.Result, error) {
		if calls.Load()%3 == 0 {
			running.Go(func() { _, _ = next(context.WithoutCancel(ctx)) })
		}
		return next(ctx)
	}
	c := testutil.NewClient(t, platform, wechatuser.WithInterceptor(twice),
		wechatuser.WithRetry(wechatuser.RetryPolicy{MinDelay: 1, MaxDelay: 1}))
	var kept []wechatuser.UserInfo
	for u, err := range c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(input...), wechatuser.WithConcurrency(3)) {
		require.NoError(t, err)
		kept = append(kept, u)
	}
	require.Len(t, kept, len(input))
	for i, id := range input {
		require.Equal(t, profile(id), kept[i])
	}
}
