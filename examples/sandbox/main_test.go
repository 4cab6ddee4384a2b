package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wechatuser/wechatuser/internal/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The command line of the README, stopped at once.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer

	args := []string{"-addr", "127.0.0.1:0", "-appid", "wxTEST", "-secret", "s", "-fans", "12"}
	err := run(ctx, args, &stdout, &stderr)

	require.NoError(t, err)
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+\n`, stdout.String(), "the first line is the base URL")
	assert.Contains(t, stdout.String(), "app ID wxTEST, 12 followers")
	assert.Empty(t, stderr.String())
}

func TestInvalidArguments(t *testing.T) {
	var help, invalid bytes.Buffer
	assert.ErrorContains(t, run(t.Context(), []string{"serve"}, io.Discard, io.Discard), `unexpected argument "serve"`)
	assert.ErrorContains(t, run(t.Context(), []string{"-fans", "-1"}, io.Discard, io.Discard), "must not be negative")
	assert.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	assert.ErrorContains(t, run(t.Context(), []string{"-port", "1"}, io.Discard, &invalid), "-port")
	assert.Contains(t, help.String(), "  -fans number\n")
	assert.Equal(t, help.String(), invalid.String(), "main prints the error")
}

// The compose file starts the sandbox with flags that it has, and the program beside it finds its account.
func TestComposeFile(t *testing.T) {
	text, err := os.ReadFile("compose.yaml")
	require.NoError(t, err)
	_, command, found := strings.Cut(string(text), "command: go run ./examples/sandbox ")
	require.True(t, found)
	command, _, _ = strings.Cut(command, "\n")
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	config := sandbox.Flags(flags, false)
	require.NoError(t, flags.Parse(strings.Fields(command)))
	require.NoError(t, config.Check())
	host, port, err := net.SplitHostPort(flags.Lookup("addr").Value.String())
	require.NoError(t, err)
	assert.True(t, net.ParseIP(host).IsUnspecified(), "other containers reach it")
	assert.Contains(t, string(text), "--base-url http://sandbox:"+port+" ")
	assert.Contains(t, string(text), "WECHAT_APPID: "+flags.Lookup("appid").Value.String()+"\n")
	assert.Contains(t, string(text), `WECHAT_SECRET: "`+flags.Lookup("secret").Value.String()+`"`)
}
