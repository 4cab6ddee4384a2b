// Package guard reports a panic or a runtime.Goexit of a goroutine to the goroutine that waits for it.
package guard

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrGoexit reports that a function ended its goroutine with runtime.Goexit, as t.FailNow does.
var ErrGoexit = errors.New("the goroutine of the call was ended by runtime.Goexit, as t.FailNow does")

// Panic is a panic of another goroutine, with the stack of that goroutine.
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

// Run calls f and then, however f ended, the function ended: with nil if f returned, a [*Panic] if it panicked, and
// [ErrGoexit] if it called runtime.Goexit. Run recovers from a panic; a panic of [Rethrow] keeps its first stack. After
// a Goexit the goroutine ends once ended has returned.
func Run(f func(), ended func(error)) {
	err := ErrGoexit
	defer func() {
		switch value := recover().(type) {
		case nil:
		case *Panic:
			err = value
		default:
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
