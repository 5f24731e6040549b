package sampler

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// With any sampler the known part ends as it was, and the rest as the model
// has it.
func TestInpaintHoldsTheKnownPart(t *testing.T) {
	known := []float32{1, -2, 3, 0.5, 0.25, -1}
	mask := []float32{0, 1, 0.5}
	model := func(_ context.Context, dst, _ []float32, _ float64) error {
		for i := range dst {
			dst[i] = 7
		}
		return nil
	}
	both := func(ctx context.Context, dst [][]float32, x []float32, sigma float64) error {
		for i := range dst[1] {
			dst[1][i] = x[i] / 2
		}
		return model(ctx, dst[0], x, sigma)
	}
	sigmas := []float64{10, 3, 1, 0.3, 0.01, 0} // dpm_fast stops before the last
	for _, s := range Samplers() {
		x, noise, o := make([]float32, 6), NewTorch(3), s.Options
		initialNoise(x, known, sigmas[0], noise)
		if s.CFGPP {
			o.Uncond = make([]float32, 6)
		}
		require.NoError(t, s.Sample(context.Background(), Inpaint(guided(t, "cfg", 1, nil, GuidedModel{Denoise: both, Uncond: o.Uncond}), known, mask, o.Uncond), x, sigmas, noise, o), s.Name)
		for i, v := range []float32{1, 7, 5, 0.5, 7, 3} {
			require.InDelta(t, v, x[i], 0.05, "%s, place %d", s.Name, i)
		}
	}
}

func TestInpaintLengths(t *testing.T) {
	still := func(_ context.Context, dst, x []float32, _ float64) error { copy(dst, x); return nil }
	x := make([]float32, 6)
	var length *LengthError
	require.ErrorAs(t, Inpaint(still, x[:5], x[:3], nil)(context.Background(), x, x, 1), &length)
	require.ErrorAs(t, Inpaint(still, x, x[:4], nil)(context.Background(), x, x, 1), &length)
	require.ErrorAs(t, Inpaint(still, x, nil, nil)(context.Background(), x, x, 1), &length)
	require.ErrorAs(t, Inpaint(still, x, x, x[:5])(context.Background(), x, x, 1), &length)
}

func TestStrength(t *testing.T) {
	sigmas := []float64{5, 4, 3, 2, 1, 0}
	for strength, first := range map[float64]float64{0: 1, 0.19: 1, 0.2: 2, 0.6: 4, 0.8: 5, 1: 5, -5: 1, 7: 5, math.NaN(): 1} {
		require.Equal(t, first, TruncateByStrength(sigmas, strength)[0], "strength %g", strength)
	}
	require.Empty(t, TruncateByStrength(nil, 0.5))
}
