package cgo

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/checked"
)

// The inner blocks' output, put in again, gives what the whole net gave.
func TestInnerBlocks(t *testing.T) {
	for _, kernels := range checked.Few(KernelNames()) {
		net := randomNet(t, "unet", unetParams(), Config{Threads: 2, Kernels: kernels})
		for _, side := range []int64{8, 5} {
			want := run(t, net, side)
			outputs := []Output{{Name: "deep"}, {Name: "out", Data: make([]float32, len(want))}}
			require.NoError(t, net.Run(context.Background(), unetInputs(side), outputs))
			require.Equal(t, want, outputs[1].Data)
			deep := outputs[0].Value
			require.Equal(t, []int64{1, 32, side, side}, deep.Shape())

			got := make([]float32, len(want))
			in := append(unetInputs(side), Input{Name: "deep", Shape: deep.Shape(), Value: deep})
			require.NoError(t, net.Run(context.Background(), in, []Output{{Name: "out", Data: got}}))
			require.Equal(t, want, got)

			in[3].Shape = []int64{1, 16, side, 2 * side}
			require.ErrorContains(t, net.Run(context.Background(), in, []Output{{Name: "out", Data: got}}), "deep must have the shape")
			in[3].Shape = deep.Shape()
			require.ErrorContains(t, net.Run(context.Background(), in, []Output{{Name: "deep"}}), "no output deep")
		}
	}
}

// The first convolution and the first block come out alone as they do beside the rest; the
// convolution knows nothing of the timestep.
func TestFirstBlock(t *testing.T) {
	for _, kernels := range checked.Few(KernelNames()) {
		net := randomNet(t, "unet", unetParams(), Config{Threads: 2, Kernels: kernels})
		values := func(side int64, time float32, names ...string) map[string][]float32 {
			in, all := unetInputs(side), map[string][]float32{}
			for i := range in {
				if in[i].Name == "t" {
					in[i].F32 = []float32{time}
				}
			}
			var outputs []Output
			for _, name := range names {
				n := 32 * side * side
				if name == "out" {
					n = 4 * side * side
				}
				all[name] = make([]float32, n)
				outputs = append(outputs, Output{Name: name, Data: all[name]})
			}
			require.NoError(t, net.Run(context.Background(), in, outputs))
			return all
		}
		for _, side := range []int64{8, 5} {
			alone, beside := values(side, 10, "first", "stem"), values(side, 10, "out", "stem", "first")
			require.Equal(t, alone["stem"], beside["stem"])
			require.Equal(t, alone["first"], beside["first"])
			require.NotEqual(t, alone["stem"], alone["first"])
			// What the blocks after the first add, put in again, gives what the whole net gave, nearly: it is a sum.
			whole := []Output{{Name: "deep"}, {Name: "out", Data: make([]float32, 4*side*side)}}
			require.NoError(t, net.Run(context.Background(), unetInputs(side), whole))
			rest, first, got := make([]float32, 32*side*side), make([]float32, 32*side*side), make([]float32, 4*side*side)
			require.NoError(t, whole[0].Value.Read(rest))
			require.NoError(t, net.Run(context.Background(), unetInputs(side), []Output{{Name: "first", Data: first}}))
			for i, v := range first {
				rest[i] -= v
			}
			with := append(unetInputs(side), Input{Name: "rest", Shape: []int64{1, 32, side, side}, F32: rest})
			again := make([]float32, len(first))
			require.NoError(t, net.Run(context.Background(), with, []Output{{Name: "out", Data: got}, {Name: "first", Data: again}}))
			require.Equal(t, first, again)
			for i, v := range whole[1].Data {
				require.InDelta(t, v, got[i], 1e-3)
			}
			later := values(side, 500, "stem", "first")
			require.Equal(t, alone["stem"], later["stem"])
			require.NotEqual(t, alone["first"], later["first"])
		}
		in := append(unetInputs(5), Input{Name: "deep", Shape: []int64{1, 32, 5, 5}, F32: make([]float32, 32*25)})
		require.ErrorContains(t, net.Run(context.Background(), in, []Output{{Name: "first"}}), "no output first")
		in[len(in)-1].Name = "rest"
		require.ErrorContains(t, net.Run(context.Background(), in, []Output{{Name: "deep"}}), "no output deep")
		in = append(in, Input{Name: "deep", Shape: in[len(in)-1].Shape, F32: in[len(in)-1].F32})
		require.ErrorContains(t, net.Run(context.Background(), in, []Output{{Name: "out"}}), "one of them is enough")
	}
}

