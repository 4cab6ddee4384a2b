// Package guard brings a panic or a runtime.Goexit of a goroutine to the one that waits for it.
package guard

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrGoexit means that a function did not return, but ended its goroutine with runtime.Goexit, as t.FailNow does.
var ErrGoexit = errors.New("the goroutine of the call was ended by runtime.Goexit, as t.FailNow does")

// Panic is a panic of another goroutine, with its stack there.
type Panic struct {
	Value any
	Stack []byte
}

// Error returns the value and the stack.
func (p *Panic) Error() string { return fmt.Sprintf("%v\n\n%s", p.Value, p.Stack) }

// Unwrap returns the value if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// Run calls f, and then ended, however f ended: with nil if it returned, a [*Panic] if it panicked, and [ErrGoexit] if
// it ended its goroutine. Run recovers from a panic. After a Goexit ended is the last that the goroutine does.
func Run(f func(), ended func(error)) {
	err := ErrGoexit
	defer func() {
		if value := recover(); value != nil {
			err = &Panic{Value: value, Stack: debug.Stack()}
		}
		ended(err)
	}()
	f()
	err = nil
}

// Rethrow panics with err if it is a [*Panic].
func Rethrow(err error) {
	if p, ok := err.(*Panic); ok { //nolint:errorlint // as Run returned it
		panic(p)
	}
}
