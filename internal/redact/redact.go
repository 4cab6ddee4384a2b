// Package redact removes secrets from texts and errors of other origin: the platform, a transport, a token store.
//
// It searches for each part of 8 bytes of a secret, so that a secret that is truncated or split over lines is found
// too. It searches for each part as it is, in base64 and in hex, in the text as it is and with its escapes decoded.
package redact

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Redactor redacts a set of secrets, and values that a text itself names as a token or a secret. The zero value has an
// empty set.
type Redactor struct {
	secrets [3]string // the first ones, without an allocation
	more    []string
	rebuild Rebuild
	trusted error
	ready   *matcher // nil if there is none yet
}

// New returns a Redactor for these secrets. A secret of 4 to 7 bytes is found only as a whole, and a shorter one not at
// all: redacting each "a" would make a text unreadable.
func New(secrets ...string) (r Redactor) {
	if n := copy(r.secrets[:], secrets); n < len(secrets) {
		r.more = slices.Clone(secrets[n:])
	}
	return r
}

// Prepared returns a Redactor that is efficient for several texts: it indexes the secrets once. New does not index
// them, so that a successful call costs nothing.
func (r Redactor) Prepared() Redactor {
	r.ready = r.matcher()
	return r
}

func (r Redactor) matcher() *matcher {
	if r.ready != nil {
		return r.ready
	}
	return newMatcher(append(r.secrets[:], r.more...))
}

// Format keeps the secrets out of whatever prints the Redactor.
func (r Redactor) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redact.Redactor") }

const redacted = "***"

// Text returns text with "***" in place of each run of 8 bytes or more that it shares with a secret, and of the value
// of each parameter or JSON member that is called access_token, refresh_token or secret. These are recognized in upper
// and lower case, with white space, quotes, punctuation and HTML tags in between, and after these encodings: percent,
// JSON and C escapes, HTML entities, base64, hex, lists of bytes.
//
// A text without any of that is returned as it is. The time is linear in the length of the text.
func (r Redactor) Text(text string) string { return r.matcher().text(text) }

// isClean reports whether a text has nothing to redact.
func (m *matcher) isClean(text string) bool { return m.text(text) == text }

func (m *matcher) text(text string) string {
	spans := m.find(text)
	if len(spans) == 0 {
		return text
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	var b strings.Builder
	end := 0 // of the text that is written or redacted
	for i, s := range spans {
		s = s.wholeRunes(text)
		if i == 0 || s.start >= end {
			b.WriteString(text[end:s.start])
			b.WriteString(redacted)
		}
		end = max(end, s.end)
	}
	b.WriteString(text[end:])
	return b.String()
}

// span is a part of a text.
type span struct{ start, end int }

func (s span) wholeRunes(text string) span {
	for s.start > 0 && !utf8.RuneStart(text[s.start]) {
		s.start--
	}
	for s.end < len(text) && !utf8.RuneStart(text[s.end]) {
		s.end++
	}
	return s
}

// maxDepth is how many nested encodings are decoded.
const maxDepth = 4

// find returns the parts of a text that are secret. They may overlap.
func (m *matcher) find(text string) (spans []span) {
	v, encoded := view{text: text}, true
	for depth := 0; encoded && depth <= maxDepth; depth++ {
		spans = m.search(v, spans)
		v, encoded = v.decode()
	}
	return spans
}

// search appends the parts of the original text that are secret in this view of it.
func (m *matcher) search(v view, spans []span) []span {
	add := func(start, end int) {
		s := v.original(start, end)
		if n := len(spans); n > 0 && spans[n-1].start <= s.start && s.start < spans[n-1].end {
			spans[n-1].end = max(spans[n-1].end, s.end)
			return
		}
		spans = append(spans, s)
	}
	named(v.text, add)
	if m.empty() {
		return spans
	}
	m.scan(v.text, false, add)
	if strings.Contains(v.text, "<") {
		m.scan(v.text, true, add)
	}
	if list, ok := v.decodeNumbers(); ok {
		v = list
		m.scan(v.text, false, add)
	}
	return spans
}
