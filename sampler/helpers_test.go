package sampler

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func lookup(t testing.TB, name string) Sampler {
	t.Helper()
	s, err := Lookup(name)
	require.NoError(t, err)
	return s
}

// addNoise and initialNoise are those of a diffusion.
func addNoise(x []float32, sigma float64, noise Noise) { new(Process).AddNoise(x, sigma, noise) }

func initialNoise(x, x0 []float32, sigma float64, noise Noise) {
	new(Process).InitialNoise(x, x0, sigma, noise)
}

// toVP scales x from this package's notation, in which noise is added, to that
// of variance-preserving models, sqrt(alphas_cumprod)·x0 +
// sqrt(1-alphas_cumprod)·eps.
func toVP(x []float32, sigma float64) { multiply(x, 1/math.Sqrt(1+sigma*sigma)) }

// fromVP is the inverse of toVP.
func fromVP(x []float32, sigma float64) { multiply(x, math.Sqrt(1+sigma*sigma)) }

func precondition(t testing.TB, process *Process, prediction Prediction) *Preconditioning {
	t.Helper()
	p, err := Precondition(process, prediction)
	require.NoError(t, err)
	return p
}

func denoiser(t testing.TB, process *Process, prediction Prediction, model Model) Denoiser {
	t.Helper()
	return precondition(t, process, prediction).Denoiser(model)
}

// answering is a model that gives the same answers everywhere.
func answering(answers ...[]float32) BatchDenoiser {
	return func(_ context.Context, dst [][]float32, _ []float32, _ float64) error {
		for i, d := range dst {
			copy(d, answers[i])
		}
		return nil
	}
}
