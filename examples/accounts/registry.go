// Package accounts manages the clients of many Official Accounts in one process: one client per account, created on
// first use, with its own rate limit. All clients share the connections and the token store, if there is one.
package accounts

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Account holds the settings of one account.
type Account struct {
	Secret string
	// Every is the interval between two calls; 0 means no limit.
	Every time.Duration
}

// Registry returns clients by app ID. It is safe for concurrent use.
type Registry struct {
	lookup func(ctx context.Context, appID string) (Account, error)
	opts   []wechatuser.Option

	mu      sync.Mutex
	entries map[string]*entry
}

// entry holds the client of one account.
type entry struct {
	lock   chan struct{} // has capacity 1; held while client is created, and guards it
	client *wechatuser.Client
}

// New returns a Registry. It calls lookup to find an account, such as in a database or a vault, and creates all clients
// with opts. Without WithTransport, the clients share the connection pool of package wechatuser. One WithTokenStore
// serves all accounts, since its keys contain the app ID.
func New(lookup func(ctx context.Context, appID string) (Account, error), opts ...wechatuser.Option) *Registry {
	return &Registry{lookup: lookup, opts: opts, entries: make(map[string]*entry)}
}

// Client returns the client of an account, the same one each time. Concurrent callers wait for one lookup. If it fails,
// its caller gets the error and the next caller looks the account up itself.
func (r *Registry) Client(ctx context.Context, appID string) (*wechatuser.Client, error) {
	for {
		e := r.entry(appID)
		select {
		case e.lock <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if r.entry(appID) != e {
			<-e.lock // forgotten in the meantime
			continue
		}
		defer func() { <-e.lock }()
		if e.client != nil {
			return e.client, nil
		}
		client, err := r.newClient(ctx, appID)
		if err != nil {
			r.remove(appID, e) // unknown app IDs must not fill the map
			return nil, fmt.Errorf("account %s: %w", appID, err)
		}
		e.client = client
		return client, nil
	}
}

// entry returns the entry of an account, and creates it if there is none.
func (r *Registry) entry(appID string) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, known := r.entries[appID]
	if !known {
		e = &entry{lock: make(chan struct{}, 1)}
		r.entries[appID] = e
	}
	return e
}

func (r *Registry) newClient(ctx context.Context, appID string) (*wechatuser.Client, error) {
	account, err := r.lookup(ctx, appID)
	if err != nil {
		return nil, err
	}
	opts := r.opts
	if account.Every > 0 {
		opts = append(opts[:len(opts):len(opts)], wechatuser.WithLimiter(&intervalLimiter{every: account.Every}))
	}
	return wechatuser.New(appID, account.Secret, opts...)
}

// Forget makes the next call of Client look the account up again. Use it when the secret has changed and calls fail
// with [wechatuser.ErrCredential]. Clients returned before are not affected.
func (r *Registry) Forget(appID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.entries, appID)
}

// remove deletes e, unless another entry has replaced it.
func (r *Registry) remove(appID string, e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries[appID] == e {
		delete(r.entries, appID)
	}
}

// intervalLimiter is a limiter that allows one call per interval. For bursts, use golang.org/x/time/rate.
type intervalLimiter struct {
	every time.Duration

	mu   sync.Mutex
	next time.Time
}

// Wait blocks until the call may be sent or ctx is done.
func (l *intervalLimiter) Wait(ctx context.Context) error {
	l.mu.Lock()
	now := time.Now()
	if l.next.Before(now) {
		l.next = now
	}
	wait := l.next.Sub(now)
	l.next = l.next.Add(l.every)
	l.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
