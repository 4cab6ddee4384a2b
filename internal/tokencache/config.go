// Package tokencache caches one access token for all goroutines of a process. It replaces the token before it expires
// and when it is rejected, limits the requests for it, and can share it with other processes through a store.
package tokencache

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode"
)

// Token is an access token. Printing it shows when it expires, and not the token.
type Token struct {
	AccessToken string
	ExpiresAt   time.Time
}

// Format prints when the token expires, for every verb.
func (t Token) Format(f fmt.State, _ rune) {
	text := "Token(***, expires " + t.ExpiresAt.UTC().Format(time.RFC3339) + ")"
	switch {
	case t.AccessToken == "":
		text = "Token(none)"
	case t.ExpiresAt.IsZero():
		text = "Token(***)"
	}
	_, _ = io.WriteString(f, text)
}

// Kind is a kind of token, or a way to fetch one.
type Kind int

// The kinds of token. A stable and a legacy token exist side by side, and do not affect each other.
const (
	Stable       Kind = iota // one token for all who ask, the same until shortly before it expires
	StableForced             // as Stable, but replaces the token even if it is good
	Legacy                   // each fetch invalidates the token before it
)

// IsTokenText reports whether a text can be a token: it is not empty, and has no space and no control character.
func IsTokenText(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

// Config configures a [Cache]. Store may be nil, and Key may be empty; Fetch, Lasting and Logger are required.
type Config struct {
	// Key names the token in log lines.
	Key string
	// Kind is Stable or Legacy.
	Kind Kind
	// Fetch requests a token of the given kind: Kind, or StableForced where Kind is Stable. It must call allow before
	// each request that it sends, and fail with the error of allow, if there is one; it may wrap that error. It must
	// not return an empty token without an error.
	//
	// One Fetch runs at a time, unless one was abandoned. Its context has the values of the caller's context, and
	// neither its deadline nor its cancellation: it ends when the refresh is abandoned, after Limit.
	Fetch func(ctx context.Context, kind Kind, allow func() error) (Token, error)
	// Limit is how long a refresh may stand still, be it at one operation of the store, or from one call of allow to
	// the next. Then it is abandoned: its callers fail with an [*AbandonedError], and the next caller starts another
	// one, even if Fetch or Store never return. Defaults to two minutes.
	Limit time.Duration
	// Store shares the token with other processes; nil for none. Where Kind is Legacy a refresh fails if the store
	// fails. Stable tokens are fetched without it then.
	Store Store
	// WithoutForced leaves StableForced to ForceRefresh: it is not fetched to replace a rejected token.
	WithoutForced bool
	// Lasting reports whether a failed fetch would fail again until a person acts, or until the day is over. Such
	// failures are remembered for a while. It is called with a lock held, so it must not use the Cache.
	Lasting func(error) bool
	// Logger gets a line for each refresh, and for each failure of the store that is tolerated.
	Logger *slog.Logger
}
