//go:build unix

package cgo

import (
	"context"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkWeightGradients is, of a small UNet with random weights and eight pictures of 32
// by 32: the forward pass, and a step of training, which is the gradients by all weights.
// The processors' time is what compares them on a busy machine.
func BenchmarkWeightGradients(b *testing.B) {
	const n, side = 8, 32
	p := Params{"in_channels": {4}, "out_channels": {4}, "model_channels": {64}, "channel_mult": {1, 2, 2},
		"num_res_blocks": {2}, "transformer_depth": {0, 1, 1}, "middle_depth": {1}, "context_dim": {16},
		"adm_channels": {0}, "heads": {4}, "head_dim": {0}}
	net, err := NewNet("unet", p, Config{Threads: Threads()})
	require.NoError(b, err)
	b.Cleanup(net.Close)
	numbers := func(n int64, size float32) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = (float32(i*7%13)/6 - 1) * size
		}
		return x
	}
	var gradients []Output
	parameters := int64(0)
	for i, w := range net.Weights() {
		require.NoError(b, net.Bind(i, 0, bytesOf(numbers(elements(w.Shape), 0.05))))
		gradients = append(gradients, Output{Name: "d:weight:" + w.Name, Data: make([]float32, elements(w.Shape))})
		parameters += elements(w.Shape)
	}
	require.NoError(b, net.Load())
	image := []int64{n, 4, side, side}
	inputs := []Input{{Name: "x", Shape: image, F32: numbers(elements(image), 1)}, {Name: "t", Shape: []int64{n}, F32: numbers(n, 500)},
		{Name: "context", Shape: []int64{n, 7, 16}, F32: numbers(n*7*16, 1)}}
	out := Output{Name: "out", Data: make([]float32, elements(image))}
	processors := func() float64 {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	for _, run := range []struct {
		name    string
		inputs  []Input
		outputs []Output
	}{
		{"forward", inputs, []Output{out}},
		{"step", append(slices.Clone(inputs), Input{Name: "d_out", Shape: image, F32: numbers(elements(image), 1)}), append(gradients, out)},
	} {
		b.Run(run.name, func(b *testing.B) {
			require.NoError(b, net.Run(context.Background(), run.inputs, run.outputs))
			net.Profile()
			before := processors()
			for b.Loop() {
				require.NoError(b, net.Run(context.Background(), run.inputs, run.outputs))
			}
			b.ReportMetric((processors()-before)/float64(b.N), "processor-s/op")
			for _, w := range net.Profile() {
				b.Logf("%s: %d calls, %.4g s, %.4g GFLOP", w.Op, w.Calls/b.N, w.Seconds/float64(b.N), w.FLOP/1e9/float64(b.N))
			}
		})
	}
	b.Logf("%.3g parameters", float64(parameters))
}
