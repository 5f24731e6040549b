package sampler

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// More noise than a step to the next level has room for, as eta above 1 asks,
// is all of that level's noise, on processors too where Go fuses products.
func TestAncestralOfAllNoise(t *testing.T) {
	for sigma := 0.03; sigma < 15; sigma *= 1.01 {
		for _, ratio := range []float64{0.3, 0.7, 0.9, 0.99} {
			down, up := ancestral(sigma, sigma*ratio, 100)
			require.Equal(t, sigma*ratio, up)
			require.Zero(t, down)
		}
		require.Zero(t, noiseBetween(sigma, sigma))
		require.False(t, math.IsNaN(noiseBetween(math.Nextafter(sigma, 100), sigma)))
	}
}
