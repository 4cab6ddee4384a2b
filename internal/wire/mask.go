package wire

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// minSecret is the shortest secret that Mask looks for: masking each "a" would leave no text to read, and what the
// platform gives out as a secret has 32 characters and more.
const minSecret = 4

// Mask replaces each secret in s by "***", also where it is escaped for a URL or for JSON. Secrets of fewer than
// 4 bytes are left alone.
//
// Mask first and cut s afterwards: a secret that is cut is not found.
func Mask(s string, secrets ...string) string {
	var b strings.Builder
	done := 0
	for i := range len(s) {
		end := i
		for _, secret := range secrets {
			end = max(end, i+secretLen(s[i:], secret))
		}
		if end == i {
			continue
		}
		// Secrets that overlap are masked as one.
		if i >= done {
			b.WriteString(s[done:i])
			b.WriteString("***")
		}
		done = max(done, end)
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// secretLen is how many bytes of s spell the secret, 0 where s does not begin with it.
func secretLen(s, secret string) int {
	if len(secret) < minSecret {
		return 0
	}
	switch s[0] {
	case secret[0], '%', '+', '\\':
	default:
		return 0 // most bytes
	}
	n := 0
	if strings.HasPrefix(s, secret) {
		n = len(secret)
	}
	return max(n, spelledLen(s, secret, inURL), spelledLen(s, secret, inJSON))
}

// spelledLen is secretLen for one way to escape. The way says how many bytes at the start of s spell how many at the
// start of the secret, 0 where they differ.
func spelledLen(s, secret string, way func(s, secret string) (read, spelled int)) int {
	n := 0
	for secret != "" {
		read, spelled := way(s[n:], secret)
		if read == 0 {
			return 0
		}
		n += read
		secret = secret[spelled:]
	}
	return n
}

// inURL knows %XX, and + for a space.
func inURL(s, secret string) (read, spelled int) {
	if len(s) >= 3 && s[0] == '%' {
		var c [1]byte
		if _, err := hex.Decode(c[:], []byte(s[1:3])); err == nil {
			if c[0] == secret[0] {
				return 3, 1
			}
			return 0, 0
		}
	}
	if s != "" && (s[0] == secret[0] || s[0] == '+' && secret[0] == ' ') {
		return 1, 1
	}
	return 0, 0
}

// inJSON knows \uXXXX and the short escapes.
func inJSON(s, secret string) (read, spelled int) {
	if r, n := unicodeEscape(s); n > 0 {
		if want, size := utf8.DecodeRuneInString(secret); r == want {
			return n, size
		}
		return 0, 0
	}
	if len(s) >= 2 && s[0] == '\\' {
		if i := strings.IndexByte(`"\/bfnrt`, s[1]); i >= 0 {
			if "\"\\/\b\f\n\r\t"[i] == secret[0] {
				return 2, 1
			}
			return 0, 0
		}
	}
	if s != "" && s[0] == secret[0] {
		return 1, 1
	}
	return 0, 0
}
