package accounts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"
	"weak"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/backoff"
	"github.com/wechatuser/wechatuser/internal/guard"
	"github.com/wechatuser/wechatuser/internal/redact"
)

// flight is a lookup of one key, for all callers that wait for it. The lock of the registry guards it until done is
// closed; then it does not change any more.
type flight struct {
	done    chan struct{}
	waiters int
	// again is whether to look up once more, because the result may be older than a Forget or Refresh of its key.
	// forgotten are the app IDs for which it would be.
	again     bool
	forgotten map[string]bool
	lookups   int // begun so far
	// next is started when this flight is complete. It is for callers of Refresh who came during a repeated lookup: if
	// each of them repeated it once more, nobody would ever return while they come faster than lookups end.
	next *flight

	ctx    context.Context // of the lookups
	final  bool
	client *wechatuser.Client // may be there in spite of an error, if it was there before
	err    error
}

func (f *flight) forget(appID string) {
	if f.forgotten == nil {
		f.forgotten = make(map[string]bool)
	}
	f.forgotten[appID] = true
}

// isInside reports whether ctx is that of the lookup of f.
func (f *flight) isInside(ctx context.Context) bool {
	return f != nil && ctx.Value(flightKey{}) == f.done
}

// isOutdated reports whether to look up once more.
func (f *flight) isOutdated(appID string) bool { return f.again || f.forgotten[appID] }

// flightKey marks the context of a lookup.
type flightKey struct{}

var (
	errInside    = errors.New("accounts: a lookup cannot wait for the client of the account that it looks up")
	errForgotten = errors.New("accounts: the account was forgotten during the lookup")
)

