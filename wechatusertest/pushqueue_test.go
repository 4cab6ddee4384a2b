package wechatusertest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// newBubble returns an account in a bubble of testing/synctest that pushes to a handler.
func newBubble(
	handler http.Handler, change func(c *wechatusertest.PushConfig), opts ...wechatusertest.Option,
) *wechatusertest.Server {
	c := pushesTo(handler, wechatusertest.PushSafe)
	if change != nil {
		change(&c)
	}
	return wechatusertest.NewServer(append([]wechatusertest.Option{
		wechatusertest.WithoutListener(), wechatusertest.WithPushes(c),
	}, opts...)...)
}

// A push is tried three times, five seconds apart, whether the handler fails or is silent.
func TestThreeAttempts(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]func(w http.ResponseWriter, r *http.Request){
		"error":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
		"panic":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"deaf":   func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rec := newReceiver(t)
				rec.then = func(w http.ResponseWriter, r *http.Request, _ delivery, _ int) { then(w, r) }
				srv := newBubble(rec, nil)
				began := time.Now()
				srv.Follow("oFAKE1")
				require.NoError(t, srv.WaitPushes(t.Context()))

				var at []time.Duration
				nonces := map[string]bool{}
				for _, d := range rec.deliveries() {
					at = append(at, d.at.Sub(began))
					nonces[d.query.Get("nonce")] = true
				}
				assert.Equal(t, []time.Duration{0, 5 * time.Second, 10 * time.Second}, at)
				assert.Len(t, nonces, 3)
				p := srv.Pushes()[0]
				assert.Equal(t, wechatusertest.PushFailed, p.Status)
				want := map[string]string{
					"error": "HTTP status 500", "panic": "no response",
					"silent": "no response within 5s", "deaf": "no response within 5s",
				}
				assert.Equal(t, want[name], p.Error)
				assert.Equal(t, wechatusertest.PushTotals{Failed: 1, Attempts: 3}, srv.PushTotals())
				srv.Close() // waits for the handlers
			})
		})
	}
}

// A push that fails does not keep others waiting, even those of the same user.
func TestRetryComesLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := newReceiver(t)
		rec.then = func(w http.ResponseWriter, _ *http.Request, _ delivery, nth int) {
			if nth == 1 {
				w.WriteHeader(http.StatusBadGateway)
			}
		}
		srv := newBubble(rec, nil)
		srv.Follow("oFAKE1")
		srv.Unfollow("oFAKE1")
		require.NoError(t, srv.WaitPushes(t.Context()))
		assert.Equal(t, []string{"subscribe oFAKE1", "unsubscribe oFAKE1", "subscribe oFAKE1"}, rec.keysOfDeliveries())
		assert.Equal(t, rec.deliveries()[0].fields, rec.deliveries()[2].fields, "a retry has the CreateTime of the event")
	})
}

// On a clock that stands still, Advance makes retries due.
func TestAdvanceSendsRetries(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t)
	attempted := make(chan struct{})
	rec.then = func(w http.ResponseWriter, _ *http.Request, _ delivery, nth int) {
		if nth < 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
		attempted <- struct{}{}
	}
	a := newPushing(t, rec, wechatusertest.PushSafe)
	a.Follow("oFAKE1")
	for range 2 {
		<-attempted
		a.Advance(4 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorContains(t, a.WaitPushes(ctx), "wechatusertest: WaitPushes: 1 pushes are pending: context canceled")
		a.Advance(time.Second)
	}
	<-attempted
	a.waitPushes()
	assert.Equal(t, 3, a.Pushes()[0].Attempts)
	assert.Equal(t, "2", fmt.Sprint(len(rec.deliveries())-1))
}

// All attempts are due after ten seconds, however late the first one was.
func TestAdvanceAtOnce(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t)
	rec.then = func(w http.ResponseWriter, _ *http.Request, _ delivery, _ int) { w.WriteHeader(http.StatusGone) }
	a := newPushing(t, rec, wechatusertest.PushPlain)
	a.Follow(ids(20)...)
	a.Advance(10 * time.Second)
	a.waitPushes()
	assert.Equal(t, wechatusertest.PushTotals{Failed: 20, Attempts: 60}, a.PushTotals())
}

