package random

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is drawn is the same for a seed and a number, and different for others.
func TestSources(t *testing.T) {
	draw := func(seed, n, stream uint64) []float32 {
		x := make([]float32, 64)
		New(seed, n, stream).Normal(x)
		return x
	}
	require.Equal(t, draw(1, 2, 3), draw(1, 2, 3))
	for _, other := range [][]float32{draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4), draw(0, 0, 0)} {
		require.NotEqual(t, draw(1, 2, 3), other)
	}
}
