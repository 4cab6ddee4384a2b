package redact

import "strings"

// secretNames are the suffixes of the names of parameters and JSON members whose values are secret, whichever account
// they belong to.
var secretNames = []string{"access_token", "access-token", "accesstoken", "refresh_token", "secret"}

// minUnquoted is the minimum length of a secret after a name and a colon without quotes, as in "access_token:70_X". A
// shorter one may be a word of a sentence.
const minUnquoted = 20

// named calls add for each value in s whose name says that it is secret, as in secret=X or "secret":"X".
func named(s string, add func(start, end int)) {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '=' && c != ':' {
			continue
		}
		nameEnd, quoted := backOverQuotes(s, i)
		if !endsWithSecretName(s[:nameEnd]) {
			continue
		}
		start, valueQuoted := overQuotes(s, i+1)
		if s[i] == '=' && !valueQuoted {
			start = i + 1 // a space ends a parameter
		}
		end := start
		for end < len(s) && isParamValue(s[end]) {
			end++
		}
		if s[i] == ':' && (!quoted && end-start < minUnquoted || isJSONWord(s[start:end])) {
			continue
		}
		if start < end {
			add(start, end)
			i = end - 1
		}
	}
}

// maxQuotes is how many quotes, backslashes and spaces may stand on each side of the "=" or ":" after a name. There can
// be many: JSON in JSON in JSON.
const maxQuotes = 16

func backOverQuotes(s string, i int) (end int, quoted bool) {
	for end = i; end > 0 && i-end < maxQuotes && isGap(s[end-1]); end-- {
		quoted = quoted || s[end-1] == '"' || s[end-1] == '\''
	}
	return end, quoted
}

func overQuotes(s string, i int) (start int, quoted bool) {
	for start = i; start < len(s) && start-i < maxQuotes && isGap(s[start]); start++ {
		quoted = quoted || s[start] == '"' || s[start] == '\''
	}
	return start, quoted
}

func endsWithSecretName(s string) bool {
	for _, name := range secretNames {
		if len(s) >= len(name) && strings.EqualFold(s[len(s)-len(name):], name) {
			return true
		}
	}
	return false
}

func isJSONWord(s string) bool { return s == "null" || s == "true" || s == "false" }

// Param replaces all values of a query parameter in text. mark is its name with the equals sign, such as "openid=".
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

func isParamValue(c byte) bool { return strings.IndexByte(paramValue, c) >= 0 }
