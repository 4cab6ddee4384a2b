package redisstore_test

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/redisstore"
	"github.com/wechatuser/wechatuser/wechatuserpush"
)

const (
	pushToken = "push-token"
	pushKey   = "wechatuser:push:" + appID + ":key"
)

func newDeduplicator(t *testing.T, rdb redis.UniversalClient, opts ...redisstore.Option) *redisstore.Deduplicator {
	t.Helper()
	d, err := redisstore.NewDeduplicator(rdb,
		append([]redisstore.Option{redisstore.WithTimeout(patientTimeout)}, opts...)...)
	require.NoError(t, err)
	return d
}

func TestClaims(t *testing.T) {
	rdb := startRedis(t).client(t)
	a, b := newDeduplicator(t, rdb), newDeduplicator(t, rdb)
	other := newDeduplicator(t, rdb, redisstore.WithKeyPrefix("crm:"))
	claim := func(d *redisstore.Deduplicator, owner string) wechatuserpush.State {
		t.Helper()
		state, err := d.Claim(t.Context(), pushKey, owner, time.Hour)
		require.NoError(t, err)
		return state
	}
	assert.Equal(t, wechatuserpush.Claimed, claim(a, "a"))
	require.True(t, rdb.PExpire(t.Context(), pushKey, time.Minute).Val())
	assert.Equal(t, wechatuserpush.Running, claim(b, "b"))
	assert.LessOrEqual(t, rdb.PTTL(t.Context(), pushKey).Val(), time.Minute, "not renewed by another owner")
	assert.Equal(t, wechatuserpush.Claimed, claim(a, "a"))
	assert.Greater(t, rdb.PTTL(t.Context(), pushKey).Val(), time.Minute, "renewed")
	assert.Equal(t, wechatuserpush.Claimed, claim(other, "b"), "another prefix")

	require.NoError(t, b.Release(t.Context(), pushKey, "b"))
	assert.Equal(t, wechatuserpush.Running, claim(b, "b"), "it was not b's")
	require.NoError(t, a.Release(t.Context(), pushKey, "a"))
	require.NoError(t, a.Release(t.Context(), pushKey, "a"))
	assert.Equal(t, wechatuserpush.Claimed, claim(b, "b"))

	require.NoError(t, a.Done(t.Context(), pushKey, 90*time.Second), "whose lease was over, and who finished first")
	assert.InDelta(t, 90, rdb.PTTL(t.Context(), pushKey).Val().Seconds(), 60)
	assert.Equal(t, wechatuserpush.Finished, claim(a, "a"))
	require.NoError(t, b.Release(t.Context(), pushKey, "b"))
	assert.Equal(t, wechatuserpush.Finished, claim(b, "b"), "done is done")

	for _, keep := range []time.Duration{0, -1, -time.Hour} { // go-redis has a meaning of its own for them
		require.NoError(t, a.Done(t.Context(), pushKey, keep))
		assert.LessOrEqual(t, rdb.PTTL(t.Context(), pushKey).Val(), time.Millisecond)
		assert.NotEqual(t, time.Duration(-1), rdb.PTTL(t.Context(), pushKey).Val(), "without an end")
	}

	// An owner's name is no state.
	require.NoError(t, rdb.Del(t.Context(), pushKey).Err())
	assert.Equal(t, wechatuserpush.Claimed, claim(a, "done"))
	assert.Equal(t, wechatuserpush.Running, claim(b, "b"))
}

func TestClaimEndsWithItsLease(t *testing.T) {
	rdb := startRedis(t).client(t)
	d := newDeduplicator(t, rdb)
	_, err := d.Claim(t.Context(), pushKey, "a", time.Minute)
	require.NoError(t, err)
	ttl := rdb.PTTL(t.Context(), pushKey).Val()
	assert.Positive(t, ttl)
	assert.LessOrEqual(t, ttl, time.Minute)
	require.True(t, rdb.PExpire(t.Context(), pushKey, time.Millisecond).Val())
	eventually(t, pollInterval, func() bool {
		state, err := d.Claim(t.Context(), pushKey, "b", time.Minute)
		return err == nil && state == wechatuserpush.Claimed
	})
}

func TestOneOfManyClaims(t *testing.T) {
	rs := startRedis(t)
	var claimed atomic.Int32
	var wg sync.WaitGroup
	for i := range 4 {
		d := newDeduplicator(t, rs.client(t))
		for j := range 5 {
			wg.Go(func() {
				state, err := d.Claim(t.Context(), pushKey, fmt.Sprint(i, j), time.Hour)
				assert.NoError(t, err)
				if state == wechatuserpush.Claimed {
					claimed.Add(1)
				}
			})
		}
	}
	wg.Wait()
	assert.EqualValues(t, 1, claimed.Load())
}

func TestDeduplicatorWithoutRedis(t *testing.T) {
	rs := startRedis(t)
	d := newDeduplicator(t, rs.client(t, withoutRetries))
	require.NoError(t, d.Check(t.Context()))
	rs.kill()
	_, err := d.Claim(t.Context(), pushKey, "a", time.Hour)
	require.ErrorIs(t, err, redisstore.ErrUnavailable)
	require.ErrorIs(t, d.Done(t.Context(), pushKey, time.Hour), redisstore.ErrUnavailable)
	require.ErrorIs(t, d.Release(t.Context(), pushKey, "a"), redisstore.ErrUnavailable)
	require.ErrorIs(t, d.Check(t.Context()), redisstore.ErrUnavailable)
	rs.start()
	require.NoError(t, d.Check(t.Context()), "a check ends the pause")
	_, err = d.Claim(t.Context(), pushKey, "a", time.Hour)
	require.NoError(t, err)
	assert.EqualValues(t, 1, rs.client(t).DBSize(t.Context()).Val(), "a check leaves nothing")
}

// A push is handled by one process. If that one is killed meanwhile, a repeat is handled by another, after no longer
// than the lease.
func TestPushOfKilledProcessIsHandled(t *testing.T) {
	t.Parallel()
	rs := startRedis(t)
	workers := startWorkers(t, 3, workerConfig{
		URL: wechatuser.BaseURL, Redis: []string{rs.addr()}, Lease: time.Second, Timeout: patientTimeout,
	})
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	parts := []string{pushToken, timestamp, "1"}
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	push := order{
		Do: "push", Query: "timestamp=" + timestamp + "&nonce=1&signature=" + hex.EncodeToString(sum[:]),
		Body: "<xml><FromUserName>SENTINEL-openid-SENTINEL</FromUserName><CreateTime>" + timestamp +
			"</CreateTime><MsgType>event</MsgType><Event>subscribe</Event></xml>",
	}
	hanging := push
	hanging.Hang = true
	workers[0].send(hanging)
	rdb := rs.client(t)
	eventually(t, pollInterval, func() bool { return rdb.DBSize(t.Context()).Val() == 1 })
	keys := rdb.Keys(t.Context(), "*").Val()
	require.Len(t, keys, 1)
	assert.Regexp(t, "^wechatuser:push:"+appID+":[A-Za-z0-9_-]{24}$", keys[0])
	assert.LessOrEqual(t, rdb.PTTL(t.Context(), keys[0]).Val(), 4*time.Second, "the lease")

	workers[0].kill()
	handled := 0
	eventually(t, pollInterval, func() bool { // the platform's repeats
		got := sendAll(workers[1:], push)
		handled += got.Handled
		return got.Status == 2*http.StatusOK
	})
	assert.Equal(t, 1, handled)
	assert.Zero(t, rs.receivedAll("SENTINEL"), "no openid is sent to Redis")
}
