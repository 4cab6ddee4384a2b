package testutil

import (
	"iter"

	"github.com/wechatuser/wechatuser"
)

// List is [wechatuser.OpenIDs] for a slice.
func List(ids []string) iter.Seq2[string, error] { return wechatuser.OpenIDs(ids...) }

// Collect reads a list to its end and returns its values and errors.
func Collect[T any](list iter.Seq2[T, error]) (got []T, errs []error) {
	for v, err := range list {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got = append(got, v)
	}
	return got, errs
}

// ListThen returns a list that ends with an error, unless err is nil.
func ListThen(input []string, err error) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, id := range input {
			if !yield(id, nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

// LastError reads a list to its end and returns its last error.
func LastError[T any](list iter.Seq2[T, error]) (err error) {
	for _, e := range list {
		err = e
	}
	return err
}
