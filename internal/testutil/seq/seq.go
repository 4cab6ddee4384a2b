// Package seq helps tests with sequences, and with functions that run at once. It imports nothing of the module, so
// that the tests of every package can import it.
package seq

import (
	"iter"
	"sync"
)

// Collect reads a list to its end, also after errors, and returns its values and errors.
func Collect[T any](list iter.Seq2[T, error]) (values []T, errs []error) {
	for v, err := range list {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		values = append(values, v)
	}
	return values, errs
}

// LastError reads a list to its end and returns its last error.
func LastError[T any](list iter.Seq2[T, error]) (err error) {
	for _, e := range list {
		err = e
	}
	return err
}

// ListThen returns a list that ends with an error, unless err is nil.
func ListThen(ids []string, err error) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, id := range ids {
			if !yield(id, nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

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
