package wechatuserpush_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/wechatuserpush"
)

// modelEvent is what happened to an event.
type modelEvent struct {
	running   int // calls of the function at the moment
	handled   int // calls that returned nil
	delivered bool
	tries     int
}

// A platform sends events to processes that share a store, three times each if need be, and now and then again although
// it was answered. The function is slow, fails, panics or ignores its context. Whatever happens, an event is handled by
// one call at a time and not again after it was handled; and the platform is told of success only after that.
func TestModelOfRepeats(t *testing.T) {
	seeds := 20
	if testutil.Full() {
		seeds = 1000
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runModel(t, rand.New(rand.NewPCG(uint64(seed), 1))) })
		})
	}
}

func runModel(t *testing.T, rng *rand.Rand) {
	const events, processes = 40, 3
	var mu sync.Mutex
	found := map[string]*modelEvent{}
	random := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n)
	}
	function := func(ctx context.Context, event wechatuserpush.Event) error {
		from := event.PushHeader().FromUserName
		duration, outcome := time.Duration(random(7000))*time.Millisecond, random(6)
		mu.Lock()
		e := found[from]
		e.running++
		assert.Equal(t, 1, e.running, "two calls at the same time")
		assert.Zero(t, e.handled, "a call after the event was handled")
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			e.running--
		}()
		if outcome%2 == 0 { // it looks at its context
			select {
			case <-time.After(duration):
			case <-ctx.Done():
				return ctx.Err()
			}
		} else {
			time.Sleep(duration)
		}
		switch outcome {
		case 0:
			return errors.New("failed")
		case 1:
			panic("failed")
		}
		mu.Lock()
		defer mu.Unlock()
		e.handled++
		return nil
	}
	store := newSharedStore()
	var all []*receiver
	for range processes {
		all = append(all, newReceiver(t, with(store), function))
	}
	var platformDone sync.WaitGroup
	for i := range events {
		from := fmt.Sprintf("SENTINEL-%d", i)
		e := &modelEvent{}
		mu.Lock()
		found[from] = e
		mu.Unlock()
		created := time.Now().Unix() + int64(i%3)
		platformDone.Go(func() {
			time.Sleep(time.Duration(random(5000)) * time.Millisecond)
			for e.tries < 3 && !e.delivered {
				e.tries++
				start := time.Now()
				code := send(all[random(processes)], platform.safe(eventOf(from, "subscribe", created))).Code
				assert.Less(t, time.Since(start), 5*time.Second, "the platform hangs up")
				if e.delivered = code == http.StatusOK; e.delivered {
					mu.Lock()
					assert.Equal(t, 1, e.handled, "success without a call that succeeded")
					mu.Unlock()
				} else if random(2) == 0 { // the platform waits until its 5 s are over
					time.Sleep(time.Until(start.Add(5 * time.Second)))
				}
			}
			if random(3) == 0 { // a late repeat
				time.Sleep(time.Duration(random(60)) * time.Second)
				send(all[random(processes)], platform.safe(eventOf(from, "subscribe", created)))
			}
		})
	}
	platformDone.Wait()
	time.Sleep(10 * time.Second) // functions that are slower than the last try
	mu.Lock()
	defer mu.Unlock()
	delivered := 0
	for from, e := range found {
		assert.LessOrEqual(t, e.handled, 1, from)
		assert.Zero(t, e.running)
		if e.delivered {
			delivered++
		}
	}
	assert.Greater(t, delivered, events/3, "the model handles some")
}
