package tokencache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	sentinel = "SENTINEL" // part of each token; no log line may have it
	testKey  = "token:test"
)

var (
	errDown   = errors.New("the platform is down")
	errSecret = errors.New("invalid secret") // a lasting failure
)

// kinds are the two kinds of token that a cache can hold.
var kinds = map[string]Kind{"stable": Stable, "legacy": Legacy}

// tok returns a token that expires after life.
func tok(name string, life time.Duration) Token {
	return Token{AccessToken: sentinel + "-" + name, ExpiresAt: time.Now().Add(life).Round(0)}
}

// name returns the name that tok and a platform give to a token.
func name(t Token) string { return strings.TrimPrefix(t.AccessToken, sentinel+"-") }

// platform is a fake of the endpoint that hands out tokens. Set it up before the first fetch.
type platform struct {
	delay time.Duration                                     // of each fetch
	life  time.Duration                                     // of each token, 2 hours if zero
	reply func(ctx context.Context, k Kind) (*Token, error) // the result, unless it returns nil, nil

	mu      sync.Mutex
	issued  int
	fetches []request
}

type request struct {
	kind Kind
	at   time.Time
}

func (p *platform) fetch(ctx context.Context, kind Kind, allow func() error) (Token, error) {
	if err := allow(); err != nil {
		return Token{}, fmt.Errorf("fetching a token: %w", err)
	}
	p.mu.Lock()
	p.fetches = append(p.fetches, request{kind, time.Now()})
	p.mu.Unlock()
	time.Sleep(p.delay)
	if p.reply != nil {
		if t, err := p.reply(ctx, kind); err != nil {
			return Token{}, err
		} else if t != nil {
			return *t, nil
		}
	}
	return p.issue(), nil
}

// issue returns a new token: T1, T2, and so on.
func (p *platform) issue() Token {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.issued++
	life := p.life
	if life == 0 {
		life = 2 * time.Hour
	}
	return tok(fmt.Sprintf("T%d", p.issued), life)
}

// requests returns the requests so far.
func (p *platform) requests() []request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]request(nil), p.fetches...)
}

// forced counts the forced ones among them.
func (p *platform) forced() (n int) {
	for _, r := range p.requests() {
		if r.kind == StableForced {
			n++
		}
	}
	return n
}

// fails makes each fetch fail with err while *on.
func fails(on *bool, err error) func(context.Context, Kind) (*Token, error) {
	return func(context.Context, Kind) (*Token, error) {
		if *on {
			return nil, err
		}
		return nil, nil
	}
}

// testCache is a cache whose log can be read.
type testCache struct {
	*Cache
	logged *seq.Buffer
}

// newCache returns a cache for tokens of p. At the end of the test it checks that the log has no token in it.
func newCache(t testing.TB, p *platform, options ...func(*Config)) testCache {
	t.Helper()
	logged := &seq.Buffer{}
	cfg := Config{
		Key:     testKey,
		Fetch:   p.fetch,
		Lasting: func(err error) bool { return errors.Is(err, errSecret) },
		Logger:  slog.New(slog.NewTextHandler(logged, nil)),
	}
	for _, option := range options {
		option(&cfg)
	}
	t.Cleanup(func() { assert.NotContains(t, logged.String(), sentinel) })
	return testCache{New(cfg), logged}
}

func withKind(k Kind) func(*Config)   { return func(cfg *Config) { cfg.Kind = k } }
func withStore(s Store) func(*Config) { return func(cfg *Config) { cfg.Store = s } }
func withoutForced(cfg *Config)       { cfg.WithoutForced = true }

func withLimit(d time.Duration) func(*Config) { return func(cfg *Config) { cfg.Limit = d } }

// get returns the token of the cache. It fails the test if there is none.
func (c testCache) get(t testing.TB) Token {
	t.Helper()
	got, err := c.Get(t.Context())
	assert.NoError(t, err)
	return got
}

// bubble runs f as a subtest for each case, in a bubble of its own, whose clock jumps to the next event.
func bubble[C any](t *testing.T, cases map[string]C, f func(t *testing.T, c C)) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, c) })
		})
	}
}

// assertRequestLimits checks the limits of all requests of a cache.
func assertRequestLimits(t testing.TB, sent []request) {
	t.Helper()
	var forced []time.Time
	for i, r := range sent {
		if i >= 20 {
			assert.GreaterOrEqual(t, r.at.Sub(sent[i-20].at), time.Minute, "21 requests within a minute")
		}
		if r.kind == StableForced {
			forced = append(forced, r.at)
		}
	}
	for i, at := range forced {
		if i >= 1 {
			assert.GreaterOrEqual(t, at.Sub(forced[i-1]), 30*time.Second, "forced requests 30 seconds apart")
		}
		if i >= 20 {
			assert.GreaterOrEqual(t, at.Sub(forced[i-20]), 24*time.Hour, "21 forced requests within a day")
		}
	}
}
