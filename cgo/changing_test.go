package cgo

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/checked"
)

// A net whose weights were changed gives what a net gives that was made with the new ones:
// of what depends on the context alone, which a graph keeps between runs, too.
func TestChangedWeights(t *testing.T) {
	for _, kernels := range checked.Few(KernelNames()) {
		net := randomNet(t, "unet", unetParams(), Config{Threads: 1, Kernels: kernels})
		before := run(t, net, 8)
		all := make([]int, len(net.Weights()))
		for i := range all {
			all[i] = i
		}
		scale := func() {
			for _, b := range net.bound {
				for i, v := range floatsOf(b) {
					floatsOf(b)[i] = v * 0.75
				}
			}
		}
		require.NoError(t, net.Change(context.Background(), all, scale))
		got := run(t, net, 8)
		require.NotEqual(t, before, got)

		fresh, err := NewNet("unet", unetParams(), Config{Threads: 1, Kernels: kernels})
		require.NoError(t, err)
		defer fresh.Close()
		require.ErrorContains(t, fresh.Change(context.Background(), nil, func() {}), "the net is not loaded")
		for i, b := range net.bound {
			require.NoError(t, fresh.Bind(i, 0, b))
		}
		require.NoError(t, fresh.Load())
		require.Equal(t, run(t, fresh, 8), got)
		require.ErrorContains(t, net.Change(context.Background(), []int{len(all)}, func() {}), "does not exist")
		require.ErrorContains(t, net.Change(context.Background(), []int{-1}, func() {}), "does not exist")
	}
}

// Weights that were converted when they were bound can't change.
func TestConvertedWeightsDoNotChange(t *testing.T) {
	net, err := NewNet("unet", unetParams(), Config{Threads: 1})
	require.NoError(t, err)
	defer net.Close()
	for i, w := range net.Weights() {
		require.NoError(t, net.Bind(i, 1, make([]byte, 2*elements(w.Shape)))) // float16
	}
	require.NoError(t, net.Load())
	require.ErrorContains(t, net.Change(context.Background(), []int{0}, func() {}), "must be float32")
}