// 10,000 follows at once are delivered in order, and the log is bounded.
func TestManyPushes(t *testing.T) {
	t.Parallel()
	const n = 10_000
	next := 0
	rec := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		assert.Equal(t, wechatusertest.OpenID(next), r.URL.Query().Get("openid"))
		next++ // one push at a time by default
	})
	a := newAccount(t, wechatusertest.WithPushes(pushesTo(rec, wechatusertest.PushSafe)))
	defer a.Close()
	a.Follow(ids(n)...)
	a.waitPushes()
	assert.Equal(t, n, next)
	assert.Equal(t, wechatusertest.PushTotals{Delivered: n, Attempts: n}, a.PushTotals())
	log := a.Pushes()
	assert.Len(t, log, 1000)
	assert.Equal(t, wechatusertest.OpenID(n-1), log[999].OpenID)

	quiet := newAccount(t, wechatusertest.WithRequestLog(0), wechatusertest.WithPushes(pushesTo(rec, "plain")))
	next = 0
	quiet.Follow(ids(1)...)
	quiet.waitPushes()
	assert.Empty(t, quiet.Pushes())
}

// Concurrency is the number of pushes at a time, and those of a user stay in order.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		rec := newReceiver(t)
		rec.then = func(_ http.ResponseWriter, _ *http.Request, d delivery, _ int) {
			now := running.Add(1)
			defer running.Add(-1)
			for most.Load() < now {
				most.Store(now)
			}
			if d.fields["Event"] == "subscribe" {
				time.Sleep(time.Second)
			}
		}
		srv := newBubble(rec, func(c *wechatusertest.PushConfig) { c.Concurrency = 4 })
		srv.Follow(ids(20)...)
		srv.Unfollow(ids(20)...)
		began := time.Now()
		require.NoError(t, srv.WaitPushes(t.Context()))
		assert.EqualValues(t, 4, most.Load())
		assert.Equal(t, 5*time.Second, time.Since(began))
		at := map[string]int{}
		for i, key := range rec.keysOfDeliveries() {
			at[key] = i
		}
		assert.Len(t, at, 40)
		for _, id := range ids(20) {
			assert.Less(t, at["subscribe "+id], at["unsubscribe "+id])
		}
	})
}

// A push of a user waits for the one before, and those of others do not.
func TestOrderOfAUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := newReceiver(t)
		rec.then = func(_ http.ResponseWriter, _ *http.Request, d delivery, _ int) {
			if d.key() == "subscribe oFAKE1" {
				time.Sleep(time.Second)
			}
		}
		srv := newBubble(rec, func(c *wechatusertest.PushConfig) { c.Concurrency = 4 })
		srv.Follow("oFAKE1")
		srv.Unfollow("oFAKE1")
		synctest.Wait()
		srv.Follow("oFAKE2")
		synctest.Wait()
		assert.Equal(t, []string{"subscribe oFAKE1", "subscribe oFAKE2"}, rec.keysOfDeliveries())
		require.NoError(t, srv.WaitPushes(t.Context()))
		assert.Equal(t, "unsubscribe oFAKE1", rec.keysOfDeliveries()[2])
	})
}

// The quirks of pushes do not change what is told, and the same seed has the same effect.
func TestQuirksOfPushes(t *testing.T) {
	t.Parallel()
	run := func(q wechatusertest.Quirks) (keys []string, log []wechatusertest.Push) {
		synctest.Test(t, func(t *testing.T) {
			rec := newReceiver(t)
			srv := newBubble(rec, nil, wechatusertest.WithQuirks(q))
			srv.Follow(ids(100)...)
			require.NoError(t, srv.WaitPushes(t.Context()))
			keys, log = rec.keysOfDeliveries(), srv.Pushes()
			assert.Zero(t, srv.PushTotals().Failed+srv.PushTotals().Pending)
		})
		return keys, log
	}
	strict, _ := run(wechatusertest.Strict())
	inOrder := slices.Clone(strict)
	slices.Sort(inOrder)
	for name, q := range map[string]wechatusertest.Quirks{
		"repeated":  {RepeatedPushes: 0.3},
		"reordered": {ReorderedPushes: 0.3},
		"late":      {PushDelay: time.Hour},
		"wild":      wechatusertest.Wild(3),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, log := run(q)
			again, _ := run(q)
			assert.Equal(t, keys, again)
			repeated := 0
			for _, p := range log {
				if p.Repeated {
					repeated++
				}
			}
			assert.Equal(t, len(keys), 100+repeated)
			assert.Equal(t, name == "repeated" || name == "wild", repeated > 0)
			assert.Equal(t, name == "repeated", slices.Equal(keys[:100], strict), "those that are repeated come last")
			slices.Sort(keys)
			assert.Equal(t, inOrder, slices.Compact(keys))
		})
	}
}