// What a ControlNet would add to the skips and the middle: every part is optional,
// and zeros change nothing.
func TestControls(t *testing.T) {
	const side = 5
	shapes := map[string][]int64{"control.0": {1, 32, 5, 5}, "control.1": {1, 32, 5, 5}, "control.2": {1, 32, 3, 3},
		"control.3": {1, 64, 3, 3}, "control.middle": {1, 64, 3, 3}}
	names := slices.Sorted(maps.Keys(shapes))
	control := func(name string, value float32) Input {
		return Input{Name: name, Shape: shapes[name], F32: slices.Repeat([]float32{value}, int(elements(shapes[name])))}
	}
	for _, kernels := range checked.Few(KernelNames()) {
		net := randomNet(t, "unet", unetParams(), Config{Threads: 2, Kernels: kernels})
		with := func(more ...Input) []float32 {
			out := make([]float32, 4*side*side)
			require.NoError(t, net.Run(context.Background(), append(unetInputs(side), more...), []Output{{Name: "out", Data: out}}))
			return out
		}
		want := run(t, net, side)
		var zeros, ones []Input
		for _, name := range names {
			zeros, ones = append(zeros, control(name, 0)), append(ones, control(name, 1))
			require.Equal(t, want, with(control(name, 0)), name)
			require.NotEqual(t, want, with(control(name, 1)), name)
		}
		require.Equal(t, want, with(zeros...))
		all := with(ones...)
		require.NotEqual(t, want, all)
		require.Equal(t, all, with(ones...))
	}
}

// A control is added to a skip as by hand: the first input block is made the
// identity, so that adding to its result is adding to x. With deep nothing else
// depends on x.
func TestControlsAreAdded(t *testing.T) {
	const side, channels = 6, 32
	params := unetParams()
	params["in_channels"] = []float64{channels}
	for _, kernels := range checked.Few(KernelNames()) {
		net, err := NewNet("unet", params, Config{Threads: 1, Kernels: kernels})
		require.NoError(t, err)
		defer net.Close()
		r := rand.New(rand.NewPCG(5, 6))
		for i, w := range net.Weights() {
			data := make([]float32, elements(w.Shape))
			for j := range data {
				switch w.Name {
				case "input_blocks.0.0.bias":
				case "input_blocks.0.0.weight": // [out, in, 3, 3]
					if out, in := j/9/channels, j/9%channels; out == in && j%9 == 4 {
						data[j] = 1
					}
				default:
					data[j] = float32(r.NormFloat64()) / 8
				}
			}
			require.NoError(t, net.Bind(i, 0, bytesOf(data)))
		}
		require.NoError(t, net.Load())
		image := func(name string, scale float32) Input {
			x := make([]float32, channels*side*side)
			for i := range x {
				x[i] = float32(r.NormFloat64()) * scale
			}
			return Input{Name: name, Shape: []int64{1, channels, side, side}, F32: x}
		}
		x, control, deep := image("x", 1), image("control.0", 0.5), image("deep", 1)
		rest := append(unetInputs(side)[1:], deep)
		compute := func(more ...Input) []float32 {
			out := make([]float32, 4*side*side)
			require.NoError(t, net.Run(context.Background(), slices.Concat(rest, more), []Output{{Name: "out", Data: out}}))
			return out
		}
		sum := Input{Name: "x", Shape: x.Shape, F32: slices.Clone(x.F32)}
		for i := range sum.F32 {
			sum.F32[i] += control.F32[i]
		}
		want, got := compute(sum), compute(x, control)
		require.NotEqual(t, compute(x), got)
		for i := range want { // the identity goes through Winograd's arithmetic
			require.InDelta(t, want[i], got[i], 1e-4, kernels)
		}
	}
}

