// Package accounts keeps the clients of many Official Accounts in one process: one client for each, made when it is first
// asked for, with a rate of its own. All of them share connections and, if there is one, the store of tokens.
package accounts

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Account is what a client is made from, apart from the app ID.
type Account struct {
	Secret string
	// Every is the time between two calls; 0 for no limit.
	Every time.Duration
}

// Registry gives clients by app ID. It is safe for concurrent use.
type Registry struct {
	lookup func(ctx context.Context, appID string) (Account, error)
	opts   []wechatuser.Option

	mu      sync.Mutex
	entries map[string]*entry
}

// entry is a client, or the place of one that is being made.
type entry struct {
	making chan struct{} // holds one element while somebody makes it, and guards client
	client *wechatuser.Client
}

// New makes a Registry. The lookup finds an account, such as in a database or a vault; opts are for all clients. Without
// WithTransport among them, clients share the connection pool of package wechatuser. WithTokenStore serves all accounts,
// since its keys hold the app ID.
func New(lookup func(ctx context.Context, appID string) (Account, error), opts ...wechatuser.Option) *Registry {
	return &Registry{lookup: lookup, opts: opts, entries: make(map[string]*entry)}
}

// Client is the client of this account, always the same. Callers that come at once wait for one lookup; where that
// fails, its caller gets the error, and the next one tries by itself.
func (r *Registry) Client(ctx context.Context, appID string) (*wechatuser.Client, error) {
	for {
		e := r.entry(appID)
		select {
		case e.making <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if r.entry(appID) != e {
			<-e.making // it was forgotten meanwhile
			continue
		}
		defer func() { <-e.making }()
		if e.client != nil {
			return e.client, nil
		}
		client, err := r.make(ctx, appID)
		if err != nil {
			r.forget(appID, e) // strangers' app IDs must not fill the map
			return nil, fmt.Errorf("account %s: %w", appID, err)
		}
		e.client = client
		return client, nil
	}
}

// entry is the one of this account, a new one if there is none.
func (r *Registry) entry(appID string) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, known := r.entries[appID]
	if !known {
		e = &entry{making: make(chan struct{}, 1)}
		r.entries[appID] = e
	}
	return e
}

func (r *Registry) make(ctx context.Context, appID string) (*wechatuser.Client, error) {
	account, err := r.lookup(ctx, appID)
	if err != nil {
		return nil, err
	}
	opts := r.opts
	if account.Every > 0 {
		opts = append(opts[:len(opts):len(opts)], wechatuser.WithLimiter(&pace{every: account.Every}))
	}
	return wechatuser.New(appID, account.Secret, opts...)
}

// Forget makes the next call of Client look the account up again, after its secret was changed: calls with the old
// one get [wechatuser.ErrCredential]. Whoever has the old client may go on with it.
func (r *Registry) Forget(appID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.entries, appID)
}

func (r *Registry) forget(appID string, e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries[appID] == e {
		delete(r.entries, appID)
	}
}

// pace is a limiter that lets one call pass in each interval. golang.org/x/time/rate is one with bursts.
type pace struct {
	every time.Duration

	mu   sync.Mutex
	next time.Time
}

// Wait waits for its turn, or for the end of the context.
func (p *pace) Wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(p.every)
	p.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
