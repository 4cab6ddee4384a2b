package wechatuserpush

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// Config is what a handler has to know about an account. AppID, Token and EncodingAESKey are needed; a zero value of
// the other fields stands for the default.
type Config struct {
	// AppID is that of the account. For pushes to a third-party platform it is the platform's, also for those about the
	// accounts that have authorized it.
	AppID string

	// Token is the 令牌 that was set beside the URL.
	Token string `json:"-"`

	// EncodingAESKey is the 消息加解密密钥 of 43 characters that was set beside the URL. It may be empty with AllowPlain.
	EncodingAESKey string `json:"-"`

	// PreviousEncodingAESKey is the key before the last change. Pushes encrypted with it still arrive for a while.
	PreviousEncodingAESKey string `json:"-"`

	// AllowPlain accepts pushes that are not encrypted (明文模式). Their signature does not cover their content: whoever
	// has seen one push can send any other for as long as MaxAge. With an EncodingAESKey both kinds are accepted, as is
	// needed to change the mode.
	AllowPlain bool

	// MaxAge is how much the time stamp of a push may differ from this machine's clock, by default 5 minutes. A push
	// that was recorded can be sent again for as long; then it is recognized as a repeat.
	MaxAge time.Duration

	// Timeout is how long the function may take for an event before its context ends, by default 4.5 s. It must be
	// shorter than 5 s, since the platform hangs up then.
	Timeout time.Duration

	// MaxBody is the longest body of a push in bytes, by default 64 KiB.
	MaxBody int64

	// Deduplicator recognizes repeats for all processes that receive pushes. By default each process does so for
	// itself, with a window of 65,536 pushes in memory.
	Deduplicator Deduplicator

	// Logger gets a line for refused pushes, at most one a minute for each reason, and for events whose function
	// failed, at most ten. By default nothing is logged.
	Logger *slog.Logger
}

const (
	platformTimeout = 5 * time.Second // after which the platform hangs up and sends the push again
	defaultTimeout  = 4500 * time.Millisecond
	defaultMaxAge   = 5 * time.Minute
	minMaxAge       = 30 * time.Second // the platform repeats a push for 15 s
	defaultMaxBody  = 64 << 10
	minMaxBody      = 1 << 10
)

// withDefaults returns the configuration with its defaults, or an error for each invalid field.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	addErr := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("wechatuserpush: NewHandler: %s: "+format, append([]any{field}, args...)...))
	}
	for _, text := range []struct{ field, value string }{{"AppID", c.AppID}, {"Token", c.Token}} {
		switch {
		case text.value == "":
			addErr(text.field, "empty: it stands in the account's console")
		case !isPrintable(text.value):
			addErr(text.field, "it has white space or a character that is not ASCII")
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
		addErr("Timeout", "%v: it must be more than 0 and less than %v, since the platform hangs up then", c.Timeout,
			platformTimeout)
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