func TestControlsAreChecked(t *testing.T) {
	net := randomNet(t, "unet", unetParams(), Config{Threads: 1})
	deep := Input{Name: "deep", Shape: []int64{1, 32, 8, 8}, F32: make([]float32, 32*64)}
	for want, more := range map[string][]Input{
		"unet: no input control.4; it takes":                                                   {{Name: "control.4", Shape: []int64{1}, F32: []float32{1}}},
		"unet: no input control.00; it takes":                                                  {{Name: "control.00", Shape: []int64{1}, F32: []float32{1}}},
		"unet: no input control; it takes":                                                     {{Name: "control", Shape: []int64{1}, F32: []float32{1}}},
		"unet: control.2 must have the shape [1, 32, 4, 4], got [1, 32, 8, 8]":                 {{Name: "control.2", Shape: deep.Shape, F32: deep.F32}},
		"unet: control.middle must have the shape [1, 64, 4, 4], got [1, 32, 8, 8]":            {{Name: "control.middle", Shape: deep.Shape, F32: deep.F32}},
		"unet: with deep there is no input control.1: the block that takes it is not computed": {deep, {Name: "control.1", Shape: deep.Shape, F32: deep.F32}},
	} {
		err := net.Run(context.Background(), append(unetInputs(8), more...), []Output{{Name: "out", Data: make([]float32, 256)}})
		require.ErrorContains(t, err, want)
	}
}

// tensors are those of a file, as floats.
func tensors(t *testing.T, path string) map[string]Input {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	file, err := safetensors.Parse(data)
	require.NoError(t, err)
	all := map[string]Input{}
	for _, tensor := range file.Tensors {
		typ, ok := map[string]dtype.Type{"F32": dtype.F32, "F16": dtype.F16}[tensor.DType]
		if !ok { // token ids
			continue
		}
		in := Input{Name: tensor.Name, Shape: tensor.Shape, F32: make([]float32, elements(tensor.Shape))}
		require.NoError(t, dtype.Float32(typ, in.F32, tensor.Data))
		all[tensor.Name] = in
	}
	return all
}

// tinyUNet is the UNet of a file of testdata in float32, on the CPU.
func tinyUNet(t *testing.T, weights map[string]Input, p Params, kernels string) *Net {
	t.Helper()
	net, err := NewNet("unet", p, Config{Threads: 2, Kernels: kernels})
	require.NoError(t, err)
	t.Cleanup(net.Close)
	for i, w := range net.Weights() {
		require.NoError(t, net.Bind(i, 0, bytesOf(weights["model.diffusion_model."+w.Name].F32)))
	}
	require.NoError(t, net.Load())
	return net
}

func requireClose(t *testing.T, want, got []float32, bound float64, name string) {
	t.Helper()
	difference, size := 0.0, 0.0
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		difference, size = difference+d*d, size+float64(w)*float64(w)
	}
	t.Logf("%s: relative RMS error %.2g", name, math.Sqrt(difference/size))
	require.LessOrEqual(t, math.Sqrt(difference/size), bound, name)
}

