package wechatuserpush_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/wechatuserpush"
)

// sharedStore is a Deduplicator for several handlers, as simple as can be.
type sharedStore struct {
	mu      sync.Mutex
	err     error
	keys    map[string]bool
	owners  map[string]string
	until   map[string]time.Time
	renewed int
}

func newSharedStore() *sharedStore {
	return &sharedStore{keys: map[string]bool{}, owners: map[string]string{}, until: map[string]time.Time{}}
}

const done = "" // in place of an owner

func (s *sharedStore) Claim(
	_ context.Context, key, owner string, lease time.Duration,
) (wechatuserpush.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[key] = true
	if s.err != nil {
		return 0, s.err
	}
	if holder, found := s.owners[key]; found && time.Now().Before(s.until[key]) {
		switch holder {
		case done:
			return wechatuserpush.Finished, nil
		case owner:
			s.renewed++
		default:
			return wechatuserpush.Running, nil
		}
	}
	s.owners[key], s.until[key] = owner, time.Now().Add(lease)
	return wechatuserpush.Claimed, nil
}

func (s *sharedStore) Done(_ context.Context, key string, keep time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.owners[key], s.until[key] = done, time.Now().Add(keep)
	}
	return s.err
}

func (s *sharedStore) Release(_ context.Context, key, owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && s.owners[key] == owner {
		delete(s.owners, key)
	}
	return s.err
}

func (s *sharedStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func with(store wechatuserpush.Deduplicator) func(*wechatuserpush.Config) {
	return func(c *wechatuserpush.Config) { c.Deduplicator = store }
}

var errDatabase = errors.New("no database")

func TestRepeatsAreHandledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, nil, nil)
		text := event("subscribe", time.Now().Unix())
		first := platform.safe(text)
		for range 3 {
			assert.Equal(t, "success", send(r, first).Body.String())
			assert.Equal(t, "success", send(r, platform.safe(text)).Body.String(), "encrypted anew")
		}
		assert.Equal(t, 1, r.calls())

		// As long as its time stamp is accepted, the same request is recognized.
		time.Sleep(5 * time.Minute)
		assert.Equal(t, http.StatusOK, send(r, first).Code)
		time.Sleep(time.Second)
		assert.Equal(t, http.StatusForbidden, send(r, first).Code)
		assert.Equal(t, 1, r.calls())

		time.Sleep(time.Hour)
		assert.Equal(t, http.StatusOK, send(r, platform.safe(text)).Code)
		assert.Equal(t, 2, r.calls(), "it is forgotten")
	})
}

// Events that differ in what tells them apart are no repeats.
func TestWhatIsNoRepeat(t *testing.T) {
	r := newReceiver(t, nil, nil)
	created := time.Now().Unix()
	service := func(of, revoked string) string {
		return event("user_authorization_revoke", created,
			"<OpenID>SENTINEL-"+of+"</OpenID><RevokeInfo>"+revoked+"</RevokeInfo>")
	}
	message := func(id string) string {
		return strings.Replace(event("", created, "<MsgId>"+id+"</MsgId>"), "[event]", "[text]", 1)
	}
	texts := []string{
		event("subscribe", created), event("unsubscribe", created), event("subscribe", created+1),
		eventOf("SENTINELother", "subscribe", created),
		event("SCAN", created, "<EventKey>1</EventKey>"), event("SCAN", created, "<EventKey>2</EventKey>"),
		service("a", "201"), service("b", "201"), service("a", "202"),
		message("1"), message("2"),
		"<xml><MsgType>text</MsgType><Content>a</Content></xml>",
		"<xml><MsgType>text</MsgType><Content>b</Content></xml>",
	}
	for range 2 {
		for _, text := range texts {
			require.Equal(t, http.StatusOK, send(r, platform.safe(text)).Code, r.log.String())
		}
	}
	assert.Equal(t, len(texts), r.calls())
}

func TestFailedEventIsHandledAgain(t *testing.T) {
	for name, store := range map[string]wechatuserpush.Deduplicator{"memory": nil, "store": newSharedStore()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				r := newReceiver(t, with(store), func(context.Context, wechatuserpush.Event) error {
					if calls.Add(1) <= 2 {
						return fmt.Errorf("follow %s (%q): %w", openID, strings.ToUpper(openID), errDatabase)
					}
					return nil
				})
				m := platform.safe(event("subscribe", time.Now().Unix()))
				for range 2 {
					w := send(r, m)
					assert.Equal(t, http.StatusInternalServerError, w.Code)
					assert.Empty(t, w.Body.String())
					time.Sleep(5 * time.Second)
				}
				assert.Equal(t, "success", send(r, m).Body.String())
				assert.Equal(t, "success", send(r, m).Body.String())
				assert.Equal(t, 3, r.calls())
				assert.Contains(t, r.log.String(), "no database")
				assert.Contains(t, r.log.String(), "subscribe")
				assert.NotContains(t, strings.ToUpper(r.log.String()), "SENTINEL")
			})
		})
	}
}

