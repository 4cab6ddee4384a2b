package wechatuser_test

import (
	"context"
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
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(testutil.TagsBody[:9]), testutil.HangingReader{Ctx: req.Context()}))
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
				require.NoError(t, testutil.GetTags(t.Context(), testutil.NewClient(t, s, wechatuser.WithTimeout(2*time.Second))))
				assert.Less(t, time.Since(start), 2*time.Second+200*time.Millisecond)
			})
		})
	}
}
