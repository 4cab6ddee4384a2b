package transport

import (
	"sync/atomic"
	"time"
)

// Hosts are the hosts of one client in order of preference, and which of them are in cooldown. It is safe for
// concurrent use.
type Hosts struct {
	bases     []string
	began     time.Time      // has a monotonic reading, so that setting the system clock changes no cooldown
	downUntil []atomic.Int64 // nanoseconds since began, by index; 0 for a host that is up
}

// cooldown is how long a host is not used after a failure.
const cooldown = 30 * time.Second

// NewHosts returns Hosts with these base URLs, all of them up.
func NewHosts(bases []string) *Hosts {
	return &Hosts{bases: bases, began: time.Now(), downUntil: make([]atomic.Int64, len(bases))}
}

// now returns the nanoseconds since began.
func (h *Hosts) now() int64 { return int64(time.Since(h.began)) }

// BaseURL returns the base URL of host i.
func (h *Hosts) BaseURL(i int) string { return h.bases[i] }

// Pick returns the index of the first host that is not in cooldown, or else of the one whose cooldown ends first. When
// the cooldown of a host is over, one call tries it, and the others use another host until that call has succeeded. So
// a host that hangs delays only one call.
func (h *Hosts) Pick() int {
	now, best := h.now(), 0
	for i := range h.downUntil {
		until := h.downUntil[i].Load()
		if until == 0 || until <= now && h.downUntil[i].CompareAndSwap(until, now+int64(cooldown)) {
			return i
		}
		if until < h.downUntil[best].Load() {
			best = i
		}
	}
	return best
}

// MarkDown starts a host's cooldown. It reports whether another host can be tried at once.
func (h *Hosts) MarkDown(i int) bool {
	if len(h.bases) == 1 {
		return false
	}
	now := h.now()
	h.downUntil[i].Store(now + int64(cooldown))
	for j := range h.downUntil {
		if h.downUntil[j].Load() <= now {
			return true
		}
	}
	return false
}

// MarkUp ends a host's cooldown.
func (h *Hosts) MarkUp(i int) {
	if h.downUntil[i].Load() != 0 {
		h.downUntil[i].Store(0)
	}
}
