//go:build unix

package sd

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
)

// benchDenoiser opens the denoiser of any model, with inputs for one picture of its native
// size and its output.
func benchDenoiser(b *testing.B, file string) (*engine.Host, *engine.Network, []cgo.Input, []cgo.Output) {
	path, other, _ := strings.Cut(file, "@")
	side, _ := strconv.Atoi(other)
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
		side = cmp.Or(side, host.Weights.NativeSize/c.VAE.Factor())
		x := picture(c.UNet.InChannels, side)
		spec.Arch, spec.Prefix, spec.Params = "unet", convert.UNetPrefix, c.UNet.Params()
		inputs = []cgo.Input{x, {Name: "t", Shape: []int64{1}, F32: []float32{500}},
			{Name: "context", Shape: []int64{1, 77, int64(c.UNet.ContextDim)}, F32: make([]float32, 77*c.UNet.ContextDim)}}
		output = cgo.Output{Name: "out", Data: make([]float32, c.UNet.OutChannels*side*side)}
	case *convert.Pixel:
		side = cmp.Or(side, c.Size)
		x := picture(c.Channels, side)
		spec.Arch, spec.Prefix, spec.Params = c.Net, c.Prefix, c.Params()
		inputs = []cgo.Input{x, {Name: "timesteps", Shape: []int64{1}, F32: []float32{500}}}
		if c.ClassInput == "index" {
			inputs = append(inputs, cgo.Input{Name: "class", Shape: []int64{1, 1}, I32: []int32{1}})
		}
		channels := c.Channels
		if c.LearnedVariance {
			channels *= 2
		}
		output = cgo.Output{Name: "sample", Data: make([]float32, channels*side*side)}
	default:
		b.Fatalf("%s is no model whose denoiser is known here", path)
	}
	var n *engine.Network
	require.NoError(b, host.Place(func() (err error) {
		n, err = host.NewNetwork(spec)
		return err
	}, func() ([]engine.Demand, error) { return nil, nil }))
	return host, n, inputs, []cgo.Output{output}
}

// processorTime is what this process has had of the processors.
func processorTime(b *testing.B) float64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkDenoiser is one evaluation of the denoiser of each of some models for one
// picture: SDGO_DENOISER is a list of files, such as testdata/fullsize writes, each perhaps with
// another side of its input, FILE@32. They take turns, and GFLOP per second of the
// processors' time are what compares models on a machine that is busy with other things.
func BenchmarkDenoiser(b *testing.B) {
	list := filepath.SplitList(os.Getenv("SDGO_DENOISER"))
	if len(list) == 0 {
		b.Skip("SDGO_DENOISER is no file")
	}
	type turn struct {
		run           func()
		n             *engine.Network
		seconds, flop float64
		estimate      uint64
	}
	var turns []*turn
	for _, path := range list {
		_, n, inputs, outputs := benchDenoiser(b, path)
		estimate, err := n.Estimate(context.Background(), inputs, outputs)
		require.NoError(b, err)
		t := &turn{n: n, estimate: estimate, run: func() { require.NoError(b, n.Run(context.Background(), inputs, outputs)) }}
		t.run()
		n.Profile()
		turns = append(turns, t)
	}
	for b.Loop() {
		for _, t := range turns {
			before := processorTime(b)
			t.run()
			t.seconds += processorTime(b) - before
		}
	}
	for i, t := range turns {
		for _, w := range t.n.Profile() {
			if w.Op == "" { // all of them
				t.flop = w.FLOP
			}
			b.Logf("%+v", w)
		}
		rate := func(t *turn) float64 { return t.flop / 1e9 / t.seconds }
		b.Logf("%s: %.1f GFLOP, %.2f s of the processors, %.1f GFLOP/s of them, %.2f of the first one's, %.1f MB of activations",
			list[i], t.flop/1e9/float64(b.N), t.seconds/float64(b.N), rate(t), rate(t)/rate(turns[0]), float64(t.estimate)/1e6)
	}
}
