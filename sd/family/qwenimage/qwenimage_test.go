package qwenimage

import (
	"encoding/binary"
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/read"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/qwen"
)

const folder = "../../../testdata/transformers/"

// The transformer with two more pictures after the noisy one, against the diffusers library: as all other tokens, and with time 0.
func TestReferencesAgreeWithDiffusers(t *testing.T) {
	m, all, err := read.Stored(folder + "qwenimage-reference.safetensors")
	require.NoError(t, err)
	defer m.Close()
	ref := map[string][]float32{}
	for _, s := range all {
		if s.Type.Float() {
			x := make([]float32, s.Elements())
			require.NoError(t, s.Float32(x))
			ref[s.Name] = x
		}
	}
	for _, kernels := range []string{"", "generic", "ggml"} {
		for name, still := range map[string]bool{"edit": false, "still": true} {
			h, err := engine.Open("qwenimage", engine.Options{Backend: "cpu", Threads: 2, Type: "f32", Kernels: kernels}, func() (*convert.Model, error) { return convert.Open(folder + "qwenimage.safetensors") })
			require.NoError(t, err)
			t.Cleanup(func() { h.Close() })
			c := *h.Weights.Config.(*convert.QwenImageConfig)
			require.Equal(t, []int{4, 4, 14, 14}, append([]int{c.Channels}, c.Axes()...))
			c.StillReference = still
			var net *engine.Network
			require.NoError(t, h.Place(func() (err error) {
				net, err = h.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the transformer", Arch: "qwen_image", Prefix: c.Prefix, Params: c.Params()})
				return err
			}, func() ([]engine.Demand, error) { return nil, nil }))
			r := rope(c.Axes(), 9, []square{{5, 7}, {4, 6}, {5, 3}})
			times := []float32{1000 * ref["net.sigmas"][0], 1000 * ref["net.sigmas"][1]}
			want := ref[name+".sample"]
			got := make([]float32, len(want))
			require.NoError(t, net.Run(t.Context(), []cgo.Input{{Name: "x", Shape: []int64{2, 4, 10, 14}, F32: ref["net.x"]}, {Name: "timesteps", Shape: []int64{2}, F32: times},
				{Name: "context", Shape: []int64{2, 9, 128}, F32: ref["net.context"]}, {Name: "reference", Shape: []int64{2, 39, 16}, F32: ref["edit.reference"]},
				{Name: "cos", Shape: r.Shape(), F32: r.Cos}, {Name: "sin", Shape: r.Shape(), F32: r.Sin}}, []cgo.Output{{Name: "sample", Data: got}}, nil))
			var sum, squares float64
			for i, w := range want {
				d := float64(got[i]) - float64(w)
				sum, squares = sum+d*d, squares+float64(w)*float64(w)
			}
			require.Less(t, math.Sqrt(sum/squares), 1e-4, name+" "+kernels)
		}
	}
}

// The sizes that the pipelines of one and of several pictures, and transformers' smart_resize after them, give a picture.
func TestSizesAgreeWithDiffusers(t *testing.T) {
	m, all, err := read.Stored(folder + "qwenimage-edit-reference.safetensors")
	require.NoError(t, err)
	defer m.Close()
	var stored, data []byte
	for _, s := range all {
		if s.Name == "sizes" {
			stored = s.Bytes
		}
	}
	require.Len(t, stored, 13*10*4)
	next := func() image.Point {
		p := image.Pt(int(binary.LittleEndian.Uint32(data)), int(binary.LittleEndian.Uint32(data[4:])))
		data = data[8:]
		return p
	}
	tower := &qwen.Tower{Config: convert.QwenVisionConfig{LeastPixels: 3136, MostPixels: 12845056}}
	for _, edit := range []string{convert.QwenEditOne, convert.QwenEditSeveral} {
		data = stored
		drawer := &model{host: &engine.Host{Weights: &convert.Model{NativeSize: 1024}}, c: convert.QwenImageConfig{Edit: edit}}
		for len(data) > 0 {
			size, big, small, bigSeen, smallSeen := next(), next(), next(), next(), next()
			if edit == convert.QwenEditOne {
				small, smallSeen = big, bigSeen
			}
			drawn, seen := drawer.sizes(size)
			require.Equal(t, []image.Point{big, small}, []image.Point{drawn, seen}, size)
			whole, err := tower.Size(seen)
			require.NoError(t, err)
			require.Equal(t, smallSeen, whole, size)
		}
	}
	for _, c := range [][2]image.Point{{{30, 31}, {56, 84}}, {{350, 350}, {336, 336}}, {{5000, 4000}, {4004, 3192}}, {{1, 200}, {28, 812}}} { // bounds
		whole, err := tower.Size(c[0])
		require.NoError(t, err)
		require.Equal(t, c[1], whole)
	}
	for _, size := range []image.Point{{1, 201}, {0, 5}, {-1, 3}} {
		_, err := tower.Size(size)
		require.ErrorContains(t, err, "one side at most 200 times the other")
	}
}
