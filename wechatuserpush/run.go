package wechatuserpush

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser/internal/guard"
)

// runs calls the user's function once for a push and its repeats.
type runs struct {
	handle func(context.Context, Event) error
	store  Deduplicator // may be nil
	log    *limitedLog
	appID  string

	timeout time.Duration // of the function
	wait    time.Duration // of a request
	keep    time.Duration // how long a push is remembered

	mu     sync.Mutex
	window *window
	active map[string]*run
}

// run is one call of the function, for all requests that wait for it.
type run struct {
	done chan struct{}
	err  error // set before done is closed
}

const (
	// lease is how long a claim outlives a process that was killed. It is shorter than a repeat waits for the claim
	// to end, even with the pause between two questions to the store.
	lease     = 4 * time.Second
	claimWait = 4500 * time.Millisecond

	// minWait is how long a request waits at least. It is long enough for a function that takes all of its time,
	// and for a claim to end.
	minWait = 4750 * time.Millisecond

	// maxRenewals ends the renewals for a function that never returns. The platform has given up long before.
	maxRenewals = time.Minute

	storeTimeout = time.Second // of an operation of the store

	maxKeep = 365 * 24 * time.Hour // of a push, however long MaxAge is

	claimPollMin = 50 * time.Millisecond // between questions to the store, doubled each time
	claimPollMax = 400 * time.Millisecond

	failureLines = 10 // in the log, a minute and reason
)

func newRuns(cfg Config, log *limitedLog, handle func(context.Context, Event) error) *runs {
	// A time stamp may be MaxAge ahead, so a recorded push can be sent again for twice as long.
	keep := 2*min(cfg.MaxAge, maxKeep/2) + time.Minute
	return &runs{
		handle: handle, store: cfg.Deduplicator, log: log, appID: cfg.AppID,
		timeout: cfg.Timeout, wait: max(minWait, cfg.Timeout+(platformTimeout-cfg.Timeout)/2), keep: keep,
		window: newWindow(keep, windowSize), active: map[string]*run{},
	}
}

var (
	errFailed  = errors.New("the function failed")
	errTimeUp  = errors.New("the function has not returned in time")
	errRunning = errors.New("another process has not finished in time")
)

// do returns nil if the push is handled, now or earlier. It returns an error when it is time to answer.
//
// It does not return earlier if the platform hangs up, so that a server that shuts down waits for the function.
func (rs *runs) do(ctx context.Context, p push) error {
	r := rs.join(ctx, p)
	if r == nil {
		return nil
	}
	timer := time.NewTimer(rs.wait)
	defer timer.Stop()
	select {
	case <-r.done:
		return r.err
	case <-timer.C:
		rs.logFailure(ctx, p, errTimeUp.Error())
		return errTimeUp
	}
}

// join returns the run of a push, which it starts if there is none, or nil if the push has been handled.
func (rs *runs) join(ctx context.Context, p push) *run {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r := rs.active[p.key]; r != nil {
		return r
	}
	if rs.window.has(p.key) {
		return nil
	}
	r := &run{done: make(chan struct{})}
	rs.active[p.key] = r
	go rs.start(context.WithoutCancel(ctx), p, r)
	return r
}

// start handles a push and tells those who wait for it.
func (rs *runs) start(ctx context.Context, p push, r *run) {
	owner, claimed := rand.Text(), false
	var err error
	defer func() { // even if code of others ends the goroutine in the last function below
		rs.mu.Lock()
		if err == nil {
			rs.window.add(p.key)
		}
		delete(rs.active, p.key)
		rs.mu.Unlock()
		r.err = err
		close(r.done)
	}()
	guard.Run(func() {
		if claimed, err = rs.claim(ctx, p, owner); !claimed {
			return
		}
		stop := rs.renew(ctx, p, owner)
		defer stop()
		timed, cancel := context.WithTimeout(ctx, rs.timeout)
		defer cancel()
		if err = rs.handle(timed, p.event); err != nil {
			rs.logFailure(ctx, p, errFailed.Error(), slog.String("error", p.redacts.Text(err.Error())))
			err = errFailed
		}
	}, func(ended error) {
		if ended != nil {
			err = errFailed
			rs.logFailure(ctx, p, "the function panicked", slog.String("panic", p.redacts.Text(describe(ended))))
		}
		if claimed {
			rs.settle(ctx, p, owner, err)
		}
	})
}

