package test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser/internal/testutil"
)

// hostLoad counts the requests to each host.
type hostLoad struct {
	failing map[string]func(time.Duration) testutil.Reply // by the time since the start
	start   time.Time

	mu               sync.Mutex
	requests, failed map[string]int
}

func (h *hostLoad) RoundTrip(req *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.requests[req.URL.Host]++
	h.mu.Unlock()
	r := testutil.Delay(10*time.Millisecond, testutil.RespondJSON(testutil.TagsBody))
	if f := h.failing[req.URL.Host]; f != nil {
		r = f(time.Since(h.start))
	}
	resp, err := r(req)
	if err != nil {
		h.mu.Lock()
		h.failed[req.URL.Host]++
		h.mu.Unlock()
	}
	return resp, err
}

// run makes a call every half second in each goroutine for a duration. It returns the number of calls, and of those
// that took more than a second.
func (h *hostLoad) run(t *testing.T, goroutines int, d time.Duration) (calls, slow int) {
	t.Helper()
	c := testutil.NewClient(t, h, testutil.ThreeHosts)
	end := time.Now().Add(d)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for time.Now().Before(end) {
				start := time.Now()
				assert.NoError(t, testutil.GetTags(t.Context(), c))
				took := time.Since(start)
				mu.Lock()
				calls++
				if took > time.Second {
					slow++
				}
				mu.Unlock()
				time.Sleep(500 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	return calls, slow
}

// cooldown is how long a host that has failed gets no request.
const cooldown = 30 * time.Second

// While a host is dead, slow or flapping no call fails. The host gets one request in half a minute, and when it first
// fails one from each call in flight. A host that hangs delays no call to others.
func TestFailover(t *testing.T) {
	dead := func(time.Duration) testutil.Reply { return testutil.Fail(testutil.ErrRefused) }
	slow := func(time.Duration) testutil.Reply { return testutil.Hang }
	flaps := func(at time.Duration) testutil.Reply {
		if at/(7*time.Second)%2 == 0 {
			return testutil.Fail(testutil.ErrReset)
		}
		return testutil.Delay(10*time.Millisecond, testutil.RespondJSON(testutil.TagsBody))
	}
	for name, failing := range map[string]map[string]func(time.Duration) testutil.Reply{
		"dead":          {"a": dead},
		"two dead":      {"a": dead, "b": dead},
		"slow":          {"a": slow},
		"slow and dead": {"a": slow, "b": dead},
		"flapping":      {"a": flaps},
	} {
		for _, goroutines := range []int{1, 10} {
			t.Run(fmt.Sprint(name, " ", goroutines), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const d = 3 * time.Minute
					h := &hostLoad{
						failing: failing, start: time.Now(), requests: map[string]int{}, failed: map[string]int{},
					}
					calls, slow := h.run(t, goroutines, d)
					most := goroutines + int(d/cooldown)
					if name == "flapping" { // it fails anew each time that it has worked
						most = goroutines * int(d/cooldown)
					}
					for host := range failing {
						assert.LessOrEqual(t, h.failed[host], most, "requests to %s", host)
						assert.Positive(t, h.failed[host], "requests to %s", host)
					}
					assert.LessOrEqual(t, slow, most)
					all := 0
					for _, n := range h.requests {
						all += n
					}
					assert.LessOrEqual(t, all, calls+most*len(failing))
					t.Log(calls, "calls,", slow, "of them slow; requests:", h.requests)
				})
			})
		}
	}
}