// A failure frees the event at once, for all processes.
func TestFailedEventIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSharedStore()
		failing := newReceiver(t, with(store), func(context.Context, wechatuserpush.Event) error { return errDatabase })
		m := platform.safe(event("subscribe", time.Now().Unix()))
		start := time.Now()
		assert.Equal(t, http.StatusInternalServerError, send(failing, m).Code)
		assert.Equal(t, http.StatusOK, send(newReceiver(t, with(store), nil), m).Code)
		assert.Zero(t, time.Since(start))
	})
}

// What a store holds can only be computed with the token.
func TestKeysAreKeyed(t *testing.T) {
	store := newSharedStore()
	text := event("subscribe", time.Now().Unix())
	for _, name := range []string{token, "another"} {
		r := newReceiver(t, func(c *wechatuserpush.Config) { c.Deduplicator, c.Token = store, name }, nil)
		require.Equal(t, http.StatusOK, send(r, sender{appID, name, aesKey}.safe(text)).Code)
	}
	assert.Len(t, store.keys, 2)
}

// The function's context ends before the platform hangs up, and the platform has a response by then.
func TestTimeOfTheFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		r := newReceiver(t, nil, func(ctx context.Context, _ wechatuserpush.Event) error {
			assert.Equal(t, "value", ctx.Value(key{}))
			<-ctx.Done()
			return ctx.Err()
		})
		start := time.Now()
		req := platform.safe(event("subscribe", start.Unix())).request()
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		cancel() // the platform has hung up
		w := serve(r, req.WithContext(ctx))
		assert.Equal(t, http.StatusInternalServerError, w.Code)
		assert.Equal(t, 4500*time.Millisecond, time.Since(start))
		assert.Contains(t, r.log.String(), "deadline exceeded")
	})
}

// A function that does not look at its context gets no second call while it runs, and a repeat gets its result.
func TestSlowFunction(t *testing.T) {
	for name, store := range map[string]wechatuserpush.Deduplicator{"memory": nil, "store": newSharedStore()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReceiver(t, with(store), func(context.Context, wechatuserpush.Event) error {
					time.Sleep(7 * time.Second)
					return nil
				})
				m := platform.safe(event("subscribe", time.Now().Unix()))
				start := time.Now()
				assert.Equal(t, http.StatusInternalServerError, send(r, m).Code)
				assert.Equal(t, 4750*time.Millisecond, time.Since(start))
				time.Sleep(250 * time.Millisecond)
				assert.Equal(t, "success", send(r, m).Body.String())
				assert.Equal(t, 7*time.Second, time.Since(start))
				assert.Equal(t, 1, r.calls())
				assert.Contains(t, r.log.String(), "has not returned in time")
			})
		})
	}
}

func TestRepeatsWaitForTheFirst(t *testing.T) {
	for name, result := range map[string]error{"success": nil, "failure": errDatabase} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReceiver(t, nil, func(context.Context, wechatuserpush.Event) error {
					time.Sleep(time.Second)
					return result
				})
				text := event("subscribe", time.Now().Unix())
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() { assert.Equal(t, result == nil, send(r, platform.safe(text)).Code == http.StatusOK) })
				}
				wg.Wait()
				assert.Equal(t, 1, r.calls())
			})
		})
	}
}

func TestPanicOfTheFunction(t *testing.T) {
	for name, f := range map[string]func(){
		"text":  func() { panic("cannot follow " + openID) },
		"error": func() { panic(fmt.Errorf("cannot follow %s", openID)) },
		"index": func() { _ = []int{}[len(openID)] },
		"exit":  runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fail := true
				r := newReceiver(t, nil, func(context.Context, wechatuserpush.Event) error {
					if fail {
						f()
					}
					return nil
				})
				m := platform.safe(event("subscribe", time.Now().Unix()))
				assert.Equal(t, http.StatusInternalServerError, send(r, m).Code)
				assert.Contains(t, r.log.String(), "the function panicked")
				if name != "exit" {
					assert.Contains(t, r.log.String(), "run_test.go", "the stack")
				}
				assert.NotContains(t, r.log.String(), "SENTINEL")
				fail = false
				assert.Equal(t, http.StatusOK, send(r, m).Code)
			})
		})
	}
}

func TestProcessesShareAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSharedStore()
		var handled atomic.Int32
		slow := func(context.Context, wechatuserpush.Event) error {
			time.Sleep(3500 * time.Millisecond)
			handled.Add(1)
			return nil
		}
		a, b := newReceiver(t, with(store), slow), newReceiver(t, with(store), slow)
		m := platform.safe(event("subscribe", time.Now().Unix()))
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { assert.Equal(t, http.StatusOK, send(a, m).Code) })
			wg.Go(func() { assert.Equal(t, http.StatusOK, send(b, m).Code) })
		}
		wg.Wait()
		assert.EqualValues(t, 1, handled.Load())
		assert.Equal(t, 3, store.renewed)
		assert.Equal(t, http.StatusOK, send(newReceiver(t, with(store), slow), m).Code)
		assert.EqualValues(t, 1, handled.Load())
		for key := range store.keys {
			assert.Regexp(t, `^wechatuser:push:wxFAKE000000000000:[A-Za-z0-9_-]{24}$`, key)
		}
		assert.Len(t, store.keys, 1)
	})
}

// A process that was killed holds a push no longer than its lease, so that the platform's next try succeeds, whenever
// it comes.
func TestClaimOfAKilledProcessEnds(t *testing.T) {
	brief := func(c *wechatuserpush.Config) { c.Timeout = time.Second }
	for killed := 250 * time.Millisecond; killed < 4500*time.Millisecond; killed += 250 * time.Millisecond {
		for _, next := range []time.Duration{0, time.Second, 5 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				store := newSharedStore()
				first := newReceiver(t, with(&dyingStore{store, time.Now().Add(killed)}), func(ctx context.Context,
					_ wechatuserpush.Event,
				) error {
					<-ctx.Done()
					return ctx.Err()
				})
				second := newReceiver(t, func(c *wechatuserpush.Config) { with(store)(c); brief(c) }, nil)
				m := platform.safe(event("subscribe", time.Now().Unix()))
				var wg sync.WaitGroup
				wg.Go(func() { send(first, m) })
				time.Sleep(killed + next)
				start := time.Now()
				assert.Equal(t, http.StatusOK, send(second, m).Code, "killed after %v, next after %v", killed, next)
				assert.LessOrEqual(t, time.Since(start), 4500*time.Millisecond)
				assert.Equal(t, 1, second.calls())
				wg.Wait()
			})
		}
	}
}

// dyingStore is a store as a process that is killed uses it: not at all afterwards.
type dyingStore struct {
	*sharedStore
	dies time.Time
}

func (s *dyingStore) Claim(ctx context.Context, key, owner string, lease time.Duration) (wechatuserpush.State, error) {
	if time.Now().Before(s.dies) {
		return s.sharedStore.Claim(ctx, key, owner, lease)
	}
	return 0, errDatabase
}

func (s *dyingStore) Done(context.Context, string, time.Duration) error { return errDatabase }

func (s *dyingStore) Release(context.Context, string, string) error { return errDatabase }

// Somebody else who does not finish makes the platform try again.
func TestClaimOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSharedStore()
		r := newReceiver(t, with(store), nil)
		m := platform.safe(event("subscribe", time.Now().Unix()))
		send(r, m)
		require.Equal(t, 1, r.calls())
		for key := range store.keys {
			store.owners[key], store.until[key] = "another", time.Now().Add(time.Minute)
		}
		other := newReceiver(t, with(store), nil)
		start := time.Now()
		assert.Equal(t, http.StatusInternalServerError, send(other, m).Code)
		assert.Less(t, time.Since(start), 4750*time.Millisecond)
		assert.Contains(t, other.log.String(), "another process has not finished")
		assert.Zero(t, other.calls())
	})
}

// Without its store a process recognizes the repeats that it gets itself. No event is lost.
func TestStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSharedStore()
		store.fail(fmt.Errorf("cannot store %s", token))
		r := newReceiver(t, with(store), nil)
		m := platform.safe(event("subscribe", time.Now().Unix()))
		for range 3 {
			assert.Equal(t, http.StatusOK, send(r, m).Code)
		}
		assert.Equal(t, 1, r.calls())
		assert.Contains(t, r.log.String(), "the store of repeats failed")
		assert.NotContains(t, r.log.String(), "SENTINEL")
		assert.Equal(t, 1, strings.Count(r.log.String(), "\n"), "one line a minute")

		store.fail(nil)
		next := platform.safe(event("unsubscribe", time.Now().Unix()))
		assert.Equal(t, http.StatusOK, send(r, next).Code)
		assert.Equal(t, http.StatusOK, send(newReceiver(t, with(store), nil), next).Code)
		assert.Equal(t, 2, r.calls())
	})
}

