package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// childEnv makes the test binary run as the program.
const childEnv = "WECHATUSER_DISTRIBUTED_CHILD"

// secret must not be anywhere in Redis.
const secret = "SENTINEL-secret-SENTINEL"

const tagging = "/cgi-bin/tags/members/batchtagging"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		return
	}
	_ = os.Setenv(childEnv, "1") // for the processes of the tests
	goleak.VerifyTestMain(m)
}

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

func TestArguments(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"boss"}, "must be producer, worker, report or rerun"},
		{[]string{"worker", "now"}, "unexpected argument"},
		{[]string{"producer"}, "-tag is required"},
		{[]string{"producer", "-tag", "x", "-chunk", "0"}, "-chunk must be at least 1"},
		{[]string{"worker", "-tasks", "0"}, "-tasks must be at least 1"},
		{[]string{"report", "-limit", "-1"}, "-limit must not be negative"},
		{[]string{"-fans", "0"}, "at least 1"},
		{[]string{"-bad", "0.6"}, "-bad must be from 0 to 0.5"},
		{[]string{"worker"}, "WECHAT_APPID is not set"},
	} {
		t.Setenv("WECHAT_APPID", "")
		t.Setenv("WECHAT_SECRET", "")
		assert.ErrorContains(t, run(t.Context(), test.args, io.Discard, io.Discard), test.want, "%q", test.args)
	}
}

func TestWithoutRedisServer(t *testing.T) {
	t.Setenv("PATH", "")
	err := run(t.Context(), []string{"-fans", "10"}, io.Discard, io.Discard)
	assert.ErrorContains(t, err, "apt-get install redis-server")
}

func TestLinesOfFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "openids.txt")
	require.NoError(t, os.WriteFile(file, []byte("a\n\n  b\r\nc"), 0o600))
	for skip, want := range []string{"abc", "bc", "c", ""} {
		var got bytes.Buffer
		for id, err := range lines(file, skip) {
			require.NoError(t, err)
			got.WriteString(id)
		}
		assert.Equal(t, want, got.String())
	}
	for _, err := range lines(filepath.Join(t.TempDir(), "none"), 0) {
		assert.ErrorIs(t, err, os.ErrNotExist)
	}
}

func TestUsage(t *testing.T) {
	var help, bad bytes.Buffer
	assert.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	assert.ErrorContains(t, run(t.Context(), []string{"-nope"}, io.Discard, &bad), "-nope")
	assert.Regexp(t, `^Distributed (?s:.*)WECHAT_APPID and WECHAT_SECRET(?s:.*)\n  .*go run (?s:.*)\n  -`,
		help.String())
	assert.Equal(t, help.String(), bad.String(), "main prints the error")
}
