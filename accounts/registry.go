package accounts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Registry returns the clients of accounts by key. It is safe for concurrent use and needs no Close.
type Registry struct {
	config
	lookup Lookup

	mu      sync.Mutex // guards the fields below; never held while code of others runs
	clients clients
	unknown unknown
	flights map[string]*flight // running lookups by key
	began   uint64             // number of lookups so far
	timer   *time.Timer        // of sweep; nil before the first key
	armed   bool               // whether timer runs
}

// New returns a registry that finds accounts with lookup.
//
// If arguments or options are wrong it returns one error, which wraps a [*wechatuser.ArgumentError] for each of them.
func New(lookup Lookup, opts ...Option) (*Registry, error) {
	r := &Registry{
		config: config{
			logger: slog.New(slog.DiscardHandler), capacity: defaultCapacity, idle: defaultIdle,
			lookupTimeout: defaultLookupTimeout,
		},
		lookup:  lookup,
		clients: newClients(),
		unknown: newUnknown(),
		flights: make(map[string]*flight),
	}
	var errs []error
	if lookup == nil {
		errs = append(errs, optionError("lookup", "nil function: it must return the settings of an account"))
	}
	for i, opt := range opts {
		if opt == nil {
			errs = append(errs, optionError("opts", "option %d is nil", i+1))
			continue
		}
		errs = append(errs, opt(&r.config))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

// Client returns the client of the account with this key, the same one each time until its settings change. If it has
// none, it looks the account up, once for all callers that wait. A caller that does not wait any longer does not end
// the lookup for the others.
//
// It returns the error of the lookup, or of [wechatuser.New] if the settings are wrong, or wraps the error of ctx if
// that ended during the wait. A failure is not remembered, except with [WithUnknownFor]. If the lookup panics, so do
// all callers that wait for it.
func (r *Registry) Client(ctx context.Context, key string) (*wechatuser.Client, error) {
	if err := checkContext("Client", ctx); err != nil {
		return nil, err
	}
	client, f, err := r.client(ctx, key)
	if f == nil {
		return client, err
	}
	if err := r.wait(ctx, key, f); err != nil {
		return nil, err
	}
	if f.client == nil {
		return nil, f.err
	}
	return f.client, nil
}

// client returns the client that is there, or the lookup to wait for, or a remembered error.
func (r *Registry) client(ctx context.Context, key string) (*wechatuser.Client, *flight, error) {
	now := time.Now() // before the lock, which all callers need
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.clients.use(key, now); e != nil {
		if r.maxAge == 0 || now.Before(e.checkAt) {
			return e.app.client, nil, nil
		}
		if now.Before(e.checkAt.Add(r.maxAge)) {
			r.join(ctx, key)
			return e.app.client, nil, nil
		}
		f, err := r.await(ctx, key)
		return nil, f, err
	}
	if err := r.unknown.get(key, now); err != nil {
		return nil, nil, err
	}
	f, err := r.await(ctx, key)
	return nil, f, err
}

// await joins the flight of a key as a waiter.
func (r *Registry) await(ctx context.Context, key string) (*flight, error) {
	switch {
	case ctx.Err() != nil:
		return nil, waitError(ctx, key)
	case r.flights[key].isInside(ctx):
		return nil, errInside
	}
	f := r.join(ctx, key)
	f.waiters++
	return f, nil
}

// Refresh looks the settings of an account up, and returns when they are in effect for the next call of Client. The
// client is replaced only if they differ from those it was made with. Use it when a program knows that settings have
// changed. It always waits for a lookup that began after the call.
//
// Its errors are those of Client. After an error the client stays, unless the account is unknown.
func (r *Registry) Refresh(ctx context.Context, key string) error {
	if err := checkContext("Refresh", ctx); err != nil {
		return err
	}
	f, err := r.refresh(ctx, key)
	if err != nil {
		return err
	}
	if err := r.wait(ctx, key, f); err != nil {
		return err
	}
	return f.err
}

func (r *Registry) refresh(ctx context.Context, key string) (*flight, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unknown.remove(key)
	running := r.flights[key]
	if running != nil && running.lookups > 1 && !running.isInside(ctx) && ctx.Err() == nil {
		if running.next == nil {
			running.next = newFlight(ctx)
		}
		running.next.waiters++
		return running.next, nil
	}
	f, err := r.await(ctx, key)
	if err == nil && f == running {
		f.again = true // what it has read may be older than this call
	}
	return f, err
}

// Forget drops the client of the account with this key, with its token, for all keys of its app ID. The next call of
// Client looks the account up and makes a new client. Clients that were returned before keep working.
func (r *Registry) Forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unknown.remove(key)
	if f := r.flights[key]; f != nil {
		f.again = true
	}
	if e := r.clients.keys[key]; e != nil {
		r.forget(e.app.account.AppID)
	}
}

// ForgetAppID is like Forget, for all keys of an app ID. Use it for events that name the app ID, such as one that says
// that an account has withdrawn its authorization.
func (r *Registry) ForgetAppID(appID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(appID)
}

func (r *Registry) forget(appID string) {
	for _, f := range r.flights {
		f.forget(appID)
	}
	r.clients.forget(appID)
}

// Len returns the number of keys that the registry keeps.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.clients.keys)
}

// String returns the name of the type and the number of keys.
func (r *Registry) String() string {
	if r == nil || r.lookup == nil {
		return "accounts.Registry(nil)"
	}
	return fmt.Sprintf("accounts.Registry(%d keys)", r.Len())
}

// Format writes String, whatever the verb, so that none shows a secret.
func (r *Registry) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue returns String.
func (r *Registry) LogValue() slog.Value { return slog.StringValue(r.String()) }

func checkContext(function string, ctx context.Context) error { //nolint:revive // the context is what is checked
	if ctx == nil {
		return argumentError("accounts."+function, "ctx", "nil context: pass context.Background() if there is none")
	}
	return nil
}

// armSweep sees to it that idle keys are dropped.
func (r *Registry) armSweep(now time.Time) {
	due, ok := r.clients.idleAt(r.idle)
	switch {
	case r.armed || !ok:
		return
	case r.timer == nil:
		r.timer = time.AfterFunc(due.Sub(now), r.sweep)
	default:
		r.timer.Reset(due.Sub(now))
	}
	r.armed = true
}

func (r *Registry) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = false
	now := time.Now()
	for {
		due, ok := r.clients.idleAt(r.idle)
		if !ok || due.After(now) {
			break
		}
		r.clients.dropOldest()
	}
	r.armSweep(now)
}
