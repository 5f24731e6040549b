package prompt

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// torch: z = torch.tensor([[1., 2.], [3., 4.]]); w = torch.tensor([1., 2.]); m = z.mean(); z = z * w[:, None];
// z * (m / z.mean()) is [[0.5882, 1.1765], [3.5294, 4.7059]].
func TestApplyWeights(t *testing.T) {
	z := []float32{1, 2, 3, 4}
	ApplyWeights(z, []float32{1, 2}, 2)
	require.InDeltaSlice(t, []float32{10. / 17, 20. / 17, 60. / 17, 80. / 17}, z, 1e-6)
	require.InDelta(t, 2.5, mean(z), 1e-6)
}

func TestApplyWeightsEdges(t *testing.T) {
	one := []float32{0.1, -0.3, 1e30, 7}
	z := slices.Clone(one)
	ApplyWeights(z, []float32{1, 1}, 2)
	require.Equal(t, one, z)

	z = []float32{1, 2, 3, 4} // new mean 0: weighted, and the mean is not restored
	ApplyWeights(z, []float32{0, 0}, 2)
	require.Equal(t, []float32{0, 0, 0, 0}, z)

	z = []float32{1, -1, 2, -2} // mean 0 before and after
	ApplyWeights(z, []float32{1, 3}, 2)
	require.Equal(t, []float32{1, -1, 6, -6}, z)

	nan := float32(math.NaN())
	z = []float32{nan, 1, 2, 3}
	ApplyWeights(z, []float32{1, 2}, 2)
	require.Equal(t, []float32{1, 4, 6}, z[1:])

	z = []float32{math.MaxFloat32, 1, 2, 3}
	ApplyWeights(z, []float32{10, 2}, 2)
	require.Equal(t, []float32{10, 4, 6}, z[1:])

	ApplyWeights(nil, nil, 768)
	require.Panics(t, func() { ApplyWeights(z, []float32{1, 2, 3}, 2) })
}

func BenchmarkApplyWeights(b *testing.B) {
	z, weights := slices.Repeat([]float32{0.5}, 77*768), slices.Repeat([]float32{1.0001}, 77)
	for b.Loop() {
		ApplyWeights(z, weights, 768)
	}
}