// A push that is held back comes after the next one, or after five seconds.
func TestReorderedPushes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := newReceiver(t)
		srv := newBubble(rec, nil, wechatusertest.WithQuirks(wechatusertest.Quirks{ReorderedPushes: 1}))
		srv.Follow("oFAKE1")
		time.Sleep(5*time.Second - 1)
		synctest.Wait()
		assert.Empty(t, rec.deliveries())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.Len(t, rec.deliveries(), 1)

		began := time.Now()
		srv.Follow("oFAKE2")
		require.NoError(t, srv.WaitPushes(t.Context()))
		assert.Zero(t, time.Since(began))
	})
}

// Close cancels the attempt that is running, waits for its handler, and drops the rest. Nothing is pushed after it.
func TestCloseEndsPushes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := newReceiver(t)
		var returned atomic.Int64
		rec.then = func(_ http.ResponseWriter, r *http.Request, _ delivery, _ int) {
			<-r.Context().Done()
			time.Sleep(time.Second)
			returned.Add(1)
		}
		srv := newBubble(rec, func(c *wechatusertest.PushConfig) { c.Concurrency = 4 })
		srv.Follow("oFAKE1", "oFAKE2", "oFAKE3")
		srv.Unfollow("oFAKE1")
		synctest.Wait()
		assert.Equal(t, 4, srv.PushTotals().Pending)
		srv.Close()
		assert.EqualValues(t, 3, returned.Load())
		assert.Equal(t, wechatusertest.PushTotals{Dropped: 4, Attempts: 3}, srv.PushTotals())
		srv.Close()
		srv.Follow("oFAKE4")
		srv.PushEvent("oFAKE4", "CLICK")
		require.NoError(t, srv.WaitPushes(t.Context()))
		assert.Len(t, rec.deliveries(), 3)
		assert.Equal(t, wechatusertest.PushDropped, srv.Pushes()[0].Status)
	})
}

// Pushes are not part of a saved account, and loading one pushes nothing.
func TestPushesAreNotSaved(t *testing.T) {
	t.Parallel()
	rec := newReceiver(t)
	a := newPushing(t, rec, wechatusertest.PushSafe)
	a.FollowByScan("7", "oFAKE1")
	a.waitPushes()
	var saved strings.Builder
	require.NoError(t, a.Save(&saved))
	assert.NotContains(t, saved.String(), pushToken)
	assert.NotContains(t, saved.String(), pushAESKey)

	b := newPushing(t, rec, wechatusertest.PushSafe)
	require.NoError(t, b.Load(strings.NewReader(saved.String())))
	b.waitPushes()
	user, _ := b.User("oFAKE1")
	assert.EqualValues(t, 7, user.QRScene)
	assert.Empty(t, b.Pushes())
	assert.Len(t, rec.deliveries(), 1)
}

// BenchmarkPushes measures 10,000 follows, encrypted, to a handler.
func BenchmarkPushes(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "success")
	})
	list := ids(10_000)
	b.ReportAllocs()
	for b.Loop() {
		srv := wechatusertest.NewServer(wechatusertest.WithoutListener(),
			wechatusertest.WithPushes(pushesTo(handler, wechatusertest.PushSafe)))
		srv.Follow(list...)
		if err := srv.WaitPushes(b.Context()); err != nil {
			b.Fatal(err)
		}
		srv.Close()
	}
}
