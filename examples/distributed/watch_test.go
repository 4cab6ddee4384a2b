package main

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A process that has not caught SIGTERM yet is no failure of the demo, and one that was killed otherwise is.
func TestAYoungProcessMayBeTerminated(t *testing.T) {
	for signal, want := range map[syscall.Signal]bool{syscall.SIGTERM: true, syscall.SIGKILL: false} {
		cmd := exec.CommandContext(t.Context(), "sleep", "60")
		require.NoError(t, cmd.Start())
		require.NoError(t, cmd.Process.Signal(signal))
		require.Error(t, cmd.Wait())

		assert.Equal(t, want, isTerminated(cmd.ProcessState), signal)
	}
}
