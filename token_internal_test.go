package wechatuser

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeTokens are a client's tokens with a fetch of the test's making.
func fakeTokens(fetch func() (Token, error)) *ownTokens {
	cfg := config{appID: "wxFAKE", logger: slog.New(slog.DiscardHandler)}
	return newOwnTokens(&cfg, func(_ context.Context, _ endpointID, spend func() error) (Token, error) {
		if err := spend(); err != nil {
			return Token{}, err
		}
		return fetch()
	})
}

func TestReadingATokenTakesNoLockAndNoMemory(t *testing.T) {
	m := fakeTokens(func() (Token, error) {
		return Token{AccessToken: "FAKE", ExpiresAt: time.Now().Add(2 * time.Hour)}, nil
	})
	want, err := m.get(t.Context())
	require.NoError(t, err)
	m.worked(want)

	m.mu.Lock()
	defer m.mu.Unlock()
	read := make(chan struct{})
	go func() {
		defer close(read)
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			got, err := m.get(context.Background())
			m.worked(got)
			if got != want || err != nil {
				t.Error(got, err)
			}
		}))
	}()
	select {
	case <-read:
	case <-time.After(10 * time.Second):
		t.Error("it waits for a lock")
	}
}

// The plan for a token of any life: fresh, ageing, ending, in this order.
func TestPlan(t *testing.T) {
	now := time.Now().Round(0)
	for range 10_000 {
		life := rand.N(3 * time.Hour)
		tok := Token{AccessToken: "FAKE", ExpiresAt: now.Add(life)}
		p := plan(tok, now)
		require.Equal(t, tok, p.Token)
		require.False(t, p.renewAt.Before(now.Add(life/2)), life)
		require.False(t, p.waitAt.Before(p.renewAt), life)
		require.False(t, tok.ExpiresAt.Before(p.waitAt), life)
		if life >= 10*time.Minute {
			require.GreaterOrEqual(t, tok.ExpiresAt.Sub(p.renewAt), 4*time.Minute)
			require.LessOrEqual(t, tok.ExpiresAt.Sub(p.renewAt), 5*time.Minute)
			require.Equal(t, time.Minute, tok.ExpiresAt.Sub(p.waitAt))
		}

		at := now.Add(rand.N(3 * time.Hour))
		q := p.postponed(at)
		require.Equal(t, tok, q.Token)
		require.False(t, q.renewAt.Before(p.renewAt))
		require.False(t, q.waitAt.Before(q.renewAt))
		require.False(t, tok.ExpiresAt.Before(q.waitAt))
		if left := tok.ExpiresAt.Sub(at); left > 0 {
			require.GreaterOrEqual(t, q.renewAt.Sub(at), min(left, renewAgain))
		}
	}
	p := plan(Token{ExpiresAt: now.Add(-time.Hour)}, now)
	assert.False(t, now.Before(p.renewAt), "a token that has ended is not fresh")
	assert.False(t, now.Before(p.waitAt))
}

// The clock of a machine can jump. A token that seems to have ended and is handed out again is good for as long as the
// platform says, and is not asked for at each call.
func TestTokenAfterAJumpOfTheClock(t *testing.T) {
	fetched := 0
	m := fakeTokens(func() (Token, error) {
		fetched++
		return Token{AccessToken: "FAKE", ExpiresAt: time.Now().Add(2 * time.Hour)}, nil
	})
	old := Token{AccessToken: "FAKE", ExpiresAt: time.Now().Add(-time.Hour)}
	m.current.Store(plan(old, time.Now().Add(-3*time.Hour)))
	for range 100 {
		got, err := m.get(t.Context())
		require.NoError(t, err)
		assert.True(t, got.ExpiresAt.After(time.Now()))
	}
	assert.Equal(t, 1, fetched)
}

// Whenever requests are wanted: never more than 20 in a minute, and never a wait of more than 6 seconds.
func TestTokenBudgetProperty(t *testing.T) {
	for range 200 {
		var b tokenBudget
		var sent []time.Time
		now := time.Now()
		pace := time.Duration(1) << rand.N(37) // up to two minutes
		for range 500 {
			now = now.Add(rand.N(pace))
			wait := b.spend(now)
			require.LessOrEqual(t, wait, budgetGap)
			require.GreaterOrEqual(t, wait, time.Duration(0))
			if wait > 0 {
				if rand.N(2) == 0 {
					continue
				}
				now = now.Add(wait)
				require.Zero(t, b.spend(now), "the wait is long enough")
			}
			sent = append(sent, now)
			if n := len(sent); n > 20 {
				require.GreaterOrEqual(t, now.Sub(sent[n-21]), time.Minute)
			}
		}
		require.LessOrEqual(t, len(b.sent), budgetMost)
	}
}

