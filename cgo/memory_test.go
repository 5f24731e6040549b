package cgo

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/limits"
)

// A graph that does not fit the process's memory is not allocated, and what was
// there before works as it did.
func TestGraphsThatDoNotFit(t *testing.T) {
	asked := 0
	net := randomNet(t, "unet", unetParams(), Config{Threads: 1, MakeRoom: func() { asked++ }})
	want := run(t, net, 8)
	inputs, out := unetInputs(16), []Output{{Name: "out", Data: make([]float32, 4*16*16)}}
	need, err := net.Estimate(context.Background(), inputs, []Output{{Name: "out"}})
	require.NoError(t, err)

	end := limits.Pretend(need - 1)
	defer end()
	err = net.Run(context.Background(), inputs, out)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, NoMemory, e.Code)
	require.Equal(t, need, e.Needed)
	require.Equal(t, need-1, e.Left)
	require.ErrorContains(t, err, "(a test)")
	require.Equal(t, 1, asked)

	limits.Pretend(need)
	require.NoError(t, net.Run(context.Background(), inputs, out))
	require.Equal(t, need, limits.Room().Amount, "what a run took is still promised to it")
	limits.Pretend(0)
	require.NoError(t, net.Run(context.Background(), inputs, out), "it is there already")
	net.TryTrim()
	require.Error(t, net.Run(context.Background(), inputs, out))
	end()
	require.Equal(t, want, run(t, net, 8))
}
