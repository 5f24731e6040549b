package sd3

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

// part is one picture's of a batch's input.
func part(name string, x tensor.Tensor, i int) engine.Named {
	n := len(x.Data) / x.Shape[0]
	return engine.Named{Name: name, Shape: x.Shape[1:], Data: x.Data[i*n:][:n]}
}

// 3.5 medium's kind, with attention of two kinds, and 3's, without norms of queries and keys: two pictures that are not square, in
// the middle of the table of positions, whose side is odd, at different times, against the diffusers library.
func TestTransformerAgreesWithDiffusers(t *testing.T) {
	ref := references(t)
	for _, kernels := range append(cgo.KernelNames(), "") {
		for _, name := range []string{"sd35", "sd3"} {
			h, err := engine.Open(name, engine.Options{Backend: "cpu", Threads: 2, Type: "f32", Kernels: kernels}, func() (*convert.Model, error) { return convert.Open(folder + name + ".safetensors") })
			require.NoError(t, err)
			t.Cleanup(func() { h.Close() })
			c := h.Weights.Config.(*convert.SD3Model).Transformer
			want := convert.MMDiTConfig{Channels: 4, OutChannels: 4, Patch: 2, Width: 64, Heads: 2, Blocks: 3, Side: 9, Text: 40, Pooled: 48, Norms: true, Dual: 2}
			if name == "sd3" { // whose heads no shape tells
				want.Norms, want.Dual, want.Heads = false, 0, 1
				require.Equal(t, want, c)
				c.Heads = 2
			} else {
				require.Equal(t, want, c)
			}
			var f *denoiser
			require.NoError(t, h.Place(func() (err error) {
				f, err = newTransformer(h, c)
				return err
			}, func() ([]engine.Demand, error) { return nil, nil }))
			x := ref[name+".x"]
			var times []float32
			var conditions []pipeline.Condition
			for i, sigma := range ref[name+".sigmas"].Data {
				times = append(times, 1000*sigma)
				conditions = append(conditions, pipeline.Condition{Inputs: []engine.Named{part("context", ref[name+".context"], i), part("y", ref[name+".pooled"], i)}})
			}
			got := make([]float32, len(x.Data))
			require.NoError(t, f.net.Run(t.Context(), f.Inputs(x.Shape[1:], x.Data, times, conditions), []cgo.Output{{Name: "sample", Data: got}}, nil))
			var sum, all float64
			for i, w := range ref[name+".sample"].Data {
				d := float64(w) - float64(got[i])
				sum, all = sum+d*d, all+float64(w)*float64(w)
			}
			require.Less(t, math.Sqrt(sum/all), 1e-4, name+" "+kernels)
			wide := []int{4, 2, 20}
			require.ErrorContains(t, f.net.Run(t.Context(), f.Inputs(wide, make([]float32, 160), times[:1], conditions[:1]), []cgo.Output{{Name: "sample", Data: make([]float32, 160)}}, nil),
				"mmdit: the sides of x must be multiples of 2, at most 18, got 20x2")
		}
	}
}
