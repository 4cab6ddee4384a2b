package guard

import (
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// run runs f in a goroutine of its own and returns how it ended.
func run(f func()) error {
	ended := make(chan error, 1)
	go Run(f, func(err error) { ended <- err })
	return <-ended
}

func failsLoudly() { panic(io.ErrUnexpectedEOF) }

func TestRun(t *testing.T) {
	assert.NoError(t, run(func() {}))
	assert.Equal(t, ErrGoexit, run(runtime.Goexit))

	var p *Panic
	err := run(failsLoudly)
	require.ErrorAs(t, err, &p)
	assert.Equal(t, io.ErrUnexpectedEOF, p.Value)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF, "it unwraps to a value that is an error")
	assert.ErrorContains(t, err, "unexpected EOF\n")
	assert.ErrorContains(t, err, "failsLoudly", "the stack of the goroutine that panicked")

	require.ErrorAs(t, run(func() { panic("no error") }), &p)
	assert.NoError(t, errors.Unwrap(p))
	require.ErrorAs(t, run(func() { panic(nil) }), &p) //nolint:govet // it must not pass as a return
}

func TestRethrow(t *testing.T) {
	p := &Panic{Value: "broken"}
	assert.Same(t, p, run(func() { Rethrow(p) }))
	assert.PanicsWithValue(t, p, func() { Rethrow(p) })
	assert.NotPanics(t, func() {
		Rethrow(nil)
		Rethrow(ErrGoexit)
	})
}
