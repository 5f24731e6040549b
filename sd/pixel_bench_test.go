package sd

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
)

// BenchmarkPixelStep is one evaluation of the denoiser of a model without text, SDGO_PIXEL,
// such as testdata/fullsize writes, of one picture.
func BenchmarkPixelStep(b *testing.B) {
	path := os.Getenv("SDGO_PIXEL")
	if path == "" {
		b.Skip("SDGO_PIXEL is no file")
	}
	c, n := openPixel(b, path, Options{})
	shape := []int64{1, int64(c.Channels), int64(c.Size), int64(c.Size)}
	x := make([]float32, c.Channels*c.Size*c.Size)
	for i := range x {
		x[i] = float32(i%7)/3 - 1
	}
	inputs := []cgo.Input{{Name: "x", Shape: shape, F32: x}, {Name: "timesteps", Shape: []int64{1}, F32: []float32{500}}}
	if c.ClassInput == "index" {
		inputs = append(inputs, cgo.Input{Name: "class", Shape: []int64{1, 1}, I32: []int32{1}})
	}
	channels := c.Channels
	if c.LearnedVariance {
		channels *= 2
	}
	output := []cgo.Output{{Name: "sample", Data: make([]float32, channels*c.Size*c.Size)}}
	estimate, err := n.Estimate(context.Background(), inputs, output)
	require.NoError(b, err)
	require.NoError(b, n.Run(context.Background(), inputs, output))
	n.Profile()
	flop := 0.0
	for b.Loop() {
		require.NoError(b, n.Run(context.Background(), inputs, output))
	}
	for _, w := range n.Profile() {
		flop += w.FLOP
		b.Logf("%+v", w)
	}
	b.ReportMetric(flop/1e9/b.Elapsed().Seconds(), "GFLOP/s")
	b.ReportMetric(float64(estimate)/1e6, "MB-of-activations")
}
