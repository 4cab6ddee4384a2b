package tokencache

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestPrintingATokenShowsOnlyItsExpiry(t *testing.T) {
	expiry := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("UTC+8", 8*3600))
	for _, tt := range []struct {
		name  string
		token Token
		want  string
	}{
		{"token", Token{AccessToken: sentinel, ExpiresAt: expiry}, "Token(***, expires 2026-01-01T19:04:05Z)"},
		{"unknown expiry", Token{AccessToken: sentinel}, "Token(***)"},
		{"no token", Token{}, "Token(none)"},
		{"no token, with an expiry", Token{ExpiresAt: expiry}, "Token(none)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "% X", "%10.3v", "%-40s"} {
				assert.Equal(t, tt.want, fmt.Sprintf(verb, tt.token), verb)
				assert.Equal(t, tt.want, fmt.Sprintf(verb, &tt.token), "pointer, %s", verb)
				assert.Equal(t, "["+tt.want+"]", fmt.Sprintf("%v", []Token{tt.token}))
			}
			assert.Equal(t, tt.want, fmt.Sprint(&cachedToken{Token: tt.token}))
		})
	}
}