// wait waits until the flight is done or ctx ends. The caller is one of its waiters.
func (r *Registry) wait(ctx context.Context, key string, f *flight) error {
	select {
	case <-f.done:
		guard.Rethrow(f.err)
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f.waiters--
	return waitError(ctx, key)
}

// join returns the flight of a key, and starts one if there is none.
func (r *Registry) join(ctx context.Context, key string) *flight {
	f := r.flights[key]
	if f == nil {
		f = newFlight(ctx)
		r.start(strings.Clone(key), f) // it may be a part of a large text
	}
	return f
}

// newFlight returns a flight for the caller with ctx. The lookup outlives its callers. If it ended with the last of
// them, callers with deadlines shorter than it takes would start one after the other, and never have a client.
func newFlight(ctx context.Context) *flight {
	f := &flight{done: make(chan struct{})}
	f.ctx = context.WithValue(context.WithoutCancel(ctx), flightKey{}, f.done)
	return f
}

func (r *Registry) start(key string, f *flight) {
	r.flights[key] = f
	go r.run(key, f)
}

func (r *Registry) run(key string, f *flight) {
	guard.Run(func() {
		for again := true; again; {
			again = r.lookUp(key, f)
		}
	}, func(panicked error) {
		if panicked != nil {
			r.fail(key, f, panicked, false)
		}
	})
}

// lookUp makes one lookup, and reports whether there must be another one.
func (r *Registry) lookUp(key string, f *flight) (again bool) {
	r.mu.Lock()
	if f.final {
		r.mu.Unlock()
		return false
	}
	f.again, f.forgotten = false, nil
	f.lookups++
	r.began++
	began := r.began
	r.mu.Unlock()

	timed, cancel := context.WithTimeout(f.ctx, r.lookupTimeout)
	defer cancel()
	stop := context.AfterFunc(timed, func() { // the lookup may ignore its context
		r.fail(key, f, fmt.Errorf("accounts: looking up %q took longer than %v: %w", key, r.lookupTimeout,
			context.DeadlineExceeded), false)
	})
	defer stop() // before cancel, also if the lookup panics
	account, err := r.lookup(timed, key)
	stop()
	if err == nil {
		if account.AppID == "" {
			account.AppID = key
		}
		again, err = r.install(key, f, began, account)
		if err == nil {
			return again
		}
		err = fmt.Errorf("accounts: the settings of %q: %w", key, err)
	} else {
		if account.Secret != "" {
			err = redact.New(account.Secret).Error(err)
		}
		err = fmt.Errorf("accounts: looking up %q: %w", key, err)
	}
	return r.fail(key, f, err, true)
}

// install puts the settings into effect.
func (r *Registry) install(key string, f *flight, began uint64, account Account) (again bool, err error) {
	var replaced bool
	defer func() {
		if replaced {
			r.logger.Info("accounts: settings changed, client replaced", slog.String("app_id", account.AppID))
		}
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if f.final {
			return false, nil
		}
		if f.isOutdated(account.AppID) {
			return r.another(key, f), nil
		}
		a := r.clients.apps[account.AppID]
		settings := account
		if a != nil && a.began > began {
			settings = a.account // another key of this account was looked up later
		}
		var client *wechatuser.Client
		if a != nil && a.account.equals(settings) {
			client = a.weak.Value()
		}
		if client == nil {
			var before weak.Pointer[wechatuser.Client]
			var limiter wechatuser.Limiter
			if a != nil {
				before, limiter = a.weak, a.limiter
			}
			client, limiter, err = r.newClient(settings, limiter)
			switch current := r.clients.apps[account.AppID]; {
			case err != nil:
				return false, err
			case current != a || a != nil && a.weak != before:
				continue // another key of this account was faster
			case f.final || f.isOutdated(account.AppID):
				continue
			case a == nil:
				a = &app{}
				r.clients.apps[account.AppID] = a
			}
			replaced = a.client != nil
			a.limiter, a.weak = limiter, weak.Make(client)
			runtime.AddCleanup(client, collected, dropped{weak.Make(r), account.AppID})
		}
		a.account, a.client, a.began = settings, client, max(began, a.began)
		r.attach(key, a, f)
		return false, nil
	}
}

// attach makes a key one of an app, and completes its flight.
func (r *Registry) attach(key string, a *app, f *flight) {
	now := time.Now()
	e := r.clients.attach(key, a, now)
	if r.maxAge > 0 {
		e.checkAt = now.Add(r.maxAge)
	}
	r.unknown.remove(key)
	for len(r.clients.keys) > r.capacity {
		r.clients.dropOldest()
	}
	r.armSweep(now)
	f.client = e.app.client
	r.complete(key, f)
}

// another reports whether an outdated flight makes another lookup: not if nobody waits for it.
func (r *Registry) another(key string, f *flight) bool {
	if f.waiters > 0 {
		return true
	}
	f.err = errForgotten
	r.complete(key, f)
	return false
}

// retryAfter is how long after a failed lookup the settings of a client are looked up again.
const retryAfter = 10 * time.Second

// fail completes a flight that failed. If it is outdated and its goroutine may look up once more, fail reports that
// instead.
func (r *Registry) fail(key string, f *flight, err error, mayRepeat bool) (again bool) {
	var warn, kept bool
	defer func() {
		if warn {
			r.logger.Warn("accounts: lookup failed", slog.String("key", key), slog.Bool("client_kept", kept),
				slog.Any("error", err))
		}
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.final {
		return false
	}
	if f.again && mayRepeat {
		return r.another(key, f)
	}
	f.err = err
	defer r.complete(key, f)
	now := time.Now()
	if errors.Is(err, ErrUnknownAccount) {
		r.clients.drop(key)
		if r.unknownFor > 0 {
			r.unknown.add(key, err, now, now.Add(r.unknownFor))
		}
		return false
	}
	e := r.clients.keys[key]
	kept = e != nil
	warn = kept || f.waiters == 0
	if kept {
		f.client = e.app.client
		if r.maxAge > 0 {
			e.checkAt = now.Add(min(r.maxAge, retryAfter))
		}
	}
	return false
}

func (r *Registry) complete(key string, f *flight) {
	f.final = true
	delete(r.flights, key)
	close(f.done)
	if f.next != nil {
		r.start(key, f.next)
	}
}

// newClient returns a client with these settings, and its limiter: the given one, or a new one if that is nil. It is
// called with the lock, and releases it meanwhile: options and limiters are code of others.
func (r *Registry) newClient(a Account, limiter wechatuser.Limiter) (*wechatuser.Client, wechatuser.Limiter, error) {
	r.mu.Unlock()
	defer r.mu.Lock()
	opts := append(make([]wechatuser.Option, 0, len(r.clientOptions)+len(a.Options)+3), r.clientOptions...)
	switch {
	case a.TokenSource != nil:
		opts = append(opts, wechatuser.WithTokenSource(a.TokenSource))
	case r.store != nil:
		opts = append(opts, wechatuser.WithTokenStore(r.store))
	}
	if a.SecretSource != nil {
		opts = append(opts, wechatuser.WithSecretSource(a.SecretSource))
	}
	if limiter == nil && r.limiter != nil {
		limiter = r.limiter(a.AppID)
	}
	if limiter != nil {
		opts = append(opts, wechatuser.WithLimiter(limiter))
	}
	c, err := wechatuser.New(a.AppID, a.Secret, append(opts, a.Options...)...)
	return c, limiter, err
}

// dropped names an app whose client was garbage collected. It must not keep the registry alive, which could keep the
// client alive.
type dropped struct {
	registry weak.Pointer[Registry]
	appID    string
}

func collected(d dropped) {
	if r := d.registry.Value(); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.clients.collected(d.appID)
	}
}

func waitError(ctx context.Context, key string) error {
	return fmt.Errorf("accounts: waiting for the settings of %q: %w", key, backoff.ContextErr(ctx))
}
