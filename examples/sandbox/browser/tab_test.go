package browser

import (
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// setLanguage sets the languages that the user prefers.
func (b *tab) setLanguage(accept string) {
	b.t.Helper()
	var version struct{ UserAgent string }
	b.must(&version, "Browser.getVersion", nil)
	b.must(nil, "Emulation.setUserAgentOverride",
		map[string]any{"userAgent": version.UserAgent, "acceptLanguage": accept})
}

// setWidth makes the tab a phone, or a window if it is wide.
func (b *tab) setWidth(width int) { b.setScreen(width, 844, 1) }

// setScreen sets the size of the tab in CSS pixels, and how many pixels of the screen one of them is wide.
func (b *tab) setScreen(width, height int, scale float64) {
	b.t.Helper()
	b.must(nil, "Emulation.setDeviceMetricsOverride",
		map[string]any{"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500})
}

// screenshot returns what the tab shows, as PNG.
func (b *tab) screenshot() []byte {
	b.t.Helper()
	var shot struct{ Data []byte }
	b.must(&shot, "Page.captureScreenshot", map[string]any{"format": "png"})
	return shot.Data
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