// describe returns the value of a panic and the stack.
func describe(err error) string {
	var p *guard.Panic
	if errors.As(err, &p) {
		return fmt.Sprintf("%T: %v", p.Value, p)
	}
	return err.Error()
}

// claim reports whether the push is this process's to handle. If not, it was handled, or the error says that somebody
// else has not finished. Without a store that works, each process is on its own.
func (rs *runs) claim(ctx context.Context, p push, owner string) (bool, error) {
	if rs.store == nil {
		return true, nil
	}
	for end, pause := time.Now().Add(claimWait), claimPollMin; ; pause = min(2*pause, claimPollMax) {
		state, err := rs.ask(ctx, p, owner)
		switch {
		case err != nil:
			rs.logStore(ctx, p, err)
			return true, nil
		case state == Claimed:
			return true, nil
		case state == Finished:
			return false, nil
		case time.Until(end) < pause:
			rs.logFailure(ctx, p, errRunning.Error())
			return false, errRunning
		}
		time.Sleep(pause)
	}
}

func (rs *runs) ask(ctx context.Context, p push, owner string) (State, error) {
	return use(ctx, func(ctx context.Context) (State, error) {
		state, err := rs.store.Claim(ctx, p.key, owner, lease)
		if err == nil && (state < Claimed || state > Finished) {
			err = fmt.Errorf("the store returned %d, which is no state", state)
		}
		return state, err
	})
}

// use runs an operation of the store and returns when its time is up, even if the store ignores its context. A panic
// of the store is a failure like any other.
func use[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	type result struct {
		value T
		err   error
	}
	ended := make(chan result, 1)
	go func() {
		var r result
		guard.Run(func() { r.value, r.err = f(ctx) }, func(panicked error) {
			if panicked != nil {
				r.err = panicked
			}
			ended <- r
		})
	}()
	select {
	case r := <-ended:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, fmt.Errorf("the store has not responded: %w", ctx.Err())
	}
}

// renew starts the lease of a claim anew until stop is called.
func (rs *runs) renew(ctx context.Context, p push, owner string) (stop func()) {
	if rs.store == nil {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, maxRenewals)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(lease / 4)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_, _ = rs.ask(ctx, p, owner) // the next one may succeed
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// settle tells the store how a push that this process has claimed ended.
func (rs *runs) settle(ctx context.Context, p push, owner string, failed error) {
	if rs.store == nil {
		return
	}
	_, err := use(ctx, func(ctx context.Context) (struct{}, error) {
		if failed == nil {
			return struct{}{}, rs.store.Done(ctx, p.key, rs.keep)
		}
		return struct{}{}, rs.store.Release(ctx, p.key, owner)
	})
	if err != nil {
		rs.logStore(ctx, p, err)
	}
}

// logFailure logs that the platform will send a push again.
func (rs *runs) logFailure(ctx context.Context, p push, reason string, attrs ...slog.Attr) {
	rs.log.log(ctx, slog.LevelError, failureLines, "wechatuserpush: an event was not handled: "+reason,
		append([]slog.Attr{slog.String("appid", rs.appID), slog.Any("event", p.event.PushHeader())}, attrs...)...)
}

func (rs *runs) logStore(ctx context.Context, p push, err error) {
	rs.log.log(ctx, slog.LevelWarn, 1, "wechatuserpush: the store of repeats failed: an event may be handled twice",
		slog.String("appid", rs.appID), slog.String("error", p.redacts.Text(err.Error())))
}
