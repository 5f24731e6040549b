package sd

import (
	"context"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The fit finds the matrix that made the pixels, and is the best where none
// did.
func TestColoursAreFitted(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	latent := newPlane(4, 12, 9)
	for i := range latent.data {
		latent.data[i] = float32(r.NormFloat64())
	}
	want := colours{weights: [][3]float64{{1, 0, 2}, {0.5, -1, 0}, {0, 0, 0.25}, {-1, 1, 1}}, bias: [3]float64{0.5, -0.25, 0}}
	got := fitColours(latent, want.apply(latent))
	for k := range 3 {
		require.InDelta(t, want.bias[k], got.bias[k], 1e-4)
		for channel, w := range want.weights {
			require.InDelta(t, w[k], got.weights[channel][k], 1e-4)
		}
	}
	for i := range 12 * 9 { // two channels that say the same
		latent.data[12*9+i] = latent.data[i]
	}
	got = fitColours(latent, newPlane(3, 12, 9))
	require.Less(t, math.Abs(got.weights[0][0]), 1e-3)
}

// The published matrices are for Stable Diffusion's own autoencoders alone.
func TestWhoseColours(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32"})
	c, err := m.findColours(context.Background())
	require.NoError(t, err)
	require.Len(t, c.weights, 4)
	require.NotEqual(t, sdColours, c)
	m.weights.VAE.Channels, m.weights.VAE.ChannelMult = 128, []int{1, 2, 4, 4}
	c, err = m.findColours(context.Background())
	require.NoError(t, err)
	require.Equal(t, sdColours, c)
	m.weights.VAE.ScaleFactor, m.weights.Arch = 0.13025, "sdxl"
	c, err = m.findColours(context.Background())
	require.NoError(t, err)
	require.Equal(t, xlColours, c)
}

func TestPreviews(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32"})
	previews := func(change func(*Request)) map[string]image.Point {
		all := map[string]image.Point{}
		r := pipelineRequest(ref)
		r.OnEvent = func(e Event) error {
			if e.Preview != nil {
				require.Equal(t, StageSample, e.Stage)
				all[fmt.Sprintf("%d/%d", e.Pass, e.Index)] = e.Preview.Rect.Size()
			}
			return nil
		}
		change(&r)
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		if len(r.Stages) == 0 && r.TAESD == nil {
			requirePixels(t, result.Images[0].Image, ref.tensor("sd1.pixels", "U8").Data, 2)
		}
		return all
	}
	require.Empty(t, previews(func(*Request) {}))
	require.Equal(t, map[string]image.Point{"0/2": {X: 8, Y: 8}, "0/4": {X: 8, Y: 8}}, previews(func(r *Request) { r.PreviewEvery = 2 }))
	require.Equal(t, map[string]image.Point{"0/3": {X: 8, Y: 8}, "1/3": {X: 16, Y: 16}}, previews(func(r *Request) {
		r.PreviewEvery, r.Stages = 3, []HiresStage{{}}
	}))
	tiny := openTAESD(t, filepath.Join(taesdFolder, "tiny.safetensors"), Options{})
	require.Equal(t, map[string]image.Point{"0/5": {X: 64, Y: 64}}, previews(func(r *Request) { r.PreviewEvery, r.TAESD = 5, tiny }))

	m.encoder.close()
	m.encoder = nil
	m.colours = newOnce[colours]()
	require.Len(t, previews(func(r *Request) { r.PreviewEvery = 1 }), 5, "fitted to what the decoder makes of noise")
	_, err := m.Generate(context.Background(), Request{PreviewEvery: -1})
	require.ErrorContains(t, err, "PreviewEvery: -1, 0 to 1000 wanted")
}
