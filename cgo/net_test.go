package cgo

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/checked"
)

// The numbers that nets compute are tested in package sd, against the diffusers
// library. Tested here is what the binding promises about errors, threads, cancelling
// and memory.

func unetParams() Params {
	return Params{"in_channels": {4}, "out_channels": {4}, "model_channels": {32}, "channel_mult": {1, 2},
		"num_res_blocks": {1}, "transformer_depth": {1, 0}, "middle_depth": {1}, "context_dim": {16},
		"adm_channels": {0}, "heads": {4}, "head_dim": {0}}
}

// randomNet returns a loaded net with small random weights.
func randomNet(t *testing.T, arch string, p Params, c Config) *Net {
	t.Helper()
	net, err := NewNet(arch, p, c)
	require.NoError(t, err)
	t.Cleanup(net.Close)
	r := rand.New(rand.NewPCG(1, 2))
	for i, w := range net.Weights() {
		n := int64(1)
		for _, d := range w.Shape {
			n *= d
		}
		data := make([]float32, n)
		for j := range data {
			data[j] = float32(r.NormFloat64()) / float32(math.Sqrt(float64(n/w.Shape[0])+8))
		}
		require.NoError(t, net.Bind(i, 0, bytesOf(data)))
	}
	require.NoError(t, net.Load())
	return net
}

func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

func unetInputs(side int64) []Input {
	r := rand.New(rand.NewPCG(3, 4))
	normal := func(n int64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	return []Input{
		{Name: "x", Shape: []int64{1, 4, side, side}, F32: normal(4 * side * side)},
		{Name: "t", Shape: []int64{1}, F32: []float32{500.5}},
		{Name: "context", Shape: []int64{1, 7, 16}, F32: normal(7 * 16)},
	}
}

func run(t *testing.T, net *Net, side int64) []float32 {
	t.Helper()
	out := make([]float32, 4*side*side)
	require.NoError(t, net.Run(context.Background(), unetInputs(side), []Output{{Name: "out", Data: out}}))
	return out
}

func TestDevices(t *testing.T) {
	devices := Devices()
	require.NotEmpty(t, devices)
	require.Equal(t, CPU, devices[0].Kind)
	require.NotZero(t, devices[0].Total)
	require.Positive(t, Threads())
}

func TestParamsAreChecked(t *testing.T) {
	for name, test := range map[string]struct {
		arch   string
		change func(Params)
		want   string
	}{
		"unknown architecture": {"transformer", func(Params) {}, "no architecture transformer"},
		"missing":              {"unet", func(p Params) { delete(p, "context_dim") }, "context_dim is missing"},
		"NaN":                  {"unet", func(p Params) { p["context_dim"] = []float64{math.NaN()} }, "context_dim"},
		"fraction":             {"unet", func(p Params) { p["num_res_blocks"] = []float64{1.5} }, "whole number"},
		"enormous":             {"unet", func(p Params) { p["model_channels"] = []float64{1e18} }, "model_channels"},
		"not in groups":        {"unet", func(p Params) { p["model_channels"] = []float64{48} }, "multiple of norm_groups (32), got 48"},
		"heads":                {"unet", func(p Params) { p["heads"] = []float64{5} }, "heads"},
		"no heads":             {"unet", func(p Params) { p["heads"] = []float64{0} }, "heads"},
		"levels":               {"unet", func(p Params) { p["channel_mult"] = make([]float64, 17) }, "at most 16"},
		"depths of blocks":     {"unet", func(p Params) { p["output_depth"] = []float64{1, 1, 0} }, "output_depth must have a number for each of 4 blocks, got 3"},
		"half a middle":        {"unet", func(p Params) { p["middle_depth"] = []float64{-3} }, "middle_depth must be a whole number from -2 to 32, got -3"},
		"depths":               {"unet", func(p Params) { p["transformer_depth"] = []float64{1} }, "transformer_depth must have 2 levels, as channel_mult has, got 1"},
		"unknown":              {"unet", func(p Params) { p["norm_group"] = []float64{32} }, "unet has no hyperparameter norm_group"},
		"groups":               {"unet", func(p Params) { p["norm_groups"] = []float64{0} }, "norm_groups must be a whole number from 1 to 1024, got 0"},
		"epsilon":              {"unet", func(p Params) { p["norm_eps"] = []float64{0} }, "norm_eps must be a number from 1e-12 to 1, got 0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := unetParams()
			test.change(p)
			_, err := NewNet(test.arch, p, Config{Threads: 1})
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, Invalid, e.Code)
			require.ErrorContains(t, err, test.want)
		})
	}
	_, err := NewNet("unet", unetParams(), Config{Threads: 0})
	require.ErrorContains(t, err, "threads")
	_, err = NewNet("unet", unetParams(), Config{Threads: 1, Device: 99})
	require.ErrorContains(t, err, "device 99")
	_, err = NewNet("unet", unetParams(), Config{Threads: 1, Device: -1})
	require.ErrorContains(t, err, "device -1")
}

