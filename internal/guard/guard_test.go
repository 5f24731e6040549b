package guard

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rude is a value whose Error method ends the goroutine.
type rude struct{}

func (rude) String() string { runtime.Goexit(); return "" }

func TestCall(t *testing.T) {
	require.NoError(t, Call("f", func() error { return nil }))
	require.Equal(t, io.EOF, Call("f", func() error { return io.EOF }))

	err := Call("OnEvent", func() error { panic("the file is gone") })
	require.ErrorContains(t, err, "OnEvent panicked: the file is gone (")
	require.ErrorContains(t, err, "guard_test.go:")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "the file is gone", e.Value)

	err = Call("OnEvent", func() error { panic(io.ErrClosedPipe) })
	require.ErrorIs(t, err, io.ErrClosedPipe)
	err = Call("f", func() error { var p *Error; _ = p.What; return nil })
	require.ErrorContains(t, err, "nil pointer")
	require.ErrorContains(t, err, "TestCall")
	var fault runtime.Error
	require.True(t, errors.As(err, &fault))

	err = Call("OnEvent", func() error { runtime.Goexit(); return nil })
	require.EqualError(t, err, "OnEvent ended its goroutine (runtime.Goexit)")
	require.Error(t, Call("f", func() error { panic(rude{}) }))
	require.Error(t, Call("f", func() error { panic(nil) }))
	require.Less(t, len(Call("f", func() error { panic(strings.Repeat("é", 1e6)) }).Error()), 1200)
}
