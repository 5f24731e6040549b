package builtin_test

import (
	"context"
	"image"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd"
)

// A GPU draws the CPU's picture. Software devices are slow, so it has half the size,
// few steps, and weights whose shaders compile in seconds.
func TestPicturesOnDevice(t *testing.T) {
	device := os.Getenv("SDGO_TEST_DEVICE")
	if device == "" {
		t.Skip("SDGO_TEST_DEVICE names no device; make gpu does")
	}
	draw := func(backend string) *image.NRGBA {
		m, err := sd.Open("", sd.Options{Backend: backend, Type: "f32"})
		require.NoError(t, err)
		defer m.Close()
		result, err := m.Generate(context.Background(), sd.Request{
			Prompt: "a red apple on a yellow background", Width: 64, Height: 64, Steps: 4, Sampler: "euler", Seed: 1})
		require.NoError(t, err)
		return result.Images[0].Image
	}
	want, got := draw("cpu"), draw(device)
	var sum float64
	for i := range want.Pix {
		d := float64(want.Pix[i]) - float64(got.Pix[i])
		sum += d * d
	}
	psnr := 10 * math.Log10(255*255*float64(len(want.Pix))/max(sum, 1e-9))
	t.Logf("%.1f dB", psnr)
	require.Greater(t, psnr, 50.0)
}
