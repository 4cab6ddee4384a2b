// Package tokencache caches one access token for all goroutines of a process. It replaces the token before it expires
// and when it is rejected, limits token requests, and can share the token with other processes through a store.
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

// Token is an access token. Printing it shows when it expires, but not the token itself.
type Token struct {
	AccessToken string
	ExpiresAt   time.Time
}

// String says when the token expires, and not what it is.
func (t Token) String() string {
	switch {
	case t.AccessToken == "":
		return "Token(none)"
	case t.ExpiresAt.IsZero():
		return "Token(***)"
	default:
		return "Token(***, expires " + t.ExpiresAt.UTC().Format(time.RFC3339) + ")"
	}
}

// Format writes String, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// Kind is a kind of token, or a way to fetch one.
type Kind int

// The kinds of token. A stable and a legacy token are valid side by side and do not affect each other.
const (
	Stable       Kind = iota // all fetches return the same token until shortly before it expires
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
	// Fetch requests a token of the given kind: Kind, or StableForced if Kind is Stable. It must call allow before each
	// request. If allow returns an error, Fetch must not send the request and must return that error; it may wrap it.
	// It must not return an empty token without an error.
	//
	// One Fetch runs at a time, unless one was abandoned. Its context has the values of the caller's context, but not
	// its deadline or cancellation. It ends when the refresh is abandoned.
	Fetch func(ctx context.Context, kind Kind, allow func() error) (Token, error)
	// Limit is how long a refresh may make no progress: in one operation of the store, or from one call of allow to the
	// next. Then it is abandoned: its callers fail with an [*AbandonedError], and the next caller starts another
	// refresh, even if Fetch or Store never returns. Defaults to two minutes.
	Limit time.Duration
	// Store shares the token with other processes; nil for none. If the store fails, legacy tokens are not refreshed,
	// and stable ones are fetched without it.
	Store Store
	// WithoutForced restricts StableForced to ForceRefresh: a rejected token is not replaced by a forced fetch.
	WithoutForced bool
	// Lasting reports whether a failed fetch will keep failing until a person acts or the day ends. Such failures are
	// remembered for a while. It is called with a lock held, so it must not use the Cache.
	Lasting func(error) bool
	// Logger receives a line for each refresh, and at most one a minute for failures of the store that are tolerated.
	Logger *slog.Logger
	// Hooks are told of each refresh, each failure of the store and each wait for a refresh. Their errors contain no
	// token.
	Hooks []Hook
}