func TestBindIsChecked(t *testing.T) {
	net, err := NewNet("unet", unetParams(), Config{Threads: 1})
	require.NoError(t, err)
	defer net.Close()
	weights := net.Weights()
	require.Equal(t, "time_embed.0.weight", weights[0].Name)
	require.Equal(t, []int64{128, 32}, weights[0].Shape)

	data := make([]byte, 4*128*32)
	require.ErrorContains(t, net.Bind(0, 0, data[1:]), "bytes")
	require.ErrorContains(t, net.Bind(0, 0, nil), "no data")
	require.ErrorContains(t, net.Bind(len(weights), 0, data), "does not exist")
	for _, typ := range []uint32{4, 27, 28, 40, 1 << 31} { // a hole, I64, F64, one too many, absurd
		require.ErrorContains(t, net.Bind(0, typ, data), "type")
	}
	require.NoError(t, net.Bind(0, 0, data))
	require.ErrorContains(t, net.Bind(0, 0, data), "already")
	require.ErrorContains(t, net.Load(), "missing")
	require.ErrorContains(t, net.Run(context.Background(), unetInputs(8), []Output{{Name: "out", Data: make([]float32, 256)}}), "not loaded")
}

func TestInputsAreChecked(t *testing.T) {
	net := randomNet(t, "unet", unetParams(), Config{Threads: 1})
	for name, test := range map[string]struct {
		change func([]Input) []Input
		output Output
		want   string
	}{
		"missing input":  {func(in []Input) []Input { return in[:2] }, Output{}, "context is missing"},
		"unknown input":  {func(in []Input) []Input { return append(in, Input{Name: "y", Shape: []int64{1}, F32: []float32{1}}) }, Output{}, "unet: no input y; it takes x, t, context, and optionally deep, rest, h_add, merged, control.0 to control.3, control.middle"},
		"input twice":    {func(in []Input) []Input { return append(in, in[0]) }, Output{}, "input x is given twice"},
		"channels":       {func(in []Input) []Input { in[0].Shape = []int64{1, 1, 16, 16}; return in }, Output{}, "x must have the shape"},
		"batch":          {func(in []Input) []Input { in[1] = Input{Name: "t", Shape: []int64{2}, F32: []float32{1, 2}}; return in }, Output{}, "t must have"},
		"context":        {func(in []Input) []Input { in[2].Shape = []int64{1, 16, 7}; return in }, Output{}, "context must have"},
		"negative":       {func(in []Input) []Input { in[0].Shape = []int64{1, 4, -8, -8}; return in }, Output{}, "dimension"},
		"six dimensions": {func(in []Input) []Input { in[0].Shape = []int64{1, 1, 4, 1, 8, 8}; return in }, Output{}, "input x must have 1 to 5 dimensions, got 6"},
		"a video":        {func(in []Input) []Input { in[0].Shape = []int64{1, 4, 1, 8, 8}; return in }, Output{}, "unet: x must have the shape [N, 4, H, W], got [1, 4, 1, 8, 8]"},
		"no dimensions":  {func(in []Input) []Input { in[0].Shape = nil; return in }, Output{}, "dimensions"},
		"too short":      {func(in []Input) []Input { in[0].F32 = in[0].F32[1:]; return in }, Output{}, "elements"},
		"wrong type":     {func(in []Input) []Input { in[1] = Input{Name: "t", Shape: []int64{1}, I32: []int32{1}}; return in }, Output{}, "float32"},
		"no such output": {func(in []Input) []Input { return in }, Output{Name: "in"}, "no output in"},
		"output length":  {func(in []Input) []Input { return in }, Output{Name: "out", Data: make([]float32, 3)}, "got room for 3"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.output.Name == "" {
				test.output = Output{Name: "out", Data: make([]float32, 256)}
			}
			err := net.Run(context.Background(), test.change(unetInputs(8)), []Output{test.output})
			require.ErrorContains(t, err, test.want)
		})
	}
	require.ErrorContains(t, net.Run(context.Background(), unetInputs(8), nil), "no output")
}

