package flux

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/read"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/tensor"
)

const folder = "../../../testdata/transformers/"

// references are what testdata/transformers/flux.py computed.
func references(t *testing.T) map[string]tensor.Tensor {
	m, all, err := read.Stored(folder + "flux-reference.safetensors")
	require.NoError(t, err)
	defer m.Close()
	out := map[string]tensor.Tensor{}
	for _, s := range all {
		x := tensor.New(int(s.Elements()))
		require.NoError(t, s.Float32(x.Data))
		x.Shape = nil
		for _, d := range s.Shape {
			x.Shape = append(x.Shape, int(d))
		}
		out[s.Name] = x
	}
	return out
}

// open opens a file's transformer.
func open(t *testing.T, file, kernels string, change func(*convert.FluxConfig)) *denoiser {
	h, err := engine.Open("flux", engine.Options{Backend: "cpu", Threads: 2, Type: "f32", Kernels: kernels}, func() (*convert.Model, error) { return convert.Open(folder + file + ".safetensors") })
	require.NoError(t, err)
	t.Cleanup(func() { h.Close() })
	c := h.Weights.Config.(*convert.FluxModel).Transformer
	if change != nil {
		change(&c)
	}
	var f *denoiser
	require.NoError(t, h.Place(func() (err error) {
		f, err = newTransformer(h, c)
		return err
	}, func() ([]engine.Demand, error) { return nil, nil }))
	return f
}

// part is one picture's of a batch's input.
func part(name string, x tensor.Tensor, i int) engine.Named {
	n := len(x.Data) / x.Shape[0]
	return engine.Named{Name: name, Shape: x.Shape[1:], Data: x.Data[i*n:][:n]}
}

// run runs a batch of two.
func run(t *testing.T, f *denoiser, ref map[string]tensor.Tensor, name string, with map[string]tensor.Tensor) []float32 {
	x := ref[name+".x"]
	shape := []int{f.config.OutChannels, x.Shape[2], x.Shape[3]}
	var noisy, times []float32
	var c []pipeline.Condition
	for i, sigma := range ref[name+".sigmas"].Data {
		one := part("x", x, i)
		size := tensor.Size(shape)
		noisy, times = append(noisy, one.Data[:size]...), append(times, 1000*sigma)
		condition := pipeline.Condition{Inputs: []engine.Named{part("context", ref[name+".context"], i)}}
		if f.config.Channels > shape[0] {
			condition.Inputs = append(condition.Inputs, engine.Named{Name: "concat", Shape: []int{f.config.Channels - shape[0], shape[1], shape[2]}, Data: one.Data[size:]})
		}
		if y, ok := ref[name+".pooled"]; ok {
			condition.Inputs = append(condition.Inputs, part("y", y, i), engine.Named{Name: "guidance", Shape: []int{1}, Data: ref[name+".guidance"].Data[i:][:1]})
		}
		for input, x := range with {
			condition.Inputs = append(condition.Inputs, part(input, x, i))
		}
		c = append(c, condition)
	}
	out := make([]float32, 2*tensor.Size(shape))
	require.NoError(t, f.net.Run(t.Context(), f.Inputs(shape, noisy, times, c), []cgo.Output{{Name: "sample", Data: out}}, nil))
	return out
}

// far is the root of the mean square of the difference, relative to what is expected.
func far(want, got []float32) float64 {
	var sum, all float64
	for i, w := range want {
		d := float64(w) - float64(got[i])
		sum, all = sum+d*d, all+float64(w)*float64(w)
	}
	return math.Sqrt(sum / all)
}

// dev with guidance, schnell without, Kontext with another picture, Fill with channels beside the latent, and Chroma, which does
// not see masked text: two pictures that are not square at different times, against the diffusers library.
func TestTransformerAgreesWithDiffusers(t *testing.T) {
	ref := references(t)
	for _, kernels := range append(cgo.KernelNames(), "") {
		f := open(t, "flux", kernels, nil)
		require.Equal(t, convert.FluxConfig{Channels: 4, OutChannels: 4, Width: 64, Heads: 2, Double: 2, Single: 2, FFN: 256, Text: 48, Pooled: 24, Guidance: true}, f.config)
		require.Less(t, far(ref["flux.sample"].Data, run(t, f, ref, "flux", nil)), 1e-4, kernels)
		f.kontext = true
		require.Less(t, far(ref["kontext.sample"].Data, run(t, f, ref, "flux", map[string]tensor.Tensor{"concat": ref["kontext.reference"]})), 1e-4, kernels)
		f = open(t, "flux", kernels, func(c *convert.FluxConfig) { c.Guidance = false })
		require.Less(t, far(ref["schnell.sample"].Data, run(t, f, ref, "flux", nil)), 1e-4, kernels)
		f = open(t, "flux-fill", kernels, nil)
		require.Equal(t, 24, f.config.Channels)
		require.Less(t, far(ref["flux-fill.sample"].Data, run(t, f, ref, "flux-fill", nil)), 1e-4, kernels)
		f = open(t, "chroma", kernels, nil)
		require.Equal(t, convert.FluxConfig{Channels: 4, OutChannels: 4, Width: 64, Heads: 2, Double: 2, Single: 2, FFN: 256, Text: 48, Rows: 64, Approximator: 40, ApproximatorLayers: 2}, f.config)
		require.Less(t, far(ref["chroma.sample"].Data, run(t, f, ref, "chroma", nil)), 1e-4, kernels)
	}
}