// What ControlNets add, perturbed attention and other norms, against the diffusers
// library: testdata/unet/README.md.
func TestVariationsAgreeWithDiffusers(t *testing.T) {
	const bound = 1e-4
	references := tensors(t, "../testdata/unet/reference.safetensors")
	tiny := func(kernels, model, file, inputs string, p Params) (*Net, []Input) {
		given, in := tensors(t, inputs), []Input(nil)
		for _, name := range []string{"x", "t", "context", "y"} {
			if input, ok := given[model+".unet."+name]; ok {
				input.Name = name
				in = append(in, input)
			}
		}
		return tinyUNet(t, tensors(t, file), p, kernels), in
	}
	p := Params{"in_channels": {4}, "out_channels": {4}, "model_channels": {32}, "channel_mult": {1, 1}, "num_res_blocks": {1},
		"transformer_depth": {1, 0}, "middle_depth": {1}, "context_dim": {64}, "adm_channels": {0}, "heads": {8}, "head_dim": {0}}
	grouped := maps.Clone(p)
	grouped["norm_groups"], grouped["norm_eps"] = []float64{8}, []float64{1e-3}
	xl := maps.Clone(p)
	xl["transformer_depth"], xl["middle_depth"], xl["context_dim"] = []float64{0, 2}, []float64{2}, []float64{96}
	xl["adm_channels"], xl["heads"], xl["head_dim"] = []float64{112}, []float64{0}, []float64{16}
	const nets, base = "../testdata/nets/", "../testdata/xl/"

	for _, kernels := range checked.Few(KernelNames()) {
		compute := func(net *Net, in []Input, output string) []float32 {
			out := make([]float32, len(references["sd1.perturbed"].F32))
			require.NoError(t, net.Run(context.Background(), in, []Output{{Name: output, Data: out}}))
			return out
		}
		net, in := tiny(kernels, "sd1", nets+"sd1.safetensors", nets+"reference.safetensors", p)
		var controls []Input
		for _, name := range []string{"control.0", "control.1", "control.2", "control.3", "control.middle"} {
			control := references["sd1."+name]
			control.Name = name
			controls = append(controls, control)
		}
		controlled := slices.Concat(in, controls)
		plain, perturbed := compute(net, in, "out"), compute(net, in, "perturbed")
		require.NotEqual(t, plain, perturbed)
		requireClose(t, references["sd1.perturbed"].F32, perturbed, bound, kernels)
		requireClose(t, references["sd1.controlled"].F32, compute(net, controlled, "out"), bound, kernels)
		requireClose(t, references["sd1.controlled.perturbed"].F32, compute(net, controlled, "perturbed"), bound, kernels)

		// Both at once are the same as one by one, of another text afterwards, too.
		for range 2 {
			both := []Output{{Name: "perturbed", Data: make([]float32, len(plain))}, {Name: "out", Data: make([]float32, len(plain))}, {Name: "deep"}}
			require.NoError(t, net.Run(context.Background(), in, both))
			require.Equal(t, compute(net, in, "perturbed"), both[0].Data)
			require.Equal(t, compute(net, in, "out"), both[1].Data)
			in[2].F32 = slices.Clone(in[2].F32)
			slices.Reverse(in[2].F32)
		}

		net, in = tiny(kernels, "sd1", nets+"sd1.safetensors", nets+"reference.safetensors", grouped)
		requireClose(t, references["sd1.grouped"].F32, compute(net, in, "out"), bound, kernels)
		net, in = tiny(kernels, "base", base+"base.safetensors", base+"reference.safetensors", xl)
		require.Len(t, in, 4)
		requireClose(t, references["base.perturbed"].F32, compute(net, in, "perturbed"), bound, kernels)
	}
}

func TestPerturbedIsChecked(t *testing.T) {
	p := unetParams()
	p["middle_depth"] = []float64{0}
	out := []Output{{Name: "perturbed", Data: make([]float32, 256)}}
	err := randomNet(t, "unet", p, Config{Threads: 1}).Run(context.Background(), unetInputs(8), out)
	require.ErrorContains(t, err, "unet: no output perturbed: the middle block has no attention")
	deep := Input{Name: "deep", Shape: []int64{1, 32, 8, 8}, F32: make([]float32, 32*64)}
	err = randomNet(t, "unet", unetParams(), Config{Threads: 1}).Run(context.Background(), append(unetInputs(8), deep), out)
	require.ErrorContains(t, err, "unet: no output perturbed; there is out, without an input deep stem and first, and without an input deep or rest deep, perturbed and h")
}
