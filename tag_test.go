package wechatuser_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

// twice is a policy of two attempts.
var twice = wechatuser.WithRetry(wechatuser.RetryPolicy{MaxAttempts: 2})

// lookUpTest is a call whose response is lost, and that looks up the outcome in the tag list.
type lookUpTest struct {
	name    string
	replies []testutil.Reply
	tags    testutil.Reply // nil if the list must not be read
	opts    []wechatuser.Option
	want    error // nil for a success
	unclear bool  // the error matches ErrAmbiguous
}

func (tt lookUpTest) run(t *testing.T, path string, do func(context.Context, *wechatuser.Client) error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		calls, tags := testutil.Play(tt.replies...), testutil.Play(testutil.RespondCode(48001))
		if tt.tags != nil {
			tags = testutil.Play(tt.tags)
		}
		err := do(t.Context(),
			testutil.NewClient(t, testutil.ByPath{path: calls, testutil.PathGetTags: tags},
				append([]wechatuser.Option{twice}, tt.opts...)...))
		assert.Equal(t, len(tt.replies), calls.Count())
		if tt.tags == nil {
			assert.Zero(t, tags.Count(), "nothing is unclear")
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

func TestCreateTagLooksUpAnUnknownOutcome(t *testing.T) {
	created, taken := testutil.RespondJSON(`{"tag":{"id":134,"name":"vip"}}`), testutil.RespondCode(45157)
	there := testutil.RespondJSON(
		`{"tags":[{"id":133,"name":"VIP"},{"id":134,"name":"vip","count":7},{"id":135,"name":"vip "}]}`)
	notThere := testutil.RespondJSON(`{"tags":[{"id":2,"name":"星标组"}]}`)
	var tag *wechatuser.Tag
	for _, tt := range []lookUpTest{
		{name: "no need", replies: []testutil.Reply{created}},
		{name: "the name was taken before", replies: []testutil.Reply{taken}, want: wechatuser.CodeInvalidTagName},
		{
			name: "not sent, then taken", replies: []testutil.Reply{testutil.Fail(testutil.ErrRefused), taken},
			want: wechatuser.CodeInvalidTagName,
		},
		{name: "lost, then created", replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), created}},
		{name: "lost, then taken", replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), taken}, tags: there},
		{name: "busy, then taken", replies: []testutil.Reply{testutil.RespondCode(-1), taken}, tags: there},
		{
			name: "bad gateway, then taken", replies: []testutil.Reply{testutil.Respond(502, "<html>"), taken},
			tags: there,
		},
		{
			name:    "lost, then too many tags",
			replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), testutil.RespondCode(45056)}, tags: there,
		},
		{
			name:    "lost for good, but created",
			replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), testutil.Fail(testutil.ErrReset)}, tags: there,
		},
		{
			name:    "lost for good",
			replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), testutil.Fail(testutil.ErrReset)},
			tags:    notThere, want: testutil.ErrReset, unclear: true,
		},
		{
			name:    "lost, then taken, and not listed",
			replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), taken}, tags: notThere,
			want: wechatuser.CodeInvalidTagName, unclear: true,
		},
		{
			name: "lost, then taken, and no list", replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), taken},
			tags: testutil.Fail(testutil.ErrRefused), want: wechatuser.CodeInvalidTagName, unclear: true,
		},
		{
			name:    "lost, then rejected, and no list",
			replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), testutil.RespondCode(48001)},
			tags:    testutil.RespondCode(48001), want: wechatuser.CodeAPIUnauthorized, unclear: true,
		},
		{
			name: "lost, without retries", replies: []testutil.Reply{testutil.Fail(testutil.ErrReset)},
			opts: []wechatuser.Option{testutil.NoRetry}, want: testutil.ErrReset, unclear: true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.run(t, testutil.PathCreateTag, func(ctx context.Context, c *wechatuser.Client) (err error) {
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

func TestDeleteTagLooksUpAnUnknownOutcome(t *testing.T) {
	deleted, gone := testutil.RespondJSON(testutil.OKBody), testutil.RespondCode(45159)
	there := testutil.RespondJSON(`{"tags":[{"id":133,"name":"a"},{"id":134,"name":"vip"}]}`)
	notThere := testutil.RespondJSON(`{"tags":[{"id":133,"name":"a"},{"id":135,"name":"b"}]}`)
	for _, tt := range []lookUpTest{
		{name: "no need", replies: []testutil.Reply{deleted}},
		{name: "there was none", replies: []testutil.Reply{gone}, want: wechatuser.CodeInvalidTagID},
		{
			name: "not sent, then none", replies: []testutil.Reply{testutil.Fail(testutil.ErrRefused), gone},
			want: wechatuser.CodeInvalidTagID,
		},
		{name: "lost, then deleted", replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), deleted}},
		{name: "lost, then gone", replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), gone}, tags: notThere},
		{name: "busy, then gone", replies: []testutil.Reply{testutil.RespondCode(-1), gone}, tags: notThere},
		{
			name: "bad gateway, then gone", replies: []testutil.Reply{testutil.Respond(502, "<html>"), gone},
			tags: notThere,
		},
		{
			name:    "lost, then denied though it is there",
			replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), gone}, tags: there,
			want: wechatuser.CodeInvalidTagID, unclear: true,
		},
		{
			name: "lost, then denied, and no list", replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), gone},
			tags: testutil.RespondCode(48001), want: wechatuser.CodeInvalidTagID, unclear: true,
		},
		{
			name:    "lost for good, but gone",
			replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), testutil.Fail(testutil.ErrReset)},
			tags:    notThere,
		},
		{
			name:    "lost for good",
			replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), testutil.Fail(testutil.ErrReset)}, tags: there,
			want: testutil.ErrReset, unclear: true,
		},
		{
			name:    "lost for good, and no list",
			replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), testutil.Fail(testutil.ErrReset)},
			tags:    testutil.RespondCode(48001), want: testutil.ErrReset, unclear: true,
		},
		{
			name:    "lost, then rejected",
			replies: []testutil.Reply{testutil.Fail(testutil.ErrReset), testutil.RespondCode(45057)}, tags: there,
			want: wechatuser.CodeTagHasTooManyFans, unclear: true,
		},
		{
			name: "lost, without retries", replies: []testutil.Reply{testutil.Fail(testutil.ErrReset)},
			opts: []wechatuser.Option{testutil.NoRetry}, want: testutil.ErrReset, unclear: true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.run(t, testutil.PathDeleteTag, func(ctx context.Context, c *wechatuser.Client) error {
				return c.DeleteTag(ctx, 134)
			})
		})
	}
}

// The look-up ends with the caller's context.
func TestLookUpEndsWithTheContext(t *testing.T) {
	for name, do := range map[string]func(context.Context, *wechatuser.Client) error{
		testutil.PathCreateTag: func(ctx context.Context, c *wechatuser.Client) error {
			_, err := c.CreateTag(ctx, "vip")
			return err
		},
		testutil.PathDeleteTag: func(ctx context.Context, c *wechatuser.Client) error { return c.DeleteTag(ctx, 134) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				calls, tags := testutil.Play(testutil.Hang), testutil.Play(testutil.RespondJSON(testutil.TagsBody))
				err := do(ctx, testutil.NewClient(t, testutil.ByPath{name: calls, testutil.PathGetTags: tags}))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorIs(t, err, wechatuser.ErrAmbiguous)
				assert.Equal(t, 1, calls.Count())
				assert.Zero(t, tags.Count())
			})
		})
	}
}
