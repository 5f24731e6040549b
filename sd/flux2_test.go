package sd

import (
	"fmt"
	"image"
	"path/filepath"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/tensor"
)

func openFlux2(t *testing.T, o Options) *Model {
	t.Helper()
	o.LLM, o.VAE = qwenFile(t, "flux2-text.safetensors", 16), filepath.Join(transformersFolder, "flux2-vae.safetensors")
	return openFile(t, filepath.Join(transformersFolder, "flux2.safetensors"), o)
}

// Texts that are filled up, every step and the pixels: distilled, with guidance, and with two reference pictures of other sizes
// than the picture's, which are cropped to whole tokens.
func TestFlux2AgreesStepByStep(t *testing.T) {
	ref := readReference(t, transformersFolder, "flux2-reference.safetensors")
	look := &image.NRGBA{Pix: make([]byte, 0, 85*64*4), Stride: 85 * 4, Rect: image.Rect(0, 0, 85, 64)}
	for i, v := range ref.tensor("picture", "U8").Data {
		if look.Pix = append(look.Pix, v); i%3 == 2 {
			look.Pix = append(look.Pix, 255)
		}
	}
	for _, kernels := range []string{"", "ggml"} {
		m := openFlux2(t, Options{Type: "f32", Kernels: kernels})
		r := Request{Prompt: ref.file.Metadata["prompt"], Width: 96, Height: 64, Steps: 4, Seed: 42}
		e := conditionsOf(t, m, r).Cond.Inputs[0]
		require.Equal(t, []int{512, 48}, e.Shape)
		requireClose(t, e.Data, ref.f32("context"), 1e-4, "context "+kernels)
		for _, c := range []struct {
			name  string
			scale float64
			refs  []RequestControl
		}{{"distilled", 1, nil}, {"guided", 2.5, nil}, {"edited", 1, []RequestControl{{Name: Reference, Image: look}, {Name: Reference, Image: imaging.Rotate90(look)}}}} {
			r.Guidance, r.Controls = Float(c.scale), c.refs
			latent := latentOf(t, m, r, func(s sampler.Step) error {
				requireClose(t, s.X, ref.f32(fmt.Sprintf("%s.latent.%d", c.name, s.Index)), 1e-4, fmt.Sprintf("%s %s step %d", kernels, c.name, s.Index))
				return nil
			})
			pixels, err := m.pipeline.Autoencoder.Decode(t.Context(), latent, tensor.NoProgress)
			require.NoError(t, err)
			requirePixels(t, pixels.Image(), ref.tensor(c.name+".pixels", "U8").Data, 1)
		}
	}
	for _, n := range []int{1, 4, 50} {
		for _, tokens := range []int{24, 1024, 4096, 9216} {
			got, err := sampler.Linear(sampler.Flow(sampler.Flux2Shift(tokens, n)), n)
			require.NoError(t, err)
			for i, w := range ref.f32(fmt.Sprintf("levels.%d.%d", n, tokens)) {
				require.InDelta(t, w, got[i], 1e-6)
			}
		}
	}
}
