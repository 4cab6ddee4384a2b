package redisstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// retryScripts is a hook that sends each script twice, as a client does that lost the first response.
type retryScripts struct{ hooks }

func (retryScripts) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" || cmd.Name() == "eval" {
			_ = next(ctx, cmd)
		}
		return next(ctx, cmd)
	}
}

func TestRetriedScriptsSucceed(t *testing.T) {
	rdb := startRedis(t).client(t)
	rdb.AddHook(retryScripts{})
	s := newStore(t, rdb)
	want := tokenFor(token, time.Hour)
	require.NoError(t, s.Save(t.Context(), key, want))
	assertSame(t, want, mustLoad(t, s))
	ctx, cancel := context.WithTimeout(t.Context(), patientTimeout)
	defer cancel()
	unlock, err := s.Lock(ctx, key)
	require.NoError(t, err, "the retry finds its own lock")
	unlock()
	assert.Zero(t, rdb.Exists(t.Context(), key+":lock").Val())
	require.NoError(t, s.Delete(t.Context(), key, want))
	assertSame(t, wechatuser.Token{}, mustLoad(t, s))
}

func TestErrorOfServerWithoutScriptsContainsNoToken(t *testing.T) {
	s := newStore(t, startRedis(t, "--rename-command", "EVALSHA", "").client(t))
	err := s.Save(t.Context(), key, tokenFor(token, time.Hour))
	require.ErrorContains(t, err, "unknown command 'evalsha'")
	assert.False(t, strings.Contains(err.Error(), "SENTINEL"))
}
