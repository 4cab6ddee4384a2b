package testutil

import (
	"context"
	"sync"

	"github.com/wechatuser/wechatuser"
)

// next is what an interceptor calls.
type Next = func(context.Context) (wechatuser.Result, error)

// together runs f so many times at once, and gives their errors.
func RunConcurrently(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errs
}
