package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
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
