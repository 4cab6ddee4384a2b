package wechatusertest

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// redacted returns the value of a parameter without secrets.
func redacted(name, value string) string {
	switch name = strings.ToLower(name); {
	case strings.HasSuffix(name, "token"):
		return value[:min(6, len(value)/4)] + "xxxx"
	case strings.HasSuffix(name, "secret"), strings.HasSuffix(name, "_ticket"), name == "authorization_code":
		return "xxxx"
	}
	return value
}

// redactedQuery shows as much of a token as the platform does: "access_token=50_Im7xxxx".
func redactedQuery(query url.Values) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range query[name] {
			if b.Len() > 0 {
				b.WriteByte('&')
			}
			b.WriteString(name + "=" + redacted(name, value))
		}
	}
	return b.String()
}

// redactIn redacts the JSON value with that name in place, and returns it.
func redactIn(name string, v any) any {
	switch v := v.(type) {
	case string:
		return redacted(name, v)
	case []any:
		for i := range v {
			v[i] = redactIn(name, v[i])
		}
	case map[string]any:
		for key, value := range v {
			v[key] = redactIn(key, value)
		}
	}
	return v
}

// secretInPath matches a parameter that is in the path because "&" was written in place of "?".
var secretInPath = regexp.MustCompile(`(?i)((?:secret|token)=)[^&/]*`)

// secretText matches bodies that may hold a secret or a token, for any path and in any format. rid/get does not show
// such bodies.
var secretText = regexp.MustCompile(`(?i)secret|token`)
