package browser

import (
	"errors"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// timeout is the maximum time to wait for the browser or the page, on a machine that has other work.
const timeout = 3 * time.Minute

// tab is a page in a headless Chromium, controlled by the DevTools protocol over a pipe.
// https://chromedevtools.github.io/devtools-protocol/
type tab struct {
	t       *testing.T
	to      *os.File
	session string

	mu       sync.Mutex
	next     int
	waiting  map[int]chan message
	requests []string // URLs
	errors   []string // errors in the console and uncaught exceptions
}

func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if testing.Short() {
		t.Skip("no Chromium")
	}
	require.FailNow(t, "Chromium is not in PATH: apt-get install chromium, or brew install --cask chromium. "+
		"With -short the test is skipped.")
	return ""
}

// openTab starts a new Chromium process with an empty profile.
func openTab(t *testing.T) *tab {
	t.Helper()
	chromium := findChromium(t)
	profile, err := os.MkdirTemp("", "sandbox-browser")
	require.NoError(t, err)
	childIn, out, err := os.Pipe()
	require.NoError(t, err)
	in, childOut, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900",
		"--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{childIn, childOut}
	require.NoError(t, cmd.Start())
	require.NoError(t, errors.Join(childIn.Close(), childOut.Close()))

	b := &tab{t: t, to: out, waiting: make(map[int]chan message)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b.read(in)
	}()
	t.Cleanup(func() {
		b.session = ""
		if _, err := b.call("Browser.close", nil); err != nil {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait() // the exit status does not matter
		<-read
		assert.NoError(t, errors.Join(in.Close(), out.Close()))
		removed := func(c *assert.CollectT) { assert.NoError(c, os.RemoveAll(profile)) }
		assert.EventuallyWithT(t, removed, timeout, 50*time.Millisecond)
	})

	var target struct{ TargetID string }
	b.must(&target, "Target.createTarget", map[string]any{"url": "about:blank"})
	var attached struct{ SessionID string }
	b.must(&attached, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true})
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.must(nil, domain+".enable", nil)
	}
	b.setLanguage("en-US,en")
	return b
}
