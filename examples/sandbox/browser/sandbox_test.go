package browser

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
)

// startSandbox builds the sandbox and runs it as a process. stop stops it like Ctrl-C.
func startSandbox(t *testing.T, args ...string) (base string, stop func()) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "sandbox.exe")
	const pkg = "github.com/wechatuser/wechatuser/examples/sandbox"
	out, err := exec.Command("go", "build", "-o", program, pkg).CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := exec.Command(program,
		append([]string{"-addr", "127.0.0.1:0", "-appid", appID, "-secret", secret}, args...)...)
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		assert.NoError(t, cmd.Process.Signal(os.Interrupt))
		_, _ = io.Copy(io.Discard, stdout)
		assert.NoError(t, cmd.Wait())
	}
	t.Cleanup(stop)
	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan(), "the first line is the base URL")
	return lines.Text(), stop
}

func newClient(t *testing.T, base string) *wechatuser.Client {
	t.Helper()
	c, err := wechatuser.New(appID, secret, wechatuser.WithBaseURL(base),
		wechatuser.WithTransport(&http.Transport{DisableKeepAlives: true}))
	require.NoError(t, err)
	return c
}
