package paging

import (
	"context"
	"iter"
	"sync"

	"github.com/wechatuser/wechatuser/internal/guard"
)

// Prefetch runs a sequence in its own goroutine, up to n elements ahead of the loop over the result. When the loop
// ends, it cancels the context of the sequence and waits until the sequence has returned. If n is 0, the sequence runs
// in the loop itself, with ctx.
//
// If the sequence calls runtime.Goexit, the last element is the error [guard.ErrGoexit]. If the sequence panics, the
// loop panics with a [*guard.Panic].
func Prefetch[T any](
	ctx context.Context, n int, sequence func(context.Context) iter.Seq2[T, error],
) iter.Seq2[T, error] {
	if n == 0 {
		return sequence(ctx)
	}
	type element struct {
		value T
		err   error
	}
	return func(yield func(T, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var (
			failure  error // of the goroutine
			running  sync.WaitGroup
			quit     = make(chan struct{})
			elements = make(chan element, n-1) // one more waits to be taken
		)
		defer func() {
			cancel()
			close(quit)
			running.Wait()
			guard.Rethrow(failure)
		}()
		running.Go(func() {
			defer close(elements)
			guard.Run(func() {
				for value, err := range sequence(ctx) {
					select {
					case elements <- element{value, err}:
					case <-quit: // not ctx.Done(): the loop must receive the error of its context
						return
					}
				}
			}, func(err error) { failure = err })
		})
		for e := range elements {
			if !yield(e.value, e.err) {
				return
			}
		}
		if failure == guard.ErrGoexit { //nolint:errorlint // as guard.Run returned it
			var none T
			yield(none, failure)
		}
	}
}
