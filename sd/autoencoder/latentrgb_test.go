package autoencoder

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/tensor"
)

// The fit finds the matrix that made the pixels, and else minimizes the error.
func TestColoursAreFitted(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	latent := tensor.New(4, 12, 9)
	for i := range latent.Data {
		latent.Data[i] = float32(r.NormFloat64())
	}
	want := LatentRGB{Weights: [][3]float64{{1, 0, 2}, {0.5, -1, 0}, {0, 0, 0.25}, {-1, 1, 1}}, Bias: [3]float64{0.5, -0.25, 0}}
	got := fit(latent, want.Apply(latent))
	for k := range 3 {
		require.InDelta(t, want.Bias[k], got.Bias[k], 1e-4)
		for channel, w := range want.Weights {
			require.InDelta(t, w[k], got.Weights[channel][k], 1e-4)
		}
	}
	for i := range 12 * 9 { // two channels that are equal
		latent.Data[12*9+i] = latent.Data[i]
	}
	got = fit(latent, tensor.New(3, 12, 9))
	require.Less(t, math.Abs(got.Weights[0][0]), 1e-3)
}
