package guide

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/tensor"
)

func dot(a, b []float32) (sum float64) {
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

// Transpose is that of Apply, and A·Aᵀ = Gain·I.
func TestMeasurements(t *testing.T) {
	const width, height = 12, 8
	pixels := tensor.New(3, height, width)
	sampler.NewTorch(1).Normal(pixels.Data)
	low := tensor.New(3, 2, 4)
	sampler.NewTorch(2).Normal(low.Data)
	free := make([]float32, width*height)
	for i := range free {
		free[i] = float32(i % 3 / 2)
	}
	lowres, err := Lowres(low, width, height)
	require.NoError(t, err)
	known, err := Known(pixels, free)
	require.NoError(t, err)
	require.Len(t, known.Y, 3*64)
	for name, m := range map[string]*sampler.Measurement{"colour": Colour([3]float32{-1, 0, 1}, width, height), "lowres": lowres, "known": known} {
		y, back := make([]float32, len(m.Y)), make([]float32, len(pixels.Data))
		m.Apply(y, pixels.Data)
		w := make([]float32, len(m.Y))
		sampler.NewTorch(3).Normal(w)
		m.Transpose(back, w)
		require.InDelta(t, dot(y, w), dot(back, pixels.Data), 1e-4, name)
		again := make([]float32, len(m.Y))
		m.Apply(again, back)
		for i, v := range w {
			require.InDelta(t, m.Gain*float64(v), again[i], 1e-5, name)
		}
	}
	// By hand: the mean of a box of 4x3, and of the whole.
	y := make([]float32, len(low.Data))
	lowres.Apply(y, pixels.Data)
	sum := float32(0)
	for row := range 4 {
		for column := 3; column < 6; column++ {
			sum += pixels.Data[row*width+column]
		}
	}
	require.InDelta(t, sum/12, y[1], 1e-5)

	_, err = Lowres(low, 13, 8)
	require.ErrorContains(t, err, "13x8 pixels must be whole multiples of those of 4x2")
	_, err = Known(pixels, make([]float32, width*height))
	require.ErrorContains(t, err, "all of it is kept")
}
