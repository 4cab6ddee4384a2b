package wechatuserpush

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// Config configures a handler. AppID, Token and EncodingAESKey are required. The zero value of any other field means
// its default.
type Config struct {
	// AppID is the app ID of the account. A third-party platform uses its own app ID, also for the pushes of the
	// accounts that have authorized it.
	AppID string

	// Token is the token (令牌) that is set together with the URL in the console.
	Token string `json:"-"`

	// EncodingAESKey is the key (消息加解密密钥) that is set together with the URL in the console. It has 43 characters.
	// It may be empty if AllowPlain is set.
	EncodingAESKey string `json:"-"`

	// PreviousEncodingAESKey is the key before the last change. Pushes that are encrypted with it are accepted too. By
	// default there is none. Set it while the key is changed, since such pushes still arrive for a while.
	PreviousEncodingAESKey string `json:"-"`

	// AllowPlain accepts pushes that are not encrypted (明文模式). By default they are refused, because their signature
	// does not cover their content: whoever has seen one push can forge others until MaxAge has passed. With an
	// EncodingAESKey both kinds are accepted, so that the mode can be changed without losing pushes.
	AllowPlain bool

	// MaxAge is how far the timestamp of a push may differ from this machine's clock. It defaults to 5 minutes and must
	// be at least 30 seconds. If somebody replays a recorded push within that time, it is treated as a repeat.
	MaxAge time.Duration

	// Timeout is how long the function may take for an event before its context ends. It defaults to 4.5 seconds and
	// must be less than 5 seconds, after which the platform closes the connection.
	Timeout time.Duration

	// MaxBody is the length in bytes of the longest body that is accepted. It defaults to 64 KiB and must be at least
	// 1 KiB.
	MaxBody int64

	// Deduplicator recognizes repeats across all processes that receive pushes. By default each process remembers the
	// last 65,536 pushes that it has handled.
	Deduplicator Deduplicator

	// Logger logs refused requests, at most one line a minute for each reason, and events that were not handled, at
	// most ten. It also logs failures of the Deduplicator and verifications of the URL. By default nothing is logged.
	Logger *slog.Logger
}

const (
	platformTimeout = 5 * time.Second // after which the platform closes the connection and sends the push again
	defaultTimeout  = 4500 * time.Millisecond
	defaultMaxAge   = 5 * time.Minute
	minMaxAge       = 30 * time.Second // the platform repeats a push for 15 s
	defaultMaxBody  = 64 << 10
	minMaxBody      = 1 << 10
)

// withDefaults returns a copy with the defaults filled in, and an error that joins one for each invalid field.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	addErr := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("wechatuserpush: NewHandler: %s: "+format, append([]any{field}, args...)...))
	}
	for _, text := range []struct{ field, value string }{{"AppID", c.AppID}, {"Token", c.Token}} {
		switch {
		case text.value == "":
			addErr(text.field, "empty: the account's console has it")
		case !isPrintable(text.value):
			addErr(text.field, "it has white space or a character outside printable ASCII")
		}
	}
	for _, key := range []struct{ field, value string }{
		{"EncodingAESKey", c.EncodingAESKey}, {"PreviousEncodingAESKey", c.PreviousEncodingAESKey},
	} {
		if key.value == "" {
			continue
		}
		if _, err := parseKey(key.value); err != nil {
			addErr(key.field, "%w", err)
		}
	}
	switch {
	case c.EncodingAESKey != "":
	case c.PreviousEncodingAESKey != "":
		addErr("EncodingAESKey", "empty, and PreviousEncodingAESKey is not")
	case !c.AllowPlain:
		addErr("EncodingAESKey", "empty: set the mode 安全模式 and a key in the console, or AllowPlain")
	}

	setDefault(&c.MaxAge, defaultMaxAge)
	setDefault(&c.Timeout, defaultTimeout)
	setDefault(&c.MaxBody, defaultMaxBody)
	if c.MaxAge < minMaxAge {
		addErr("MaxAge", "%v is too short: use at least %v", c.MaxAge, minMaxAge)
	}
	if c.Timeout <= 0 || c.Timeout >= platformTimeout {
		addErr("Timeout", "%v: it must be more than 0 and less than %v, since the platform does not wait longer",
			c.Timeout, platformTimeout)
	}
	if c.MaxBody < minMaxBody {
		addErr("MaxBody", "%d bytes are too few: use at least %d", c.MaxBody, minMaxBody)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

func setDefault[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// isPrintable reports whether a text is printable ASCII without spaces.
func isPrintable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// String returns the AppID and nothing secret.
func (c Config) String() string { return "wechatuserpush.Config(" + c.AppID + ")" }

// Format prints the result of String for every verb.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue returns the result of String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
