package accounts

import (
	"container/list"
	"slices"
	"time"
	"weak"

	"github.com/wechatuser/wechatuser"
)

// clients holds the clients that a registry keeps, by key and by app ID. The lock of the registry guards it.
type clients struct {
	keys map[string]*entry
	apps map[string]*app
	used *list.List // of *entry, the most recently used first
}

// entry is a key that the registry keeps.
type entry struct {
	key     string
	app     *app
	usedAt  time.Time
	checkAt time.Time // when to look the settings up again; zero for never
	element *list.Element
}

// app is an account, with what its keys share.
type app struct {
	account Account
	began   uint64 // the number of the lookup that returned account
	limiter wechatuser.Limiter
	entries []*entry
	// client is nil if no key is kept. The client then lives only as long as it is in use, and weak still points to it.
	client *wechatuser.Client
	weak   weak.Pointer[wechatuser.Client]
}

func newClients() clients {
	return clients{keys: make(map[string]*entry), apps: make(map[string]*app), used: list.New()}
}

// use returns the entry of a key, and marks it as used now.
func (c *clients) use(key string, now time.Time) *entry {
	e := c.keys[key]
	if e != nil {
		e.usedAt = now
		c.used.MoveToFront(e.element)
	}
	return e
}

// attach adds a key to an app. If the key belongs to another app, it is removed from that one.
func (c *clients) attach(key string, a *app, now time.Time) *entry {
	e := c.keys[key]
	switch {
	case e == nil:
		e = &entry{key: key, usedAt: now}
		e.element = c.used.PushFront(e)
		c.keys[key] = e
	case e.app == a:
		return e
	default:
		e.detach()
	}
	e.app = a
	a.entries = append(a.entries, e)
	return e
}

// detach removes a key from its app.
func (e *entry) detach() {
	a := e.app
	a.entries = slices.DeleteFunc(a.entries, func(other *entry) bool { return other == e })
	if len(a.entries) == 0 {
		a.entries, a.client = nil, nil
	}
}

func (c *clients) drop(key string) {
	e := c.keys[key]
	if e == nil {
		return
	}
	e.detach()
	c.remove(e)
}

func (c *clients) remove(e *entry) {
	delete(c.keys, e.key)
	c.used.Remove(e.element)
}

// dropOldest drops the least recently used key.
func (c *clients) dropOldest() {
	if last := c.used.Back(); last != nil {
		c.drop(last.Value.(*entry).key)
	}
}

// idleAt returns the time at which the least recently used key will have been idle for d. ok is false if there is none.
func (c *clients) idleAt(d time.Duration) (at time.Time, ok bool) {
	last := c.used.Back()
	if last == nil {
		return time.Time{}, false
	}
	return last.Value.(*entry).usedAt.Add(d), true
}

// forget drops an app and all its keys.
func (c *clients) forget(appID string) {
	a := c.apps[appID]
	if a == nil {
		return
	}
	delete(c.apps, appID)
	for _, e := range a.entries {
		c.remove(e)
	}
}

// collected removes an app whose client was garbage collected.
func (c *clients) collected(appID string) {
	if a := c.apps[appID]; a != nil && a.weak.Value() == nil {
		delete(c.apps, appID)
	}
}

const (
	maxUnknown    = 10_000
	maxUnknownKey = 256
)

// unknown remembers keys that have no account. The lock of the registry guards it.
type unknown struct {
	keys  map[string]*list.Element
	order *list.List // of unknownKey, in the order in which they expire
}

type unknownKey struct {
	key   string
	err   error
	until time.Time
}

func newUnknown() unknown {
	return unknown{keys: make(map[string]*list.Element), order: list.New()}
}

// get returns the error that is remembered for a key, or nil.
func (u *unknown) get(key string, now time.Time) error {
	u.expire(now)
	if e := u.keys[key]; e != nil {
		return e.Value.(unknownKey).err
	}
	return nil
}

func (u *unknown) add(key string, err error, now, until time.Time) {
	u.expire(now)
	if len(key) > maxUnknownKey {
		return
	}
	u.remove(key)
	if len(u.keys) == maxUnknown {
		u.remove(u.order.Front().Value.(unknownKey).key)
	}
	u.keys[key] = u.order.PushBack(unknownKey{key, err, until})
}

func (u *unknown) remove(key string) {
	if e := u.keys[key]; e != nil {
		u.order.Remove(e)
		delete(u.keys, key)
	}
}

func (u *unknown) expire(now time.Time) {
	for first := u.order.Front(); first != nil && !now.Before(first.Value.(unknownKey).until); first = u.order.Front() {
		u.remove(first.Value.(unknownKey).key)
	}
}