func TestTokensAreChecked(t *testing.T) {
	net := randomNet(t, "clip_text", Params{"vocabulary": {10}, "width": {32}, "heads": {2}, "layers": {2}, "ffn": {64},
		"context_length": {5}, "activation": {0}, "eps": {1e-5}}, Config{Threads: 1})
	tokens := func(ids ...int32) error {
		return net.Run(context.Background(), []Input{{Name: "tokens", Shape: []int64{1, 5}, I32: ids}},
			[]Output{{Name: "hidden.2", Data: make([]float32, 5*32)}})
	}
	require.NoError(t, tokens(0, 1, 2, 3, 9))
	require.ErrorContains(t, tokens(0, 1, 2, 3, 10), "token ids must be 0 to 9, got 10")
	require.ErrorContains(t, tokens(0, 1, 2, -1, 3), "token ids must be 0 to 9, got -1")
	require.ErrorContains(t, net.Run(context.Background(), []Input{{Name: "tokens", Shape: []int64{1, 5}, I32: make([]int32, 5)}},
		[]Output{{Name: "hidden.3"}}), "no output hidden.3")
}

// An output taken as a value holds what the same output read directly does.
func TestValues(t *testing.T) {
	net := randomNet(t, "unet", unetParams(), Config{Threads: 1})
	want := run(t, net, 8)
	outputs := []Output{{Name: "out"}}
	require.NoError(t, net.Run(context.Background(), unetInputs(8), outputs))
	v := outputs[0].Value
	require.Equal(t, []int64{1, 4, 8, 8}, v.Shape())
	got := make([]float32, 256)
	require.NoError(t, v.Read(got))
	require.Equal(t, want, got)
	require.ErrorContains(t, v.Read(got[1:]), "got room for 255")

	// A value goes into a net as its bytes would.
	in := unetInputs(8)
	in[0].F32 = want
	direct, through := make([]float32, 256), make([]float32, 256)
	require.NoError(t, net.Run(context.Background(), in, []Output{{Name: "out", Data: direct}}))
	in[0].F32, in[0].Value = nil, v
	require.NoError(t, net.Run(context.Background(), in, []Output{{Name: "out", Data: through}}))
	require.Equal(t, direct, through)
	v.Close()
}

func TestResultsDoNotDependOnThreads(t *testing.T) {
	for _, kernels := range checked.Few(KernelNames()) {
		want := run(t, randomNet(t, "unet", unetParams(), Config{Threads: 1, Kernels: kernels}), 8)
		for _, threads := range []int{2, 3} {
			got := run(t, randomNet(t, "unet", unetParams(), Config{Threads: threads, Kernels: kernels}), 8)
			require.Equal(t, want, got, "%d threads, kernels %s", threads, kernels)
		}
	}
}

// Graphs that are built again, for shapes that alternate, give the same results.
func TestGraphsAreRebuilt(t *testing.T) {
	net := randomNet(t, "unet", unetParams(), Config{Threads: 1})
	want := run(t, net, 8)
	for _, side := range []int64{16, 8, 5, 12, 8, 16} {
		got := run(t, net, side)
		if side == 8 {
			require.Equal(t, want, got)
		}
	}
	net.Trim()
	require.Equal(t, want, run(t, net, 8))
	need, err := net.Estimate(context.Background(), unetInputs(8), []Output{{Name: "out"}})
	require.NoError(t, err)
	require.Positive(t, need)
}

// What depends on the text alone is cached between runs: the results must be those of
// a net that never had another text, also after a run that failed or was cancelled.
func TestTextIsCached(t *testing.T) {
	texts := make([][]float32, 2)
	for i := range texts {
		texts[i] = make([]float32, 7*16)
		for j := range texts[i] {
			texts[i][j] = float32(math.Sin(float64(j + 100*i)))
		}
	}
	with := func(net *Net, text []float32) []float32 {
		in, out := unetInputs(8), make([]float32, 4*8*8)
		in[2].F32 = text
		require.NoError(t, net.Run(context.Background(), in, []Output{{Name: "out", Data: out}}))
		return out
	}
	var want [2][]float32
	for i, text := range texts {
		want[i] = with(randomNet(t, "unet", unetParams(), Config{Threads: 2}), text)
	}
	require.NotEqual(t, want[0], want[1])
	net := randomNet(t, "unet", unetParams(), Config{Threads: 2})
	for _, i := range []int{0, 0, 1, 1, 0, 1} {
		require.Equal(t, want[i], with(net, texts[i]))
	}
	run(t, net, 16) // another graph, with its own text
	require.Equal(t, want[1], with(net, texts[1]))

	in := unetInputs(8)
	in[2].F32 = texts[0] // arrives, and then the run fails
	err := net.Run(context.Background(), in, []Output{{Name: "out", Data: make([]float32, 3)}})
	require.Error(t, err)
	require.Equal(t, want[0], with(net, texts[0]))
	ctx, cancel := context.WithCancel(context.Background())
	go cancel()
	in[2].F32 = texts[1]
	_ = net.Run(ctx, in, []Output{{Name: "out", Data: make([]float32, 4*8*8)}}) // done or cancelled
	require.Equal(t, want[1], with(net, texts[1]))
	in[2].F32 = slices.Clone(texts[1]) // other memory, the same text; and then the same memory, another text
	require.Equal(t, want[1], with(net, in[2].F32))
	copy(in[2].F32, texts[0])
	require.Equal(t, want[0], with(net, in[2].F32))
}

