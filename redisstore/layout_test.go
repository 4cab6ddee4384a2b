package redisstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/redisstore"
)

const (
	legacyKey = "wechatuser:token:legacy:" + appID

	wxJavaKey           = "wx:access_token:" + appID
	silenceperStableKey = "gowechat_officialaccount__stable_access_token_" + appID
	silenceperLegacyKey = "gowechat_officialaccount__access_token_" + appID
)

func TestLoadReadsTokensOfOtherSDKs(t *testing.T) {
	rs := startRedis(t)
	rdb := rs.client(t)
	type result int
	const (
		none result = iota
		found
		invalid
	)
	wxJava, multi, silenceper := redisstore.WxJava(""), redisstore.WxJava("wx:mp:multi"), redisstore.Silenceper("")
	for name, c := range map[string]struct {
		layout  redisstore.Layout
		key     string // of the store
		foreign string // key of the other SDK
		value   string
		ttl     time.Duration
		want    result
	}{
		"WxJava":                 {wxJava, key, wxJavaKey, token, time.Hour, found},
		"WxJava, legacy":         {wxJava, legacyKey, wxJavaKey, token, time.Hour, found},
		"WxJava, multi":          {multi, key, "wx:mp:multi:access_token:" + appID, token, time.Hour, found},
		"WxJava on Redisson":     {wxJava, key, wxJavaKey, "\x03\x82\x17" + token, time.Hour, invalid},
		"silenceper":             {silenceper, key, silenceperStableKey, token, time.Hour, found},
		"silenceper, legacy":     {silenceper, legacyKey, silenceperLegacyKey, token, time.Hour, found},
		"silenceper, other kind": {silenceper, key, silenceperLegacyKey, token, time.Hour, none},
		"silenceper, JSON":       {silenceper, key, silenceperStableKey, `"` + token + `"`, time.Hour, found},
		"silenceper, invalid":    {silenceper, key, silenceperStableKey, `"` + token, time.Hour, invalid},
		"no expiry":              {wxJava, key, wxJavaKey, token, 0, none},
		"no token":               {wxJava, key, "elsewhere", token, time.Hour, none},
		"layout without a key":   {func(string, bool) string { return "" }, key, "elsewhere", token, time.Hour, none},
		"unknown key":            {wxJava, "key", wxJavaKey, token, time.Hour, none},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, rdb.FlushDB(t.Context()).Err())
			require.NoError(t, rdb.Set(t.Context(), c.foreign, c.value, c.ttl).Err())
			s := newStore(t, rdb, redisstore.WithReadFrom(c.layout))
			got, err := s.Load(t.Context(), c.key)
			if c.want == invalid {
				require.ErrorContains(t, err, c.foreign)
				require.ErrorIs(t, err, wechatuser.ErrUnreadableToken)
				assert.NotContains(t, err.Error(), "SENTINEL")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want == found, got.AccessToken == token)
			if c.want == found {
				assert.WithinDuration(t, time.Now().Add(c.ttl), got.ExpiresAt, 10*time.Minute)
				assert.False(t, got.ExpiresAt.After(time.Now().Add(c.ttl)), "the token never outlives its key")
			}
			// The store neither writes nor deletes the keys of another SDK.
			require.NoError(t, s.Delete(t.Context(), c.key, got))
			assert.Equal(t, int64(1), rdb.DBSize(t.Context()).Val())
		})
	}
}

func TestOwnTokenTakesPrecedence(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb, redisstore.WithReadFrom(redisstore.WxJava(""), redisstore.Silenceper("")))
	require.NoError(t, rdb.Set(t.Context(), silenceperStableKey, "third", time.Hour).Err())
	assert.Equal(t, "third", mustLoad(t, s).AccessToken)
	require.NoError(t, rdb.Set(t.Context(), wxJavaKey, "second", time.Hour).Err())
	assert.Equal(t, "second", mustLoad(t, s).AccessToken)
	require.NoError(t, s.Save(t.Context(), key, tokenFor("first", time.Minute)))
	assert.Equal(t, "first", mustLoad(t, s).AccessToken)
}

// A program is migrated from WxJava to this SDK, and both run for a while.
func TestMigrationUsesTokensOfWxJava(t *testing.T) {
	forEachKind(t, func(t *testing.T, legacy bool, path string) {
		srv, rdb := newPlatform(t), startRedis(t).client(t)
		store := newStore(t, rdb, redisstore.WithReadFrom(redisstore.WxJava("")))
		opts := []wechatuser.Option{wechatuser.WithTokenStore(store)}
		if legacy {
			opts = append(opts, wechatuser.WithLegacyToken())
		}
		wxJavaRenews := func() {
			require.NoError(t, rdb.Set(t.Context(), wxJavaKey, srv.AccessToken(), time.Hour).Err())
		}
		c := srv.Client(opts...)
		defer c.HTTPClient().CloseIdleConnections()
		wxJavaRenews()
		_, err := c.GetTags(t.Context())
		require.NoError(t, err)
		srv.ExpireTokens()
		wxJavaRenews() // before this SDK notices
		_, err = c.GetTags(t.Context())
		require.NoError(t, err)
		assert.Zero(t, srv.Calls(path), "the tokens of WxJava are used")

		srv.ExpireTokens() // WxJava has been shut down
		_, err = c.GetTags(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, srv.Calls(path))
	})
}
