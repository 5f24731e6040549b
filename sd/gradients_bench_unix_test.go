//go:build unix

package sd

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
)

// BenchmarkGradient is the gradient of the denoiser of a model, SDGO_DENOISER, by its
// picture, beside the forward pass alone. SDGO_SIDE is the picture's side in latents, 32 by
// default. The processors' time of both is what compares them on a machine that is busy
// with other things.
func BenchmarkGradient(b *testing.B) {
	path := os.Getenv("SDGO_DENOISER")
	if path == "" {
		b.Skip("SDGO_DENOISER is no file")
	}
	n, inputs, outputs := benchDenoiser(b, path)
	side := int64(32)
	if s := os.Getenv("SDGO_SIDE"); s != "" {
		var err error
		side, err = strconv.ParseInt(s, 10, 64)
		require.NoError(b, err)
	}
	x := &inputs[0]
	pixels := len(x.F32) / int(x.Shape[1])
	channels := len(outputs[0].Data) / pixels
	x.Shape = []int64{1, x.Shape[1], side, side}
	x.F32 = x.F32[:x.Shape[1]*side*side] // of a picture that is no larger than the model's own
	outputs[0].Data = outputs[0].Data[:int64(channels)*side*side]
	seed := cgo.Input{Name: "d_" + outputs[0].Name, Shape: []int64{1, int64(channels), side, side},
		F32: make([]float32, len(outputs[0].Data))}
	for i := range seed.F32 {
		seed.F32[i] = float32(i%5)/2 - 1
	}
	gradient := []cgo.Output{{Name: "d:" + inputs[0].Name, Data: make([]float32, len(inputs[0].F32))}}
	processors := func() float64 {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	for _, run := range []struct {
		name    string
		inputs  []cgo.Input
		outputs []cgo.Output
	}{{"forward", inputs, outputs}, {"gradient", append(inputs[:len(inputs):len(inputs)], seed), gradient}} {
		b.Run(run.name, func(b *testing.B) {
			estimate, err := n.Estimate(context.Background(), run.inputs, run.outputs)
			require.NoError(b, err)
			require.NoError(b, n.Run(context.Background(), run.inputs, run.outputs))
			n.Profile()
			before := processors()
			for b.Loop() {
				require.NoError(b, n.Run(context.Background(), run.inputs, run.outputs))
			}
			for _, w := range n.Profile() {
				b.Logf("%s: %d calls, %.4g s, %.4g GFLOP", w.Op, w.Calls/b.N, w.Seconds/float64(b.N), w.FLOP/1e9/float64(b.N))
			}
			b.ReportMetric((processors()-before)/float64(b.N), "processor-s/op")
			b.ReportMetric(float64(estimate)/1e6, "MB-of-activations")
		})
	}
}
