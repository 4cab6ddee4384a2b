package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/redisstore"
)

var (
	encryptionKey = []byte("0123456789abcdef0123456789abcdef")
	otherKey      = []byte("fedcba9876543210")
)

func TestEncryption(t *testing.T) {
	rs := startRedis(t)
	rdb := rs.client(t)
	s := newStore(t, rdb, redisstore.WithEncryption(encryptionKey))
	want := tokenFor(token, time.Hour)
	require.NoError(t, s.Save(t.Context(), key, want))
	assertSame(t, want, mustLoad(t, s))
	require.NoError(t, s.Save(t.Context(), key, tokenFor("older", time.Minute)))
	assertSame(t, want, mustLoad(t, s))

	value := rdb.Get(t.Context(), key).Val()
	assert.Regexp(t, `^\{"sealed":"[A-Za-z0-9+/=]+"\}$`, value)
	rotated := newStore(t, rdb, redisstore.WithEncryption(otherKey, encryptionKey))
	assertSame(t, want, mustLoad(t, rotated))

	for name, tt := range map[string]struct {
		store *redisstore.Store
		value string
		text  string
	}{
		"wrong key":     {newStore(t, rdb, redisstore.WithEncryption(otherKey)), value, "another key"},
		"no key":        {newStore(t, rdb), value, "WithEncryption"},
		"not encrypted": {s, `{"access_token":"` + token + `","expires_at":"2100-01-01T00:00:00Z"}`, "not encrypted"},
		"modified":      {s, strings.Replace(value, value[20:24], "AAAA", 1), "modified"},
		"too short":     {s, `{"sealed":"AAAA"}`, "modified"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, rdb.Set(t.Context(), key, tt.value, 0).Err())
			_, err := tt.store.Load(t.Context(), key)
			errs := []error{
				err, tt.store.Save(t.Context(), key, want), tt.store.Delete(t.Context(), key, want),
			}
			for _, err := range errs {
				require.ErrorContains(t, err, tt.text)
				assert.NotErrorIs(t, err, wechatuser.ErrUnreadableToken)
				assert.False(t, strings.Contains(err.Error(), token))
			}
			assert.Equal(t, tt.value, rdb.Get(t.Context(), key).Val(), "the value is unchanged")
		})
	}

	const elsewhere = key + "2"
	require.NoError(t, rdb.Set(t.Context(), elsewhere, value, 0).Err())
	_, err := s.Load(t.Context(), elsewhere)
	assert.ErrorContains(t, err, "for another name", "a value is bound to its key")

	require.NoError(t, rdb.Set(t.Context(), key, value, 0).Err())
	require.NoError(t, s.Delete(t.Context(), key, want))
	assertSame(t, wechatuser.Token{}, mustLoad(t, s))
}

func TestTokenIsNeverSentUnencrypted(t *testing.T) {
	rs := startRedis(t)
	s := newStore(t, rs.client(t), redisstore.WithEncryption(encryptionKey))
	require.NoError(t, s.Save(t.Context(), key, tokenFor(token, time.Hour)))
	require.NoError(t, s.Delete(t.Context(), key, tokenFor(token, time.Hour)))
	assert.NotZero(t, rs.receivedAll("sealed"))
	assert.Zero(t, rs.received(token))
}