// However many forced renewals are wanted: 20 in a day, 30 seconds apart, and no fewer than these limits allow.
func TestForcedBudgetProperty(t *testing.T) {
	for range 200 {
		var b forcedBudget
		var sent []time.Time
		now := time.Now()
		pace := time.Second << rand.N(14) // up to five hours
		for range 200 {
			now = now.Add(rand.N(pace))
			n := len(sent)
			want := n == 0 || now.Sub(sent[n-1]) >= 30*time.Second && (n < 20 || now.Sub(sent[n-20]) >= 24*time.Hour)
			require.Equal(t, want, b.allow(now))
			if want {
				b.spend(now)
				sent = append(sent, now)
			}
		}
	}
}

func TestBudgetError(t *testing.T) {
	cause := &Error{API: "getStableAccessToken", Code: CodeInvalidSecret}
	err := error(&budgetError{wait: 5 * time.Second, last: cause})
	assert.ErrorIs(t, err, ErrRateLimited)
	assert.ErrorIs(t, err, ErrTemporary)
	assert.ErrorIs(t, err, CodeInvalidSecret)
	assert.Contains(t, err.Error(), "5s")
	assert.Contains(t, err.Error(), "40125")
	assert.NotErrorIs(t, &budgetError{}, ErrCredential)
}

// An interceptor that repeats token requests on its own uses the budget up, and errors do not grow by it.
func TestBudgetErrorsOfFetchesDoNotNest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config{appID: "wxFAKE", logger: slog.New(slog.DiscardHandler)}
		m := newOwnTokens(&cfg, func(_ context.Context, _ endpointID, spend func() error) (Token, error) {
			for {
				if err := spend(); err != nil {
					return Token{}, err
				}
			}
		})
		for range 1000 {
			_, err := m.get(t.Context())
			var be *budgetError
			require.ErrorAs(t, err, &be)
			require.NoError(t, be.last)
			time.Sleep(time.Second / 10)
		}
	})
}

// The error of a budget that is used up names the failure behind it, not another such error.
func TestBudgetErrorsDoNotNest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("no answer")
		m := fakeTokens(func() (Token, error) { return Token{}, cause })
		for range 1000 {
			_, err := m.get(t.Context())
			require.ErrorIs(t, err, cause)
			var be *budgetError
			if errors.As(err, &be) {
				require.Equal(t, cause, be.last)
			}
			time.Sleep(time.Second / 10)
		}
	})
}

// A demand is answered by what fits it.
func TestAnswers(t *testing.T) {
	fail := errors.New("no answer")
	of := func(d demand, token string, err error) *renewal {
		return &renewal{demand: d, token: Token{AccessToken: token}, err: err}
	}
	for _, tt := range []struct {
		name string
		r    *renewal
		want demand
		ok   bool
	}{
		{"any token", of(demand{}, "T1", nil), demand{}, true},
		{"its failure", of(demand{}, "", fail), demand{}, true},
		{"another token than the refused one", of(demand{}, "T2", nil), demand{refused: "T1"}, true},
		{"the refused one again", of(demand{}, "T1", nil), demand{refused: "T1"}, false},
		{"no other token", of(demand{refused: "T1"}, "T1", errNoOtherToken), demand{refused: "T1"}, true},
		{"no other token than another one", of(demand{refused: "T0"}, "T0", errNoOtherToken), demand{refused: "T1"}, false},
		{"no other token, for who takes any", of(demand{refused: "T1"}, "T1", errNoOtherToken), demand{}, false},
		{"forced, for who takes any", of(demand{force: true}, "T2", nil), demand{}, true},
		{"forced, for the refused one", of(demand{force: true}, "T2", nil), demand{refused: "T1"}, true},
		{"forced without success", of(demand{force: true}, "", fail), demand{}, false},
		{"forced", of(demand{force: true}, "T2", nil), demand{force: true}, true},
		{"forced without success, for who forces", of(demand{force: true}, "", fail), demand{force: true}, true},
		{"not forced", of(demand{}, "T2", nil), demand{force: true}, false},
		{"not forced, without success", of(demand{}, "", fail), demand{force: true}, false},
	} {
		assert.Equal(t, tt.ok, tt.r.answers(tt.want), tt.name)
	}
}
