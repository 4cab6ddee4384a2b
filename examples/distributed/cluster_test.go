package main

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// newCluster starts a Redis server that is stopped after the test. It fails the test if Redis is not installed.
func newCluster(t *testing.T, fans int) (*cluster, *job) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Redis server")
	}
	account := wechatusertest.NewServer(
		wechatusertest.WithAccount("wxFAKE000000000000", secret),
		wechatusertest.WithFans(fans), wechatusertest.WithPageSize(300))
	t.Cleanup(account.Close)
	c, err := startCluster(t.Context(), account, t.TempDir(), 60_000, os.Stderr)
	require.NoError(t, err, "go test -short skips the tests that need Redis")
	t.Cleanup(c.close)
	j, err := c.openJob()
	require.NoError(t, err)
	t.Cleanup(j.close)
	return c, j
}

// startWorker runs a worker in this process. It returns a function that stops the worker and waits for it.
func startWorker(t *testing.T, c *cluster, tasks int, grace time.Duration, log io.Writer) (stop func()) {
	t.Helper()
	j, err := c.openJob()
	require.NoError(t, err)
	cfg := c.config()
	cfg.tasks, cfg.grace = tasks, grace
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- work(ctx, j, cfg, log)
		j.close()
	}()
	return func() {
		cancel()
		require.NoError(t, <-done)
	}
}

func produceAll(t *testing.T, c *cluster, j *job, chunk int, file string) {
	t.Helper()
	cfg := c.config()
	cfg.tag, cfg.chunk, cfg.file = demoTag, chunk, file
	require.NoError(t, produce(t.Context(), j, cfg, io.Discard))
}

func summaryOf(t *testing.T, j *job) *summary {
	t.Helper()
	s, err := j.summary(t.Context())
	require.NoError(t, err)
	require.NoError(t, j.diagnose(t.Context(), s))
	return s
}

// eventually waits until a condition is true, and fails the test if that takes too long. It calls the condition in the
// goroutine of the test.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !condition(); time.Sleep(50 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "timed out waiting until %s", what)
	}
}

// keysContaining returns the keys of Redis that contain a text in their name or value.
func keysContaining(t *testing.T, rdb redis.UniversalClient, text string) (found []string) {
	t.Helper()
	ctx := t.Context()
	keys, err := rdb.Keys(ctx, "*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, key := range keys {
		parts := []string{key}
		kind := rdb.Type(ctx, key).Val()
		switch kind {
		case "string":
			parts = append(parts, rdb.Get(ctx, key).Val())
		case "hash":
			for field, value := range rdb.HGetAll(ctx, key).Val() {
				parts = append(parts, field, value)
			}
		case "list":
			parts = append(parts, rdb.LRange(ctx, key, 0, -1).Val()...)
		case "set":
			parts = append(parts, rdb.SMembers(ctx, key).Val()...)
		case "zset":
			parts = append(parts, rdb.ZRange(ctx, key, 0, -1).Val()...)
		case "none": // expired
		default:
			t.Fatalf("%s: unexpected type %s", key, kind)
		}
		if strings.Contains(strings.Join(parts, "\n"), text) {
			found = append(found, key)
		}
	}
	return found
}
