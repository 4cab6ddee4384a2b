package export

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// childEnv makes the test binary run an export to the file that it names.
const childEnv = "WECHATUSER_EXPORT_CHILD"

// child exports to a file, in small batches.
func child(file string) int {
	cfg := Config{File: file, Format: FormatOf(file), Batch: 50}
	if _, err := Run(context.Background(), newAccount(4000).Client(), cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// The program is killed at random moments until it completes. The file is then the same as without kills.
func TestKilledAtAnyMoment(t *testing.T) {
	const seed = 20260101
	for i, format := range formats {
		t.Run(format, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			dir := t.TempDir()
			whole := filepath.Join(dir, "whole."+format)
			start := time.Now()
			require.True(t, runAndKill(t, time.Hour, whole))
			usual := time.Since(start)

			kills, parts := 0, make(map[int64]bool)
			for round, first := 0, usual/2; kills < 12 || len(parts) < 4; round++ {
				file := filepath.Join(dir, fmt.Sprintf("%d.%s", round, format))
				before := kills
				// Each run gets more time than the previous one, so that one of them completes.
				for limit := first; !runAndKill(t, time.Duration(r.Int64N(int64(limit))), file); limit += usual / 10 {
					kills++
					if info, err := os.Stat(file + ".part"); err == nil {
						parts[info.Size()] = true
					}
					if exists(file) {
						assertSame(t, whole, file) // killed after the rename
					}
				}
				assertSame(t, whole, file)
				require.NoError(t, os.Remove(file))
				if kills-before < 2 {
					first = max(first/2, 1) // the machine has become faster
				}
			}
			assert.Equal(t, []string{"whole." + format}, names(t, dir), "no other files remain")
			t.Logf("%d kills, %d different sizes of the part file, %v for a run without kills",
				kills, len(parts), usual.Round(time.Millisecond))
		})
	}
}

// runAndKill runs the program and kills it after some time. It reports whether the program had completed before.
func runAndKill(t *testing.T, after time.Duration, file string) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+file, "GORACE=atexit_sleep_ms=0") // or it would sleep for a second on exit
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	if err == nil {
		return true
	}
	require.Equal(t, -1, cmd.ProcessState.ExitCode(), "killed, not failed: %s", out.String())
	return false
}
