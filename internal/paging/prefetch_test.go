package paging

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser/internal/guard"
	"github.com/wechatuser/wechatuser/internal/testutil/seq"
)

// counter yields 1, 2, 3 ... up to n, and notes the last one that it has made.
func counter(n int, made *int) func(context.Context) iter.Seq2[int, error] {
	return func(context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := 1; i <= n; i++ {
				if *made = i; !yield(i, nil) {
					return
				}
			}
		}
	}
}

func TestPrefetchRunsExactlySoManyElementsAhead(t *testing.T) {
	for _, ahead := range []int{0, 1, 2, 5, 100} {
		synctest.Test(t, func(t *testing.T) {
			const length = 20
			made, got := 0, 0
			sequence := Prefetch(t.Context(), ahead, counter(length, &made))
			synctest.Wait()
			assert.Zero(t, made, "nothing runs before the loop")
			for value, err := range sequence {
				require.NoError(t, err)
				got++
				require.Equal(t, got, value, "in order")
				synctest.Wait()
				require.Equal(t, min(value+ahead, length), made, "%d ahead", ahead)
			}
			assert.Equal(t, length, got)
		})
	}
}

func TestPrefetchOverlapsWithTheLoop(t *testing.T) {
	for ahead, want := range map[int]time.Duration{0: 20 * time.Second, 1: 11 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			for range Prefetch(t.Context(), ahead, func(context.Context) iter.Seq2[int, error] {
				return func(yield func(int, error) bool) {
					for i := range 10 {
						time.Sleep(time.Second)
						if !yield(i, nil) {
							return
						}
					}
				}
			}) {
				time.Sleep(time.Second)
			}
			assert.Equal(t, want, time.Since(start), "%d ahead", ahead)
		})
	}
}

func TestPrefetchPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	for ahead := range 3 {
		values, errs := seq.Collect(Prefetch(t.Context(), ahead, func(context.Context) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) {
				_ = yield(1, nil) && yield(2, nil) && yield(0, broken)
			}
		}))
		assert.Equal(t, []int{1, 2}, values)
		assert.Equal(t, []error{broken}, errs, "once")
	}
}

// slow yields one element, and then waits for the end of its context.
type slow struct {
	ended   error // of the context
	running bool
}

func (s *slow) sequence(ctx context.Context) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		s.running = true
		defer func() { s.running = false }()
		if !yield(1, nil) {
			return
		}
		<-ctx.Done()
		s.ended = ctx.Err()
		time.Sleep(time.Second) // it takes a while to clear up
		yield(0, ctx.Err())
	}
}

func TestPrefetchIsCanceledWhenTheLoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s slow
		for range Prefetch(t.Context(), 1, s.sequence) {
			synctest.Wait()
			break
		}
		assert.ErrorIs(t, s.ended, context.Canceled)
		assert.False(t, s.running, "the loop waited for it")

		s = slow{}
		assert.PanicsWithValue(t, "in the loop", func() {
			for range Prefetch(t.Context(), 1, s.sequence) {
				synctest.Wait()
				panic("in the loop")
			}
		})
		assert.ErrorIs(t, s.ended, context.Canceled)
		assert.False(t, s.running, "after a panic too")
	})
}

// A full buffer does not keep the sequence from ending.
func TestPrefetchEndsWhileTheSequenceYields(t *testing.T) {
	for _, ahead := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			returned := false
			for range Prefetch(t.Context(), ahead, func(context.Context) iter.Seq2[int, error] {
				return func(yield func(int, error) bool) {
					defer func() { returned = true }()
					for i := 0; yield(i, nil); i++ {
					}
				}
			}) {
				synctest.Wait()
				break
			}
			assert.True(t, returned)
		})
	}
}

// The loop gets the error of a context that ends, even if it is not waiting for it at that moment.
func TestPrefetchTellsThatTheContextEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s slow
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []error
		for _, err := range Prefetch(ctx, 1, s.sequence) {
			if got = append(got, err); len(got) == 1 {
				cancel()
				time.Sleep(time.Minute)
			}
		}
		assert.Equal(t, []error{nil, context.Canceled}, got)
	})
}

// A transport may end the goroutine of the sequence, as t.FailNow does in a mock. The list must not look complete.
func TestPrefetchTellsThatItsGoroutineWasEnded(t *testing.T) {
	endsItself := func(context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			yield(1, nil)
			runtime.Goexit()
		}
	}
	for ahead := 1; ahead < 4; ahead++ {
		values, errs := seq.Collect(Prefetch(t.Context(), ahead, endsItself))
		assert.Equal(t, []int{1}, values)
		assert.Equal(t, []error{guard.ErrGoexit}, errs)
		for range Prefetch(t.Context(), ahead, endsItself) {
			break
		}
	}
}

func TestPrefetchPanicsInTheLoop(t *testing.T) {
	panics := func(context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			yield(1, nil)
			panic("in the sequence")
		}
	}
	for ahead := 1; ahead < 4; ahead++ {
		for _, breaks := range []bool{false, true} {
			var got []int
			func() {
				defer func() {
					p, ok := recover().(*guard.Panic)
					require.True(t, ok)
					assert.Equal(t, "in the sequence", p.Value)
					assert.Contains(t, string(p.Stack), "TestPrefetchPanicsInTheLoop")
				}()
				for value, err := range Prefetch(t.Context(), ahead, panics) {
					require.NoError(t, err)
					if got = append(got, value); breaks {
						break
					}
				}
			}()
			assert.Equal(t, []int{1}, got)
		}
	}
}

func TestPrefetchLeavesNothingOnTheContext(t *testing.T) {
	ctx := foreignContext{t.Context(), make(chan struct{})}
	made := 0
	values, errs := seq.Collect(Prefetch(ctx, 2, counter(5, &made)))
	assert.Len(t, values, 5)
	assert.Empty(t, errs)
	// TestMain finds the goroutine of a context that was not canceled.
}

// foreignContext is a context that the standard library does not know: each context made from it needs a goroutine
// until it is canceled.
type foreignContext struct {
	context.Context
	done chan struct{}
}

func (c foreignContext) Done() <-chan struct{} { return c.done }
