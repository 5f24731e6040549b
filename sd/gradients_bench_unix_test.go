//go:build unix

package sd

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
)

const benchRank = 16

// benchUNet opens the UNet of a model of Stable Diffusion, with a LoRA of all projections of
// its attention layers and the outputs that are the gradients of its factors.
func benchUNet(b *testing.B, path string) (net *cgo.Net, context int, lora *cgo.Adapter, gradients []cgo.Output) {
	m, err := convert.Open(path)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, m.Close()) })
	c, ok := m.Config.(*convert.StableDiffusion)
	require.True(b, ok, "%s is no model of Stable Diffusion", path)
	net, err = cgo.NewNet("unet", c.UNet.Params(), cgo.Config{Threads: cgo.Threads()})
	require.NoError(b, err)
	b.Cleanup(net.Close)
	var changes []cgo.Change
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int64) []byte {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64()) * 0.01
		}
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*n)
	}
	for i, w := range net.Weights() {
		t, ok := m.Tensor(convert.UNetPrefix + w.Name)
		require.True(b, ok, w.Name)
		require.NoError(b, net.Bind(i, uint32(t.Type), t.Bytes))
		if strings.Contains(w.Name, ".attn") && strings.HasSuffix(w.Name, ".weight") {
			out, in := w.Shape[0], w.Shape[1]
			changes = append(changes, cgo.Change{Weight: i, Down: random(benchRank * in), Up: random(out * benchRank), Scale: make([]float32, benchRank)})
			gradients = append(gradients, cgo.Output{Name: "d:adapter:" + w.Name + ".down", Data: make([]float32, benchRank*in)},
				cgo.Output{Name: "d:adapter:" + w.Name + ".up", Data: make([]float32, out*benchRank)})
		}
	}
	for _, c := range changes {
		for i := range c.Scale {
			c.Scale[i] = 1
		}
	}
	require.NoError(b, net.Load())
	lora, err = net.NewAdapter(changes)
	require.NoError(b, err)
	return net, c.UNet.ContextDim, lora, gradients
}

// numberOf is a number of the environment.
func numberOf(b *testing.B, name string, otherwise int64) int64 {
	if s := os.Getenv(name); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		require.NoError(b, err)
		return n
	}
	return otherwise
}

// BenchmarkGradient is, of a model of Stable Diffusion, SDGO_DENOISER, and one picture of
// SDGO_SIDE latents, 32 by default: the forward pass; the gradient by the picture; and that
// by the factors of a LoRA of rank 16 of all attention projections, with the output, as a
// step of training takes it, with SDGO_SEGMENTS segments. The processors' time is what compares them on a machine that is busy
// with other things.
func BenchmarkGradient(b *testing.B) {
	path := os.Getenv("SDGO_DENOISER")
	if path == "" {
		b.Skip("SDGO_DENOISER is no file")
	}
	side := numberOf(b, "SDGO_SIDE", 32)
	net, width, adapter, gradients := benchUNet(b, path)
	net.Choose(cgo.OpChoice{GradientSegments: int(numberOf(b, "SDGO_SEGMENTS", 1))})
	numbers := func(n int64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(i%7)/3 - 1
		}
		return x
	}
	image := []int64{1, 4, side, side}
	inputs := []cgo.Input{{Name: "x", Shape: image, F32: numbers(4 * side * side)}, {Name: "t", Shape: []int64{1}, F32: []float32{500}},
		{Name: "context", Shape: []int64{1, 77, int64(width)}, F32: numbers(77 * int64(width))}}
	seeded := append(inputs[:3:3], cgo.Input{Name: "d_out", Shape: image, F32: numbers(4 * side * side)})
	out := cgo.Output{Name: "out", Data: make([]float32, 4*side*side)}
	processors := func() float64 {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	for _, run := range []struct {
		name    string
		inputs  []cgo.Input
		outputs []cgo.Output
		lora    []cgo.AdapterUse
	}{
		{"forward", inputs, []cgo.Output{out}, nil},
		{"x", seeded, []cgo.Output{{Name: "d:x", Data: make([]float32, 4*side*side)}}, nil},
		{"lora", seeded, append(gradients, out), []cgo.AdapterUse{{Adapter: adapter, Strength: 1}}},
	} {
		b.Run(run.name, func(b *testing.B) {
			ctx := context.Background()
			estimate, err := net.Estimate(ctx, run.inputs, run.outputs, run.lora...)
			require.NoError(b, err)
			require.NoError(b, net.Run(ctx, run.inputs, run.outputs, run.lora...))
			net.Profile()
			before := processors()
			for b.Loop() {
				require.NoError(b, net.Run(ctx, run.inputs, run.outputs, run.lora...))
			}
			b.ReportMetric((processors()-before)/float64(b.N), "processor-s/op")
			for _, w := range net.Profile() {
				b.Logf("%s: %d calls, %.4g s, %.4g GFLOP", w.Op, w.Calls/b.N, w.Seconds/float64(b.N), w.FLOP/1e9/float64(b.N))
			}
			b.ReportMetric(float64(estimate)/1e6, "MB-of-activations")
		})
		net.Trim()
	}
}