func TestUnalignedWeights(t *testing.T) {
	net, err := NewNet("vae_decoder", Params{"channels": {32}, "channel_mult": {1}, "num_res_blocks": {1}, "z_channels": {4},
		"embed_dim": {4}, "image_channels": {3}, "quant_conv": {0}}, Config{Threads: 1})
	require.NoError(t, err)
	defer net.Close()
	for i, w := range net.Weights() {
		n := int64(1)
		for _, d := range w.Shape {
			n *= d
		}
		raw := make([]byte, 4*n+1)
		require.NoError(t, net.Bind(i, 0, raw[1:]))
	}
	require.NoError(t, net.Load())
	out := make([]float32, 3*4*4)
	require.NoError(t, net.Run(context.Background(), []Input{{Name: "z", Shape: []int64{1, 4, 4, 4}, F32: make([]float32, 64)}},
		[]Output{{Name: "image", Data: out}}))
}

func TestCancel(t *testing.T) {
	net := randomNet(t, "unet", unetParams(), Config{Threads: 2})
	side := int64(48)
	run(t, net, side) // the graph exists

	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("the user went away")
	var cancelled time.Time
	time.AfterFunc(20*time.Millisecond, func() { cancelled = time.Now(); cancel(reason) })
	var err error
	for err == nil {
		err = net.Run(ctx, unetInputs(side), []Output{{Name: "out", Data: make([]float32, 4*side*side)}})
	}
	late := time.Since(cancelled)
	require.ErrorIs(t, err, reason)
	require.Less(t, late, time.Second, "a run ends within a node or two")
	run(t, net, 8) // and the net still works

	ctx, stop := context.WithCancel(context.Background())
	stop()
	require.ErrorIs(t, net.Run(ctx, unetInputs(8), []Output{{Name: "out", Data: make([]float32, 256)}}), context.Canceled)
}

func TestConcurrentRuns(t *testing.T) {
	net := randomNet(t, "unet", unetParams(), Config{Threads: 1})
	want8, want16 := run(t, net, 8), run(t, net, 16)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for range 5 {
				side, want := int64(8), want8
				if g%2 == 1 {
					side, want = 16, want16
				}
				out := make([]float32, 4*side*side)
				if err := net.Run(context.Background(), unetInputs(side), []Output{{Name: "out", Data: out}}); err != nil {
					t.Error(err)
				}
				for i := range want {
					if out[i] != want[i] {
						t.Errorf("element %d must be %g, got %g", i, want[i], out[i])
						return
					}
				}
			}
		})
	}
	all.Wait()
}

func TestRunsLeaveNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	net := randomNet(t, "unet", unetParams(), Config{Threads: 2})
	ctx, cancel := context.WithCancel(context.Background())
	for range 20 {
		require.NoError(t, net.Run(ctx, unetInputs(8), []Output{{Name: "out", Data: make([]float32, 256)}}))
	}
	cancel()
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, time.Second, time.Millisecond)
}

func TestQuantize(t *testing.T) {
	src := make([]float32, 64)
	for i := range src {
		src[i] = float32(i-32) / 7
	}
	const q8_0 = 8
	dst := make([]byte, 2*34)
	require.NoError(t, Quantize(q8_0, dst, src, 64, nil))
	// A block of q8_0 is a half-float scale, max|x|/127, and 32 rounded quotients.
	scale := float32(32.0 / 7 / 127)
	for i := range 32 {
		got := int8(dst[2+i])
		require.InDelta(t, src[i]/scale, got, 0.51)
	}
	back := make([]float32, 64)
	require.NoError(t, Dequantize(q8_0, back, dst))
	for i := range src {
		require.InDelta(t, src[i], back[i], float64(scale))
	}
	require.ErrorContains(t, Dequantize(q8_0, back[1:], dst), "bytes")
	require.ErrorContains(t, Dequantize(27, back, dst), "type 27")
	require.ErrorContains(t, Quantize(q8_0, dst, src, 16, nil), "blocks")
	require.ErrorContains(t, Quantize(q8_0, dst[1:], src, 64, nil), "bytes")
	require.ErrorContains(t, Quantize(q8_0, dst, src, 48, nil), "rows")
	require.ErrorContains(t, Quantize(q8_0, dst, src, 64, make([]float32, 3)), "columns")
	require.ErrorContains(t, Quantize(99, dst, src, 64, nil), "type 99")
	require.ErrorContains(t, Quantize(16, dst, src, 64, nil), "") // iq2_xxs needs rows of 256 and a matrix
}
