package bulk

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser/internal/backoff"
)

// Gate decides when the next call may be made. A hold applies to all jobs that share the gate. It is safe for
// concurrent use. The zero Gate is open and allows no retries.
type Gate struct {
	// MaxRetries is the number of retries of a chunk. Retries after Hold and Persist do not count.
	MaxRetries int
	// Delay returns the pause before a retry, counted from 1. It is required if MaxRetries is not 0.
	Delay func(retry int) time.Duration
	// Patience is how long calls with the verdict Persist are retried, counted from the first such failure. Any other
	// outcome of a call through the gate ends the failure.
	Patience time.Duration

	mu           sync.Mutex
	notBefore    time.Time // of the next call
	failingSince time.Time // the first failure with Persist after the last other outcome; zero if there is none
}

// The pauses before the retries of Persist double between these two, and are random in their upper half.
const (
	minPause = time.Second
	maxPause = time.Minute
)

// Wait waits until a call may be made. It returns the error of ctx if ctx ends first.
func (g *Gate) Wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		wait := time.Until(g.notBefore)
		g.mu.Unlock()
		if err := backoff.Sleep(ctx, wait); err != nil || wait <= 0 {
			return err
		}
	}
}

// Hold lets no call through for d, starting now; it does not shorten an earlier hold. It does not wait. If the deadline
// of ctx is not after the end of the hold, Hold changes nothing and returns an error that wraps
// context.DeadlineExceeded and cause.
func (g *Gate) Hold(ctx context.Context, d time.Duration, cause error) error {
	at := time.Now().Add(d)
	if deadline, ok := ctx.Deadline(); ok && !at.Before(deadline) {
		return fmt.Errorf("%w before the next call may be made: %w", context.DeadlineExceeded, cause)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if at.After(g.notBefore) {
		g.notBefore = at
	}
	return nil
}

// persist returns the pause before the next retry, 0 or less if no time is left, and the bound of the pause. last is
// the bound of the pause before it.
func (g *Gate) persist(ctx context.Context, last time.Duration) (bound, pause time.Duration) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failingSince.IsZero() {
		g.failingSince = now
	}
	bound = min(max(2*last, minPause), maxPause)
	pause = min(bound/2+rand.N(bound/2), g.Patience-now.Sub(g.failingSince))
	if deadline, ok := ctx.Deadline(); ok && !now.Add(pause).Before(deadline) {
		return bound, 0
	}
	return bound, pause
}

// recovered records that a failure with Persist has ended.
func (g *Gate) recovered() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failingSince = time.Time{}
}

// Do waits for the gate, makes a call, and retries it as its verdicts say. left is the number of retries left,
// initially MaxRetries; Do decrements it.
//
// It returns a nil error once the call succeeds. Otherwise it returns the last error and its verdict, in which
// Exhausted has replaced Retry and Persist. If ctx ends during a wait, or its deadline is before the end of a hold, the
// verdict is Stop.
func (g *Gate) Do(ctx context.Context, left *int, call func() (Verdict, error)) (Verdict, error) {
	var bound, pause time.Duration // of Persist
	for {
		if err := g.Wait(ctx); err != nil {
			return Verdict{}, err
		}
		v, err := call()
		if err == nil || v.Action != Persist {
			g.recovered()
			bound = 0
		}
		if err == nil {
			return v, nil
		}
		err = cmp.Or(v.Err, err)
		switch v.Action {
		case Hold:
			err = g.Hold(ctx, v.After, err)
		case Retry:
			if *left <= 0 {
				v.Action = v.Exhausted
				return v, err
			}
			*left--
			err = backoff.Sleep(ctx, max(v.After, g.Delay(g.MaxRetries-*left)))
		case Persist:
			if bound, pause = g.persist(ctx, bound); pause <= 0 {
				v.Action = v.Exhausted
				return v, err
			}
			err = backoff.Sleep(ctx, pause)
		default:
			return v, err
		}
		if err != nil {
			return Verdict{}, err
		}
	}
}
