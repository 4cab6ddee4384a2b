package redisstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/redisstore"
)

const legacyKey = "wechatuser:token:legacy:" + appID

func TestTokensOfOtherSDKs(t *testing.T) {
	rs := startRedis(t)
	rdb := rs.client(t)
	for name, c := range map[string]struct {
		layout        redisstore.Layout
		key           string // of ours
		foreign       string
		value         string
		ttl           time.Duration
		found, broken bool
	}{
		"WxJava":              {redisstore.WxJava(""), key, "wx:access_token:" + appID, token, time.Hour, true, false},
		"WxJava, legacy":      {redisstore.WxJava(""), legacyKey, "wx:access_token:" + appID, token, time.Hour, true, false},
		"WxJava, many":        {redisstore.WxJava("wx:mp:multi"), key, "wx:mp:multi:access_token:" + appID, token, time.Hour, true, false},
		"WxJava on Redisson":  {redisstore.WxJava(""), key, "wx:access_token:" + appID, "\x03\x82\x17" + token, time.Hour, false, true},
		"silenceper":          {redisstore.Silenceper(""), key, "gowechat_officialaccount__stable_access_token_" + appID, token, time.Hour, true, false},
		"silenceper, legacy":  {redisstore.Silenceper(""), legacyKey, "gowechat_officialaccount__access_token_" + appID, token, time.Hour, true, false},
		"silenceper, other":   {redisstore.Silenceper(""), key, "gowechat_officialaccount__access_token_" + appID, token, time.Hour, false, false},
		"silenceper, JSON":    {redisstore.Silenceper(""), key, "gowechat_officialaccount__stable_access_token_" + appID, `"` + token + `"`, time.Hour, true, false},
		"silenceper, no JSON": {redisstore.Silenceper(""), key, "gowechat_officialaccount__stable_access_token_" + appID, `"` + token, time.Hour, false, true},
		"without an end":      {redisstore.WxJava(""), key, "wx:access_token:" + appID, token, 0, false, false},
		"nothing there":       {redisstore.WxJava(""), key, "elsewhere", token, time.Hour, false, false},
		"none for it":         {func(string, bool) string { return "" }, key, "elsewhere", token, time.Hour, false, false},
		"a key of another":    {redisstore.WxJava(""), "key", "wx:access_token:" + appID, token, time.Hour, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, rdb.FlushDB(t.Context()).Err())
			require.NoError(t, rdb.Set(t.Context(), c.foreign, c.value, c.ttl).Err())
			s := newStore(t, rdb, redisstore.WithReadFrom(c.layout))
			got, err := s.Load(t.Context(), c.key)
			if c.broken {
				require.ErrorContains(t, err, c.foreign)
				assert.NotContains(t, err.Error(), "SENTINEL")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.found, got.AccessToken == token)
			if c.found {
				assert.WithinDuration(t, time.Now().Add(c.ttl), got.ExpiresAt, 20*time.Second)
				assert.False(t, got.ExpiresAt.After(time.Now().Add(c.ttl)), "never later than the key")
			}
			// Nothing is written there, and nothing is deleted.
			require.NoError(t, s.Delete(t.Context(), c.key, got))
			assert.Equal(t, int64(1), rdb.DBSize(t.Context()).Val())
		})
	}
}

func TestOwnTokenGoesFirst(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb, redisstore.WithReadFrom(redisstore.WxJava(""), redisstore.Silenceper("")))
	require.NoError(t, rdb.Set(t.Context(), "gowechat_officialaccount__stable_access_token_"+appID, "third", time.Hour).Err())
	assert.Equal(t, "third", loaded(t, s).AccessToken)
	require.NoError(t, rdb.Set(t.Context(), "wx:access_token:"+appID, "second", time.Hour).Err())
	assert.Equal(t, "second", loaded(t, s).AccessToken)
	require.NoError(t, s.Save(t.Context(), key, tokenFor("first", time.Minute)))
	assert.Equal(t, "first", loaded(t, s).AccessToken)
}

// A program moves from WxJava to this SDK, and both run for a while.
func TestMovingOverWithoutAFight(t *testing.T) {
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		srv, rdb := platform(t), startRedis(t).client(t)
		opts := []wechatuser.Option{wechatuser.WithTokenStore(newStore(t, rdb, redisstore.WithReadFrom(redisstore.WxJava(""))))}
		if legacy {
			opts = append(opts, wechatuser.WithLegacyToken())
		}
		wxJava := func() {
			require.NoError(t, rdb.Set(t.Context(), "wx:access_token:"+appID, srv.AccessToken(), time.Hour).Err())
		}
		c := srv.Client(opts...)
		defer c.HTTPClient().CloseIdleConnections()
		wxJava()
		_, err := c.GetTags(t.Context())
		require.NoError(t, err)
		srv.ExpireTokens()
		wxJava() // was faster
		_, err = c.GetTags(t.Context())
		require.NoError(t, err)
		assert.Zero(t, srv.Calls(path), "its tokens are used")

		srv.ExpireTokens() // and WxJava is gone
		_, err = c.GetTags(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, srv.Calls(path))
	})
}
