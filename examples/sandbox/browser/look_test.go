package browser

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var screenshots = flag.String("screenshots", "", "write screenshots of the page to this `folder`")

// The page does not scroll sideways at any screen width.
func TestScreenWidths(t *testing.T) {
	base, _ := startSandbox(t, "-quirks", "wild")
	c := newClient(t, base)
	_, err := c.CreateTag(t.Context(), strings.Repeat("会", 10))
	require.NoError(t, err)
	fans, err := c.GetFans(t.Context(), "")
	require.NoError(t, err)
	b := openTab(t)
	for _, width := range []int{320, 390, 800, 1280} {
		b.setWidth(width)
		for _, path := range []string{"/", "/?user=" + fans.OpenIDs[0]} {
			b.open(base + path)
			var wide int
			require.NoError(t, b.eval(&wide, `document.documentElement.scrollWidth`))
			assert.LessOrEqual(t, wide, width)
		}
	}
	b.assertNoErrors(base)
}

// What matters first is at hand on a phone and on a desktop, in both languages. With -screenshots, so it looks.
func TestScreenshots(t *testing.T) {
	base, fans := startScene(t)
	b := openTab(t)
	for language, accept := range map[string]string{"en": "en-US,en;q=0.9", "zh": "zh-CN,zh;q=0.9"} {
		b.setLanguage(accept)
		for _, width := range []int{390, 1280} {
			b.setWidth(width)
			b.open(base + "/")
			b.assertControlsFirst(width)
			b.assertDangerIsVisible()
			b.save("sandbox", language, width)
			b.saveImage(base+"/", fmt.Sprintf("sandbox-%s-%d", language, width), width)
			profile := base + "/?user=" + fans[1] + "#profile"
			b.open(profile)
			assert.Less(t, b.top("#profile"), 844, "the profile is in view")
			b.save("profile", language, width)
			b.saveImage(profile, fmt.Sprintf("profile-%s-%d", language, width), width)
		}
	}
	b.assertNoErrors(base)
}

// save writes a screenshot if the flag asks for it.
func (b *tab) save(name, language string, width int) {
	b.t.Helper()
	if *screenshots != "" {
		file := filepath.Join(*screenshots, fmt.Sprintf("%s-%s-%d.png", name, language, width))
		require.NoError(b.t, os.WriteFile(file, b.screenshot(), 0o600))
	}
}

// top returns how far below the top of the screen an element is, in pixels.
func (b *tab) top(selector string) int {
	b.t.Helper()
	var top int
	require.NoError(b.t, b.eval(&top, `Math.floor(document.querySelector(%s).getBoundingClientRect().top)`, selector))
	return top
}

// assertControlsFirst asserts that faults, tokens and the clock come before the list of users, and that one click on a
// phone leads to each of them.
func (b *tab) assertControlsFirst(width int) {
	b.t.Helper()
	desktop := width > 1000
	for _, part := range []string{"#faults", "#tokens", "#clock"} {
		if desktop {
			var left int
			require.NoError(b.t, b.eval(&left, `document.querySelector(%s).getBoundingClientRect().left`, part))
			assert.Greater(b.t, left, width/2, "%s is beside the list", part)
			continue
		}
		assert.Less(b.t, b.top(part), b.top("#people"), part)
	}
	if desktop {
		return
	}
	for _, part := range []string{"#people", "#clock", "#tokens", "#faults", "#recent"} {
		b.click(`.jump [href="` + part + `"]`)
		require.Eventually(b.t, func() bool { top := b.top(part); return top >= 0 && top < 844/2 }, timeout,
			50*time.Millisecond, "%s is in view", part)
	}
	b.must(nil, "Runtime.evaluate", map[string]any{"expression": "scrollTo(0, 0)"})
}

// assertDangerIsVisible asserts that buttons which take something away do not look like the others.
func (b *tab) assertDangerIsVisible() {
	b.t.Helper()
	for dangerous, harmless := range map[string]string{
		"#revoke button":                           "#advance button",
		`#choose [formaction="/sandbox/block"]`:    `#choose [formaction="/sandbox/unblock"]`,
		`#choose [formaction="/sandbox/unfollow"]`: "#choose button:not([formaction])",
	} {
		var colors [2][2]string
		for i, selector := range []string{dangerous, harmless} {
			require.NoError(b.t, b.eval(&colors[i], `(() => {
				const style = getComputedStyle(document.querySelector(%s));
				return [style.color, style.backgroundColor];
			})()`, selector))
		}
		assert.NotEqual(b.t, colors[1][0], colors[0][0], dangerous)
		assert.NotEqual(b.t, colors[1][1], colors[0][1], dangerous)
	}
}
