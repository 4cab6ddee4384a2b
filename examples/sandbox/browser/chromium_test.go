package browser

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
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

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
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
	return b
}

// read dispatches the messages of the browser until it exits.
func (b *tab) read(from *os.File) {
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			break
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if reply, ok := b.waiting[m.ID]; ok {
			reply <- m
			delete(b.waiting, m.ID)
		} else {
			b.record(m)
		}
		b.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, reply := range b.waiting {
		close(reply)
	}
	b.waiting = nil
}

// record keeps requests and errors.
func (b *tab) record(m message) {
	var event struct {
		Type    string
		Request struct{ URL string }
		Entry   struct{ Level, Text, URL string }
	}
	_ = json.Unmarshal(m.Params, &event) // events without these fields are ignored
	switch {
	case m.Method == "Network.requestWillBeSent":
		b.requests = append(b.requests, event.Request.URL)
	case m.Method == "Runtime.exceptionThrown",
		m.Method == "Runtime.consoleAPICalled" && event.Type == "error",
		m.Method == "Log.entryAdded" && event.Entry.Level == "error":
		b.errors = append(b.errors, string(m.Params))
	}
}

func (b *tab) call(method string, params any) (json.RawMessage, error) {
	reply := make(chan message, 1)
	b.mu.Lock()
	if b.waiting == nil {
		b.mu.Unlock()
		return nil, errors.New("the browser has exited")
	}
	b.next++
	text, err := json.Marshal(map[string]any{"id": b.next, "method": method, "params": params, "sessionId": b.session})
	if err == nil {
		b.waiting[b.next] = reply
		_, err = b.to.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case m, ok := <-reply:
		switch {
		case !ok:
			return nil, errors.New("the browser has exited")
		case m.Error != nil:
			return nil, fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		return m.Result, nil
	case <-time.After(timeout):
		return nil, fmt.Errorf("%s: no response", method)
	}
}

func (b *tab) must(result any, method string, params any) {
	b.t.Helper()
	raw, err := b.call(method, params)
	require.NoError(b.t, err)
	if result != nil {
		require.NoError(b.t, json.Unmarshal(raw, result))
	}
}

// eval evaluates JavaScript in the page, even if the page may not run scripts.
func (b *tab) eval(result any, script string, args ...any) error {
	quoted := make([]any, len(args))
	for i, arg := range args {
		text, err := json.Marshal(arg)
		if err != nil {
			return err
		}
		quoted[i] = text
	}
	raw, err := b.call("Runtime.evaluate",
		map[string]any{"expression": fmt.Sprintf(script, quoted...), "returnByValue": true})
	if err != nil {
		return err
	}
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	switch err := json.Unmarshal(raw, &out); {
	case err != nil:
		return err
	case out.ExceptionDetails != nil:
		return errors.New(out.ExceptionDetails.Exception.Description)
	}
	return json.Unmarshal(out.Result.Value, result)
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.must(nil, "Page.navigate", map[string]any{"url": url})
	b.waitFor("body > footer", "")
}

// text returns the text of an element with spaces collapsed, or "" if it does not exist.
func (b *tab) text(selector string) string {
	var text string
	script := `document.readyState === "complete" ? document.querySelector(%s)?.innerText ?? "" : ""`
	if err := b.eval(&text, script, selector); err != nil {
		return "" // such as while a page is loading
	}
	return strings.Join(strings.Fields(text), " ")
}

// waitFor waits until an element contains a text.
func (b *tab) waitFor(selector, text string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { got := b.text(selector); return got != "" && strings.Contains(got, text) },
		timeout, 50*time.Millisecond, "%q in %s", text, selector)
}

// click clicks an element with the mouse. It fails the test if another element covers it.
func (b *tab) click(selector string) {
	b.t.Helper()
	var at struct {
		X, Y float64
		On   string
	}
	require.NoError(b.t, b.eval(&at, `(() => {
		const it = document.querySelector(%s);
		it.scrollIntoView({block: "center"});
		const box = it.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
		const top = document.elementFromPoint(x, y);
		return {x, y, on: it.contains(top) ? "" : String(top?.outerHTML)};
	})()`, selector))
	require.Empty(b.t, at.On, "another element covers %s", selector)
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		b.must(nil, "Input.dispatchMouseEvent",
			map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1})
	}
}

// fill replaces the text of a field, or selects an option of a list.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	var typed bool
	require.NoError(b.t, b.eval(&typed, `(() => {
		const it = document.querySelector(%s);
		it.focus();
		if (it.select) it.select();
		else it.value = %s;
		return Boolean(it.select);
	})()`, selector, text))
	if typed {
		b.must(nil, "Input.insertText", map[string]any{"text": text})
	}
	var got string
	require.NoError(b.t, b.eval(&got, `document.querySelector(%s).value`, selector))
	require.Equal(b.t, text, got, selector)
}