// faultyStore is a store whose methods all do the same.
type faultyStore func(context.Context) (wechatuserpush.State, error)

func (f faultyStore) Claim(ctx context.Context, _, _ string, _ time.Duration) (wechatuserpush.State, error) {
	return f(ctx)
}

func (f faultyStore) Done(ctx context.Context, _ string, _ time.Duration) error {
	_, err := f(ctx)
	return err
}

func (f faultyStore) Release(ctx context.Context, _, _ string) error {
	_, err := f(ctx)
	return err
}

// Whatever a store does, an event is handled, once, and failures are free to be handled again.
func TestStoreThatMisbehaves(t *testing.T) {
	for name, store := range map[string]wechatuserpush.Deduplicator{
		"panics": faultyStore(func(context.Context) (wechatuserpush.State, error) { panic("no " + token) }),
		"exits": faultyStore(func(context.Context) (wechatuserpush.State, error) {
			runtime.Goexit()
			return 0, nil
		}),
		"hangs": faultyStore(func(ctx context.Context) (wechatuserpush.State, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}),
		"ignores its context": faultyStore(func(context.Context) (wechatuserpush.State, error) {
			time.Sleep(time.Hour)
			return wechatuserpush.Finished, nil
		}),
		"has no state":      faultyStore(func(context.Context) (wechatuserpush.State, error) { return 0, nil }),
		"has another state": faultyStore(func(context.Context) (wechatuserpush.State, error) { return 4, nil }),
		"nil pointer":       (*sharedStore)(nil),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fail := true
				r := newReceiver(t, with(store), func(context.Context, wechatuserpush.Event) error {
					time.Sleep(1500 * time.Millisecond) // until after the first renewal
					if fail {
						return errDatabase
					}
					return nil
				})
				m := platform.safe(event("subscribe", time.Now().Unix()))
				assert.Equal(t, http.StatusInternalServerError, send(r, m).Code)
				fail = false
				for range 3 {
					assert.Equal(t, http.StatusOK, send(r, m).Code)
				}
				assert.Equal(t, 2, r.calls())
				assert.Contains(t, r.log.String(), "the store of repeats failed")
				assert.NotContains(t, r.log.String(), "SENTINEL")
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// faultyLog is a log handler that fails.
type faultyLog struct {
	slog.Handler
	fail func()
}

func (l faultyLog) Handle(context.Context, slog.Record) error {
	l.fail()
	return nil
}

// A log handler that fails costs its line, and neither the process nor the next repeat.
func TestLogHandlerThatFails(t *testing.T) {
	for name, fail := range map[string]func(){"panics": func() { panic("no disk") }, "exits": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broken := true
				r := newReceiver(t, func(c *wechatuserpush.Config) {
					c.Logger = slog.New(faultyLog{slog.NewTextHandler(io.Discard, nil), fail})
				}, func(context.Context, wechatuserpush.Event) error {
					if broken {
						panic("no database")
					}
					return nil
				})
				m := platform.safe(event("subscribe", time.Now().Unix()))
				assert.Equal(t, http.StatusInternalServerError, send(r, m).Code)
				broken = false
				assert.Equal(t, http.StatusOK, send(r, m).Code)
			})
		})
	}
}

// A function that never returns does not keep its claim for ever.
func TestRenewalsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSharedStore()
		hangs := make(chan struct{})
		r := newReceiver(t, with(store), func(context.Context, wechatuserpush.Event) error {
			<-hangs
			return nil
		})
		m := platform.safe(event("subscribe", time.Now().Unix()))
		assert.Equal(t, http.StatusInternalServerError, send(r, m).Code)
		time.Sleep(2 * time.Minute)
		assert.Equal(t, http.StatusOK, send(newReceiver(t, with(store), nil), m).Code)
		close(hangs)
	})
}

// The log has at most ten failures a minute, and says how many it has omitted.
func TestFailuresDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, nil, func(context.Context, wechatuserpush.Event) error { return errDatabase })
		for i := range 1000 {
			send(r, platform.safe(event("subscribe", time.Now().Unix()+int64(i))))
		}
		assert.Equal(t, 10, strings.Count(r.log.String(), "\n"))
		time.Sleep(time.Minute)
		send(r, platform.safe(event("subscribe", time.Now().Unix())))
		assert.Contains(t, r.log.String(), "omitted=990")
	})
}
