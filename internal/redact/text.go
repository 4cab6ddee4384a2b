package redact

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/wechatuser/wechatuser/internal/wire"
)

// minSecret is the length of the shortest secret that is looked for: to redact each "a" would leave no text to read,
// and the secrets of the platform have 32 characters and more.
const minSecret = 4

const redacted = "***"

// redactSecrets replaces each secret in s by "***", also where it is escaped for a URL or for JSON. Secrets of fewer
// than 4 bytes are left alone.
//
// Redact first and cut s afterwards: a secret that is cut is not found.
func redactSecrets(s string, secrets ...string) string {
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
		// Secrets that overlap are redacted as one.
		if i >= done {
			b.WriteString(s[done:i])
			b.WriteString(redacted)
		}
		done = max(done, end)
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// secretLen returns how many bytes of s spell the secret, 0 if s does not begin with it.
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
	return max(n, escapedLen(s, secret, urlEscape), escapedLen(s, secret, jsonEscape))
}

// escapedLen is secretLen for one escaping. The escaping returns how many bytes at the start of s spell how many bytes
// at the start of the secret, 0 if they differ.
func escapedLen(s, secret string, escaping func(s, secret string) (read, spelled int)) int {
	n := 0
	for secret != "" {
		read, spelled := escaping(s[n:], secret)
		if read == 0 {
			return 0
		}
		n += read
		secret = secret[spelled:]
	}
	return n
}

// urlEscape knows %XX, and + for a space.
func urlEscape(s, secret string) (read, spelled int) {
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

// jsonEscape knows \uXXXX and the short escapes.
func jsonEscape(s, secret string) (read, spelled int) {
	if r, n := wire.UnicodeEscape(s); n > 0 {
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

// Param replaces the values of a query parameter, whatever they are. mark is its name with the equals sign, such as
// "access_token=".
func Param(text, mark string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, mark)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString(mark)
		text = strings.TrimLeft(after, paramValue)
		if len(text) < len(after) {
			b.WriteString(redacted)
		}
	}
}

// paramValue holds the characters of the value of a query parameter.
const paramValue = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%+/=*"
