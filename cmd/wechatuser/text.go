package main

import (
	"fmt"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible returns a text of the platform that is safe to print on a terminal: it escapes each
// control character and each invisible mark that changes the direction of the text.
func visible(text string) string {
	if !strings.ContainsFunc(text, isHidden) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case !isHidden(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// isHidden reports whether a character is a control character, a line separator, or a format character such as a
// bidirectional override. Joiners and variation selectors stay: emoji are made of them.
func isHidden(r rune) bool {
	const zeroWidthNonJoiner, zeroWidthJoiner = '\u200c', '\u200d'
	return r != zeroWidthNonJoiner && r != zeroWidthJoiner &&
		(unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp))
}

// visibleLines is visible for a text of several lines.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = visible(lines[i])
	}
	return strings.Join(lines, "\n")
}

// color is a color of a terminal.
type color string

const (
	red    color = "31"
	green  color = "32"
	yellow color = "33"
	gray   color = "90"
)

// paint colors a text if the stream is a terminal and colors are not disabled.
func (a *app) paint(stream any, c color, text string) string {
	if c == "" || !a.isTerminal(stream) || a.env("NO_COLOR") != "" || a.env("TERM") == "dumb" ||
		runtime.GOOS == "windows" && a.env("WT_SESSION") == "" { // older consoles print the codes
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}
