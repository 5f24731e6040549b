//go:build unix

package sd

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
)

// benchDenoiser opens the denoiser of any model, with inputs for one picture of its native
// size and its output.
func benchDenoiser(b *testing.B, path string) (*engine.Network, []cgo.Input, []cgo.Output) {
	host, err := engine.Open("denoiser", engine.Options{Backend: "cpu"}, func() (*convert.Model, error) { return convert.Open(path) })
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, host.Close()) })
	spec := engine.Spec{Role: engine.RoleDenoiser, Title: "the denoiser"}
	picture := func(channels, side int) cgo.Input {
		x := cgo.Input{Name: "x", Shape: []int64{1, int64(channels), int64(side), int64(side)}, F32: make([]float32, channels*side*side)}
		for i := range x.F32 {
			x.F32[i] = float32(i%7)/3 - 1
		}
		return x
	}
	var inputs []cgo.Input
	var output cgo.Output
	switch c := host.Weights.Config.(type) {
	case *convert.StableDiffusion:
		side := host.Weights.NativeSize / c.VAE.Factor()
		x := picture(c.UNet.InChannels, side)
		spec.Arch, spec.Prefix, spec.Params = "unet", convert.UNetPrefix, c.UNet.Params()
		inputs = []cgo.Input{x, {Name: "t", Shape: []int64{1}, F32: []float32{500}},
			{Name: "context", Shape: []int64{1, 77, int64(c.UNet.ContextDim)}, F32: make([]float32, 77*c.UNet.ContextDim)}}
		output = cgo.Output{Name: "out", Data: make([]float32, c.UNet.OutChannels*side*side)}
	case *convert.Pixel:
		x := picture(c.Channels, c.Size)
		spec.Arch, spec.Prefix, spec.Params = c.Net, c.Prefix, c.Params()
		inputs = []cgo.Input{x, {Name: "timesteps", Shape: []int64{1}, F32: []float32{500}}}
		if c.ClassInput == "index" {
			inputs = append(inputs, cgo.Input{Name: "class", Shape: []int64{1, 1}, I32: []int32{1}})
		}
		channels := c.Channels
		if c.LearnedVariance {
			channels *= 2
		}
		output = cgo.Output{Name: "sample", Data: make([]float32, channels*c.Size*c.Size)}
	default:
		b.Fatalf("%s is no model whose denoiser is known here", path)
	}
	var n *engine.Network
	require.NoError(b, host.Place(func() (err error) {
		n, err = host.NewNetwork(spec)
		return err
	}, func() ([]engine.Demand, error) { return nil, nil }))
	return n, inputs, []cgo.Output{output}
}

// BenchmarkDenoiser is one evaluation of the denoiser of a model, SDGO_DENOISER, such as
// testdata/fullsize writes, for one picture. GFLOP per second of the processors' time are
// what compares models on a machine that is busy with other things.
func BenchmarkDenoiser(b *testing.B) {
	path := os.Getenv("SDGO_DENOISER")
	if path == "" {
		b.Skip("SDGO_DENOISER is no file")
	}
	n, inputs, outputs := benchDenoiser(b, path)
	estimate, err := n.Estimate(context.Background(), inputs, outputs)
	require.NoError(b, err)
	require.NoError(b, n.Run(context.Background(), inputs, outputs))
	n.Profile()
	processors := func() float64 {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	before := processors()
	for b.Loop() {
		require.NoError(b, n.Run(context.Background(), inputs, outputs))
	}
	seconds := processors() - before
	flop := 0.0
	for _, w := range n.Profile() {
		if w.Op == "" { // all of them
			flop = w.FLOP
		}
		b.Logf("%+v", w)
	}
	b.ReportMetric(flop/1e9/float64(b.N), "GFLOP")
	b.ReportMetric(flop/1e9/b.Elapsed().Seconds(), "GFLOP/s")
	b.ReportMetric(flop/1e9/seconds, "GFLOP/processor-s")
	b.ReportMetric(float64(estimate)/1e6, "MB-of-activations")
}
