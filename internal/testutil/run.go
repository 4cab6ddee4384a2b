package testutil

import (
	"context"
	"sync"

	"github.com/wechatuser/wechatuser"
)

// Next is what an interceptor calls to go on.
type Next = func(context.Context) (wechatuser.Result, error)

// RunConcurrently runs f n times concurrently and returns the errors.
func RunConcurrently(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errs
}
