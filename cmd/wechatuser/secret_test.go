//go:build unix

package main

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A secret_command that hangs is ended with all processes that it started, by its time limit and by Ctrl-C.
func TestSecretCommandHangs(t *testing.T) {
	for name, c := range map[string]struct {
		limit     time.Duration
		interrupt bool
		code      int
		stderr    string
	}{
		"limit":     {limit: 100 * time.Millisecond, code: exitUsage, stderr: "secret_command sh did not end within 100ms, and was ended"},
		"interrupt": {limit: time.Hour, interrupt: true, code: exitStopped, stderr: "wechatuser: interrupted\n"},
	} {
		t.Run(name, func(t *testing.T) {
			pipe := filepath.Join(t.TempDir(), "pipe")
			require.NoError(t, syscall.Mkfifo(pipe, 0o600))
			// Both the shell and what it starts hold the pipe open.
			file := writeConfig(t, "[accounts.a]\nappid = \"wx0000000000000000\"\n"+
				`secret_command = ["sh", "-c", "exec 9>`+pipe+`; echo SENTINEL >&2; echo SENTINEL; sleep 1000 & echo started >&9; wait"]`)
			a := testApp(t, nil)
			a.secretLimit = c.limit
			ended := make(chan string, 1)
			go func() {
				held, err := os.OpenFile(pipe, os.O_RDONLY, 0)
				if err != nil {
					ended <- err.Error()
					return
				}
				defer held.Close()
				begin := make([]byte, len("started\n"))
				_, _ = io.ReadFull(held, begin)
				if c.interrupt {
					a.interrupt()
				}
				_, err = io.Copy(io.Discard, held) // returns when no process is left
				ended <- string(begin)
				assert.NoError(t, err)
			}()

			got := inProcess(t, a, "--config", file, "tags", "create", "gold")

			assert.Equal(t, c.code, got.code, got.stderr)
			assert.Contains(t, got.stderr, c.stderr)
			assert.NotContains(t, got.stdout+got.stderr, "SENTINEL")
			if c.interrupt {
				assert.Equal(t, "started\n", <-ended)
			} else {
				release(t, pipe) // if the command was ended before it opened the pipe
				<-ended
			}
		})
	}
}

// release ends the wait for the other end of a pipe.
func release(t *testing.T, pipe string) {
	t.Helper()
	both, err := os.OpenFile(pipe, os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, both.Close())
}

// A program that the command leaves running does not count.
func TestSecretCommandLeavesAProgramRunning(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	defer release(t, pipe)
	a := testApp(t, nil)
	a.secretLimit = time.Hour

	secret, err := a.runSecretCommand(t.Context(), []string{"sh", "-c", "echo secret; cat " + pipe + " >/dev/null &"})

	require.NoError(t, err)
	assert.Equal(t, "secret", secret)
}
