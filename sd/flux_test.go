package sd

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
)

const fluxFolder = "../testdata/flux"

// fluxRequest is what testdata/flux/make.py draws.
func fluxRequest(guidance float64) Request {
	return Request{Prompt: "a red apple on a table", NegativePrompt: "blurry", Width: 48, Height: 32, Steps: 4, Seed: 42, Guidance: &guidance}
}

// FLUX.1 with guidance as an input, Chroma and Stable Diffusion 3.5 with and without T5: prompts, noise levels, latents and pixels are those of the
// diffusers library's pipelines.
func TestTransformersDrawAsDiffusers(t *testing.T) {
	ref := readReference(t, fluxFolder, "reference.safetensors")
	for _, kernels := range []string{"", "ggml"} {
		o := Options{Type: "f32", Kernels: kernels}
		flux := openTiny(t, "../flux/flux", o)
		q := fluxRequest(3.5)
		c := conditionsOf(t, flux, q)
		requireClose(t, c.Cond.Inputs[0].Data, ref.f32("flux.context"), 1e-5, "context")
		requireClose(t, c.Cond.Inputs[1].Data, ref.f32("flux.pooled"), 1e-5, "pooled")
		requireClose(t, latentOf(t, flux, q, nil).Data, ref.f32("flux.latent"), 1e-4, "flux "+kernels)

		requireClose(t, latentOf(t, openTiny(t, "../flux/chroma", o), fluxRequest(4), nil).Data, ref.f32("chroma.latent"), 1e-4, "chroma "+kernels)

		sd3 := openTiny(t, "../flux/sd35", o)
		c = conditionsOf(t, sd3, fluxRequest(4.5))
		requireClose(t, c.Cond.Inputs[0].Data, ref.f32("sd35.context"), 1e-5, "context")
		requireClose(t, c.Cond.Inputs[1].Data, ref.f32("sd35.pooled"), 1e-5, "pooled")
		requireClose(t, c.Uncond.Inputs[0].Data, ref.f32("sd35.negative"), 1e-5, "negative")
		requireClose(t, latentOf(t, sd3, fluxRequest(4.5), nil).Data, ref.f32("sd35.latent"), 1e-4, "sd35 "+kernels)
	}
}

// The noise levels of the default schedules are the diffusers library's, of a picture's size and the steps.
func TestTransformersSigmas(t *testing.T) {
	ref := readReference(t, fluxFolder, "reference.safetensors")
	for name, schedule := range map[string]string{"flux": "linear", "sd35": "discrete"} {
		m := openTiny(t, filepath.Join("../flux", name), Options{})
		require.Equal(t, schedule, m.pipeline.Defaults.Schedule)
		d, err := m.pipeline.Resolve(fluxRequest(4), m.others())
		require.NoError(t, err)
		process := m.Process()
		if m.pipeline.ProcessFor != nil {
			process = m.pipeline.ProcessFor(&d.Resolved)
		}
		s, err := d.Schedule.Sigmas(process, 4)
		require.NoError(t, err)
		require.InDeltaSlice(t, ref.f32(name+".sigmas"), toFloat32(s), 1e-6, name)
	}
}

func toFloat32(s sampler.Sigmas) []float32 {
	out := make([]float32, len(s))
	for i, v := range s {
		out[i] = float32(v)
	}
	return out
}
