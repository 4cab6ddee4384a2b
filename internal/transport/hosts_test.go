package transport

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func threeHosts() *Hosts { return NewHosts([]string{"https://a", "https://b", "https://c"}) }

func TestHostsArePickedInOrderOfPreference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := threeHosts()
		assert.Equal(t, 0, h.Pick())
		assert.Equal(t, "https://b", h.BaseURL(1))

		assert.True(t, h.MarkDown(0), "another host is up")
		assert.Equal(t, 1, h.Pick())
		time.Sleep(time.Second)
		assert.True(t, h.MarkDown(1))
		assert.Equal(t, 2, h.Pick())
		time.Sleep(time.Second)
		assert.False(t, h.MarkDown(2), "no host is up")
		assert.Equal(t, 0, h.Pick(), "the one whose cooldown ends first")

		h.MarkUp(2)
		assert.Equal(t, 2, h.Pick())
	})
}

func TestOneHostHasNoCooldown(t *testing.T) {
	h := NewHosts([]string{"https://a"})
	assert.False(t, h.MarkDown(0))
	assert.Equal(t, 0, h.Pick())
}

// When a cooldown is over, a single call tries the host until it has succeeded.
func TestOneCallTriesAHostAfterItsCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := threeHosts()
		h.MarkDown(0)
		time.Sleep(cooldown - 1)
		assert.Equal(t, 1, h.Pick(), "the cooldown lasts")
		time.Sleep(time.Nanosecond)
		var tried atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if h.Pick() == 0 {
					tried.Add(1)
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, tried.Load())

		assert.Equal(t, 1, h.Pick(), "the call that tries it has no result yet")
		h.MarkUp(0)
		assert.Equal(t, 0, h.Pick())
	})
}

func TestAHostWhoseCooldownIsOverCanBeTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHosts([]string{"https://a", "https://b"})
		h.MarkDown(0)
		time.Sleep(cooldown)
		assert.True(t, h.MarkDown(1), "the cooldown of the other one is over")
	})
}

// Setting the clock of the machine back by an hour must not make a cooldown an hour longer.
func TestCooldownDoesNotDependOnTheWallClock(t *testing.T) {
	assert.Contains(t, NewHosts([]string{"https://a"}).began.String(), "m=", "a monotonic reading")
	synctest.Test(t, func(t *testing.T) {
		h := threeHosts()
		time.Sleep(time.Minute)
		h.MarkDown(1)
		assert.EqualValues(t, time.Minute+cooldown, h.downUntil[1].Load(), "since the beginning, not since 1970")
	})
}
