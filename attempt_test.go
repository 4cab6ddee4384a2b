package wechatuser_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

func TestCancelDuringAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		s := testutil.Play(testutil.Hang)
		err := testutil.NewClient(t, s).BatchTagging(ctx, 100, []string{testutil.Alice})
		assert.Equal(t, time.Second, time.Since(start))
		assert.Equal(t, 1, s.Count())
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
		assert.NotErrorIs(t, err, wechatuser.ErrTemporary)
	})
}

// The timeout of an attempt covers the body too, and does not end the caller's context.
func TestTimeoutOfAnAttempt(t *testing.T) {
	slowBody := func(req *http.Request) (*http.Response, error) {
		resp, err := testutil.RespondJSON(testutil.TagsBody)(req)
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(testutil.TagsBody[:9]),
			testutil.HangingReader{Ctx: req.Context()}))
		return resp, err
	}
	for name, reply := range map[string]testutil.Reply{"no response": testutil.Hang, "no end of the body": slowBody} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				err := testutil.GetTags(t.Context(), testutil.NewClient(t, testutil.Play(reply), testutil.NoRetry))
				assert.Equal(t, 10*time.Second, time.Since(start), "the default")
				var te *wechatuser.TransportError
				require.ErrorAs(t, err, &te)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.True(t, te.Timeout())
				assert.ErrorIs(t, err, wechatuser.ErrTemporary)

				start = time.Now()
				s := testutil.Play(reply, testutil.RespondJSON(testutil.TagsBody))
				require.NoError(t,
					testutil.GetTags(t.Context(), testutil.NewClient(t, s, wechatuser.WithTimeout(2*time.Second))))
				assert.Less(t, time.Since(start), 2*time.Second+200*time.Millisecond)
			})
		})
	}
}

// An errcode counts whatever the HTTP status: a gateway may translate it, and the platform may change its mind.
func TestErrcodeWithAnotherStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rejected := testutil.Respond(401,
			`{"errcode":40001,"errmsg":"invalid credential rid: 617682e0-09059ac5-34a8e2ea"}`)
		s := testutil.Play(testutil.RespondJSON(testutil.TokenBody), rejected,
			testutil.RespondJSON(`{"access_token":"ANOTHER","expires_in":7200}`),
			testutil.RespondJSON(testutil.TagsBody))
		require.NoError(t, testutil.GetTags(t.Context(), testutil.NewTokenClient(t, s)), "a refused token heals")

		for status, code := range map[int]wechatuser.Code{
			400: wechatuser.CodeInvalidOpenID, 403: wechatuser.CodeAPIUnauthorized,
			429: wechatuser.CodeMinuteQuotaExceeded,
			302: wechatuser.CodeAPIForbidden, 500: wechatuser.CodeDailyQuotaExceeded, 502: 12345,
		} {
			s := testutil.Play(testutil.Respond(status,
				fmt.Sprintf(`{"errcode":%d,"errmsg":"text rid: 617682e0-09059ac5-34a8e2ea"}`, code)))
			err := testutil.GetTags(t.Context(), testutil.NewClient(t, s))
			var e *wechatuser.Error
			require.ErrorAs(t, err, &e, "status %d", status)
			assert.Equal(t, []any{code, "text", "617682e0-09059ac5-34a8e2ea"}, []any{e.Code, e.Message, e.RID})
			assert.Equal(t, 1, s.Count(), "status %d", status)
		}

		// Busy is busy, and the pause is the one that the server asks for.
		s = testutil.Play(testutil.Respond(503, `{"errcode":-1,"errmsg":"system error"}`, "Retry-After", "30"),
			testutil.RespondJSON(testutil.TagsBody))
		start := time.Now()
		require.NoError(t, testutil.GetTags(t.Context(), testutil.NewClient(t, s)))
		assert.Equal(t, 30*time.Second, time.Since(start))

		// Without an errcode the status decides.
		for _, body := range []string{
			`{"errcode":0,"errmsg":"ok"}`, `{"tags":[]}`, `{"error":"40001"}`, `[40001]`, `<html>40001</html>`, ``,
		} {
			s := testutil.Play(testutil.Respond(403, body))
			err := testutil.GetTags(t.Context(), testutil.NewClient(t, s))
			var re *wechatuser.ResponseError
			require.ErrorAs(t, err, &re, body)
			assert.Equal(t, 403, re.StatusCode, body)
		}
	})
}

// A host that sends errcodes with status 502 is up.
func TestErrcodeWithAnotherStatusComesFromAHostThatIsUp(t *testing.T) {
	var hosts []string
	reply := testutil.Respond(502, `{"errcode":48001,"errmsg":"api unauthorized"}`)
	c := testutil.NewClient(t, testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		hosts = append(hosts, req.URL.Host)
		return reply(req)
	}), wechatuser.WithBaseURL("https://a.example", "https://b.example"))
	for range 2 {
		require.ErrorIs(t, testutil.GetTags(t.Context(), c), wechatuser.CodeAPIUnauthorized)
	}
	assert.Equal(t, []string{"a.example", "a.example"}, hosts)
}
