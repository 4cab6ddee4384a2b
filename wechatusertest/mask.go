package wechatusertest

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// masked is the value of a parameter as it may be shown.
func masked(name, value string) string {
	switch name = strings.ToLower(name); {
	case strings.HasSuffix(name, "token"):
		return value[:min(6, len(value)/4)] + "xxxx"
	case strings.HasSuffix(name, "secret"):
		return "xxxx"
	}
	return value
}

// maskedQuery shows of a token what the platform shows: "access_token=50_Im7xxxx".
func maskedQuery(query url.Values) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range query[name] {
			if b.Len() > 0 {
				b.WriteByte('&')
			}
			b.WriteString(name + "=" + masked(name, value))
		}
	}
	return b.String()
}

// maskIn masks what is in a JSON value with that name, and returns it.
func maskIn(name string, v any) any {
	switch v := v.(type) {
	case string:
		return masked(name, v)
	case []any:
		for i := range v {
			v[i] = maskIn(name, v[i])
		}
	case map[string]any:
		for key, value := range v {
			v[key] = maskIn(key, value)
		}
	}
	return v
}

// secretInPath is a parameter that was written into the path, with "&" in place of "?".
var secretInPath = regexp.MustCompile(`(?i)((?:secret|token)=)[^&/]*`)

// secretText is in bodies that may hold a secret or a token, wherever they were sent and whatever their format. rid/get
// does not show these.
var secretText = regexp.MustCompile(`(?i)secret|token`)
