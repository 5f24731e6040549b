package zimage

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/read"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

const folder = "../../../testdata/transformers/"

// references are what testdata/transformers/make.py computed.
func references(t *testing.T) map[string]tensor.Tensor {
	m, all, err := read.Stored(folder + "reference.safetensors")
	require.NoError(t, err)
	defer m.Close()
	out := map[string]tensor.Tensor{}
	for _, s := range all {
		x := tensor.New(int(s.Elements()))
		require.NoError(t, s.Float32(x.Data))
		for _, d := range s.Shape {
			x.Shape = append(x.Shape, int(d))
		}
		x.Shape = x.Shape[1:]
		out[s.Name] = x
	}
	return out
}

// Captions and pictures that are filled up and that are not, two at a time, against the diffusers library, in its layout.
func TestTransformerAgreesWithDiffusers(t *testing.T) {
	ref := references(t)
	for _, kernels := range []string{"", "generic", "ggml"} {
		h, err := engine.Open("zimage", engine.Options{Backend: "cpu", Threads: 2, Type: "f32", Kernels: kernels}, func() (*convert.Model, error) { return convert.Open(folder + "zimage.safetensors") })
		require.NoError(t, err)
		t.Cleanup(func() { h.Close() })
		c := *h.Weights.Config.(*convert.ZImageConfig)
		require.Equal(t, convert.ZImageConfig{Prefix: c.Prefix, Channels: 4, Patch: 2, Width: 64, Heads: 2, Layers: 2, Refiners: 1, FFN: 170, Text: 24, Time: 64, TimeInner: 1024, Flow: convert.Flow{Shift: 3}}, c)
		var net *Transformer
		require.NoError(t, h.Place(func() (err error) {
			net, err = NewTransformer(h, c)
			return err
		}, func() ([]engine.Demand, error) { return nil, nil }))
		for _, name := range []string{"filled", "whole"} {
			var sigma []float64
			for _, v := range ref[name+".timesteps"].Data {
				sigma = append(sigma, 1-float64(v)/1000)
			}
			got, err := net.Velocity(t.Context(), ref[name+".x"], ref[name+".context"], sigma, nil)
			require.NoError(t, err)
			want := ref[name+".sample"]
			require.Equal(t, want.Shape, got.Shape)
			var sum, all float64
			for i, w := range want.Data {
				d := float64(-w) - float64(got.Data[i]) // the library says x0 - noise
				sum, all = sum+d*d, all+float64(w)*float64(w)
			}
			require.Less(t, math.Sqrt(sum/all), 1e-4, name+" "+kernels)
		}
	}
}
