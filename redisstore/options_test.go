package redisstore_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/redisstore"
)

func TestInvalidOptionsAreReported(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	_, err := redisstore.New((*redis.Client)(nil),
		redisstore.WithTimeout(0), redisstore.WithLease(time.Millisecond),
		redisstore.WithEncryption([]byte("SENTINEL")),
		redisstore.WithReadFrom(nil), redisstore.WithFailClosed(), redisstore.Option{},
		redisstore.WithConnectTimeout(-time.Second))
	for _, text := range []string{
		"nil client", "WithTimeout", "WithLease", "key size 8", "nil layout", "WithFailClosed", "option 6",
		"WithConnectTimeout: -1s is too short",
	} {
		assert.ErrorContains(t, err, text)
	}
	assert.NotContains(t, err.Error(), "SENTINEL")
	var argument *wechatuser.ArgumentError
	require.ErrorAs(t, err, &argument)
	assert.Equal(t, "redisstore.New", argument.API)
	_, err = redisstore.New(nil)
	require.Error(t, err)

	_, err = redisstore.NewLimiter(nil, "", redisstore.Limit{Burst: -1},
		redisstore.WithLease(time.Minute), redisstore.WithLogger(nil), redisstore.WithFallbackShare(0),
		redisstore.WithMargin(-time.Second))
	for _, text := range []string{
		"nil client", "key", "limit", "WithLease", "nil logger", "0 processes", "WithMargin: -1s is too short",
	} {
		assert.ErrorContains(t, err, text)
	}

	_, err = redisstore.NewDeduplicator(nil, redisstore.WithTimeout(0), redisstore.WithLease(time.Minute))
	for _, text := range []string{"nil client", "WithTimeout: 0s is too short", "WithLease: not an option of"} {
		assert.ErrorContains(t, err, text)
	}
}
