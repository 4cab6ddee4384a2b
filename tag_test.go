package wechatuser_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// byPath is a transport with a script for each path.
type byPath map[string]*script

func (p byPath) RoundTrip(req *http.Request) (*http.Response, error) {
	return p[req.URL.Path].RoundTrip(req)
}

// twice is a policy of two attempts.
var twice = wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 2})

// What a call that clears up does about a lost answer: the replies to it, and to the question for the tags.
type clearingUp struct {
	name    string
	replies []reply
	tags    reply // nil where nobody may ask
	opts    []wechatuser.Option
	want    error // nil for a success
	unclear bool  // the error matches ErrAmbiguous
}

func (tt clearingUp) run(t *testing.T, path string, do func(context.Context, *wechatuser.Client) error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		calls, tags := play(tt.replies...), play(refuses(48001))
		if tt.tags != nil {
			tags = play(tt.tags)
		}
		err := do(t.Context(), newClient(t, byPath{path: calls, "/cgi-bin/tags/get": tags}, append([]wechatuser.Option{twice}, tt.opts...)...))
		assert.Equal(t, len(tt.replies), calls.count())
		if tt.tags == nil {
			assert.Zero(t, tags.count(), "nothing is unclear")
		}
		if tt.want == nil {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, tt.want)
		if tt.unclear {
			require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
		} else {
			require.NotErrorIs(t, err, wechatuser.ErrAmbiguous)
		}
	})
}

func TestCreateTagClearsUp(t *testing.T) {
	created, taken := says(`{"tag":{"id":134,"name":"vip"}}`), refuses(45157)
	there := says(`{"tags":[{"id":133,"name":"VIP"},{"id":134,"name":"vip","count":7},{"id":135,"name":"vip "}]}`)
	notThere := says(`{"tags":[{"id":2,"name":"星标组"}]}`)
	var tag *wechatuser.Tag
	for _, tt := range []clearingUp{
		{name: "no need", replies: []reply{created}},
		{name: "the name was taken before", replies: []reply{taken}, want: wechatuser.CodeInvalidTagName},
		{name: "not sent, then taken", replies: []reply{fails(errRefused), taken}, want: wechatuser.CodeInvalidTagName},
		{name: "lost, then created", replies: []reply{fails(errReset), created}},
		{name: "lost, then taken", replies: []reply{fails(errReset), taken}, tags: there},
		{name: "busy, then taken", replies: []reply{refuses(-1), taken}, tags: there},
		{name: "bad gateway, then taken", replies: []reply{answers(502, "<html>"), taken}, tags: there},
		{name: "lost, then too many tags", replies: []reply{fails(errReset), refuses(45056)}, tags: there},
		{name: "lost for good, but created", replies: []reply{fails(errReset), fails(errReset)}, tags: there},
		{name: "lost for good", replies: []reply{fails(errReset), fails(errReset)}, tags: notThere, want: errReset, unclear: true},
		{name: "lost, then taken, and not listed", replies: []reply{fails(errReset), taken}, tags: notThere, want: wechatuser.CodeInvalidTagName, unclear: true},
		{name: "lost, then taken, and no list", replies: []reply{fails(errReset), taken}, tags: fails(errRefused), want: wechatuser.CodeInvalidTagName, unclear: true},
		{name: "lost, then refused, and no list", replies: []reply{fails(errReset), refuses(48001)}, tags: refuses(48001), want: wechatuser.CodeAPIUnauthorized, unclear: true},
		{name: "lost, without repeats", replies: []reply{fails(errReset)}, opts: []wechatuser.Option{noRepeats}, want: errReset, unclear: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.run(t, "/cgi-bin/tags/create", func(ctx context.Context, c *wechatuser.Client) (err error) {
				tag, err = c.CreateTag(ctx, "vip")
				return err
			})
			if tt.want != nil {
				assert.Nil(t, tag)
				return
			}
			require.NotNil(t, tag)
			assert.Equal(t, 134, tag.ID)
			assert.Equal(t, "vip", tag.Name)
		})
	}
}

func TestDeleteTagClearsUp(t *testing.T) {
	deleted, gone := says(okBody), refuses(45159)
	there := says(`{"tags":[{"id":133,"name":"a"},{"id":134,"name":"vip"}]}`)
	notThere := says(`{"tags":[{"id":133,"name":"a"},{"id":135,"name":"b"}]}`)
	for _, tt := range []clearingUp{
		{name: "no need", replies: []reply{deleted}},
		{name: "there was none", replies: []reply{gone}, want: wechatuser.CodeInvalidTagID},
		{name: "not sent, then none", replies: []reply{fails(errRefused), gone}, want: wechatuser.CodeInvalidTagID},
		{name: "lost, then deleted", replies: []reply{fails(errReset), deleted}},
		{name: "lost, then gone", replies: []reply{fails(errReset), gone}},
		{name: "busy, then gone", replies: []reply{refuses(-1), gone}},
		{name: "bad gateway, then gone", replies: []reply{answers(502, "<html>"), gone}},
		{name: "lost for good, but gone", replies: []reply{fails(errReset), fails(errReset)}, tags: notThere},
		{name: "lost for good", replies: []reply{fails(errReset), fails(errReset)}, tags: there, want: errReset, unclear: true},
		{name: "lost for good, and no list", replies: []reply{fails(errReset), fails(errReset)}, tags: refuses(48001), want: errReset, unclear: true},
		{name: "lost, then refused", replies: []reply{fails(errReset), refuses(45057)}, tags: there, want: wechatuser.CodeTagHasTooManyFans, unclear: true},
		{name: "lost, without repeats", replies: []reply{fails(errReset)}, opts: []wechatuser.Option{noRepeats}, want: errReset, unclear: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.run(t, "/cgi-bin/tags/delete", func(ctx context.Context, c *wechatuser.Client) error { return c.DeleteTag(ctx, 134) })
		})
	}
}

// A caller who has gone waits for no clearing up.
func TestClearingUpEndsWithTheContext(t *testing.T) {
	for name, do := range map[string]func(context.Context, *wechatuser.Client) error{
		"/cgi-bin/tags/create": func(ctx context.Context, c *wechatuser.Client) error {
			_, err := c.CreateTag(ctx, "vip")
			return err
		},
		"/cgi-bin/tags/delete": func(ctx context.Context, c *wechatuser.Client) error { return c.DeleteTag(ctx, 134) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				calls, tags := play(hangs), play(says(tagsBody))
				err := do(ctx, newClient(t, byPath{name: calls, "/cgi-bin/tags/get": tags}))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
				assert.Equal(t, 1, calls.count())
				assert.Zero(t, tags.count())
			})
		})
	}
}
