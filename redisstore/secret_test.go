package redisstore_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/authorizer"
	"github.com/wechatuser/wechatuser/redisstore"
)

var _ authorizer.Store = (*redisstore.Store)(nil)

const secretKey = "wechatuser:refresh:wx1:wx2"

func TestSecrets(t *testing.T) {
	rdb := startRedis(t).client(t)
	s := newStore(t, rdb)
	load := func() string {
		t.Helper()
		got, err := s.LoadSecret(t.Context(), secretKey)
		require.NoError(t, err)
		return got
	}
	assert.Empty(t, load())
	require.NoError(t, s.DeleteSecret(t.Context(), secretKey))
	require.NoError(t, s.SaveSecret(t.Context(), secretKey, "refreshtoken@@@a/b+c=", 0))
	assert.Equal(t, "refreshtoken@@@a/b+c=", load())
	assert.Equal(t, time.Duration(-1), rdb.TTL(t.Context(), secretKey).Val(), "it does not expire")
	require.NoError(t, s.SaveSecret(t.Context(), secretKey, "next", time.Hour))
	assert.Equal(t, "next", load())
	assert.InDelta(t, time.Hour, rdb.PTTL(t.Context(), secretKey).Val(), float64(time.Minute))
	require.NoError(t, s.DeleteSecret(t.Context(), secretKey))
	assert.Empty(t, load())
	require.ErrorContains(t, s.SaveSecret(t.Context(), secretKey, "", 0), "empty secret")
}

func TestSecretsAreEncrypted(t *testing.T) {
	rs := startRedis(t)
	rdb := rs.client(t)
	oldKey, newKey := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	old := newStore(t, rdb, redisstore.WithEncryption(oldKey))
	both := newStore(t, rdb, redisstore.WithEncryption(newKey, oldKey))
	const refresh = "SENTINEL-refresh-token"

	require.NoError(t, old.SaveSecret(t.Context(), secretKey, refresh, 0))
	got, err := both.LoadSecret(t.Context(), secretKey)
	require.NoError(t, err)
	assert.Equal(t, refresh, got)
	require.NoError(t, both.SaveSecret(t.Context(), secretKey, refresh, 0))

	value := rdb.Get(t.Context(), secretKey).Val()
	require.NoError(t, rdb.Set(t.Context(), secretKey+"2", value, 0).Err())
	require.NoError(t, rdb.Set(t.Context(), secretKey+"3", `{"secret":"`+refresh+`"}`, 0).Err())
	require.NoError(t, rdb.Set(t.Context(), secretKey+"4", refresh, 0).Err())
	for name, load := range map[string]func() (string, error){
		"unknown key":   func() (string, error) { return old.LoadSecret(t.Context(), secretKey) },
		"no key":        func() (string, error) { return newStore(t, rdb).LoadSecret(t.Context(), secretKey) },
		"another name":  func() (string, error) { return both.LoadSecret(t.Context(), secretKey+"2") },
		"not encrypted": func() (string, error) { return both.LoadSecret(t.Context(), secretKey+"3") },
		"another value": func() (string, error) { return both.LoadSecret(t.Context(), secretKey+"4") },
	} {
		got, err := load()
		require.Error(t, err, name)
		assert.Empty(t, got, name)
		assert.ErrorContains(t, err, secretKey, name)
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "SENTINEL", name)
	}
	assert.Equal(t, 2, rs.receivedAll("SENTINEL"), "those that the test wrote itself")
}

// The methods for secrets wait for Redis, as those for legacy tokens do.
func TestSecretsWaitForRedis(t *testing.T) {
	rs := startRedis(t)
	s := newStore(t, rs.client(t, withoutRetries))
	rs.kill()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := s.LoadSecret(ctx, secretKey)
	require.ErrorIs(t, err, redisstore.ErrUnavailable)
	saved := make(chan error, 1)
	go func() { saved <- s.SaveSecret(context.Background(), secretKey, "x", 0) }()
	rs.start()
	require.NoError(t, <-saved)
	got, err := s.LoadSecret(t.Context(), secretKey)
	require.NoError(t, err)
	assert.Equal(t, "x", got)
}
