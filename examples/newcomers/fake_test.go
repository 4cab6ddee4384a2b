package newcomers_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/examples/newcomers"
)

type fake struct {
	users  []wechatuser.UserInfo
	tagged []string
}

func (f *fake) EnsureTag(context.Context, string) (*wechatuser.Tag, error) {
	return &wechatuser.Tag{ID: 100}, nil
}

func (f *fake) AllFans(context.Context, ...wechatuser.ListOption) iter.Seq2[string, error] {
	return wechatuser.OpenIDs()
}

func (f *fake) BulkUserInfo(
	context.Context, iter.Seq2[string, error], ...wechatuser.BulkOption,
) iter.Seq2[wechatuser.UserInfo, error] {
	return func(yield func(wechatuser.UserInfo, error) bool) {
		for _, user := range f.users {
			if !yield(user, nil) {
				return
			}
		}
	}
}

func (f *fake) BulkTagging(
	_ context.Context, _ int, openIDs iter.Seq2[string, error], _ ...wechatuser.BulkOption,
) (*wechatuser.BulkReport, error) {
	for openID, err := range openIDs {
		if err != nil {
			return &wechatuser.BulkReport{}, err
		}
		f.tagged = append(f.tagged, openID)
	}
	return &wechatuser.BulkReport{Applied: len(f.tagged)}, nil
}

func TestYesterdayIsInBeijingTime(t *testing.T) {
	user := func(openID, at string) wechatuser.UserInfo {
		followed, err := time.Parse(time.RFC3339, at)
		require.NoError(t, err)
		return wechatuser.UserInfo{OpenID: openID, Subscribe: 1, SubscribeTime: followed.Unix()}
	}
	f := &fake{users: []wechatuser.UserInfo{
		user("oFAKEbefore", "2026-03-09T23:59:59+08:00"),
		user("oFAKEfirst", "2026-03-10T00:00:00+08:00"),
		user("oFAKElast", "2026-03-10T23:59:59+08:00"),
		user("oFAKEtoday", "2026-03-11T00:00:00+08:00"),
	}}
	now := time.Date(2026, time.March, 10, 18, 0, 0, 0, time.UTC) // the 11th in Beijing

	res, err := newcomers.Job{Account: f}.Run(t.Context(), now)

	require.NoError(t, err)
	assert.Equal(t, []string{"oFAKEfirst", "oFAKElast"}, f.tagged)
	assert.Equal(t, newcomers.Result{Tagged: 2}, res)
}
