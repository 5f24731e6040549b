package sd

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// A UNet of LCM gets the guidance scale as the diffusers library embeds it, and answers
// once a step, without the negative prompt.
func TestGuidanceAsInput(t *testing.T) {
	ref := readReference(t, unetsFolder, "reference.safetensors")
	m, err := Open(unusualFile(t, "lcm", unusualUNets(t, "lcm")["lcm"].original), Options{Type: "f32"})
	require.NoError(t, err)
	defer m.Close()
	for i, scale := range []float64{1, 4.5, 8.5} {
		inputs := conditionsOf(t, m, Request{Prompt: "a cat", Guidance: &scale}).Cond.Inputs
		require.Equal(t, "guidance", inputs[1].Name)
		require.Equal(t, []int{256}, inputs[1].Shape)
		requireClose(t, inputs[1].Data, ref.f32("guidance.embedding")[256*i:][:256], 1e-4, "the embedding")
	}

	draw := func(scale float64, negative string) []byte {
		before := m.Passes()
		images, err := m.Generate(context.Background(), Request{Prompt: "a cat", NegativePrompt: negative, Guidance: &scale, Steps: 3, Width: 64, Height: 64})
		require.NoError(t, err)
		require.EqualValues(t, 3, m.Passes()-before, "one answer a step")
		return images.Images[0].Image.Pix
	}
	one := draw(4.5, "")
	require.NotEqual(t, one, draw(8.5, ""))
	require.Equal(t, one, draw(4.5, "a dog"))

	for want, r := range map[string]Request{
		"Guider: must be cfg: the guidance scale is an input of the model, got apg": {Guider: "apg"},
		"GuiderOptions: must be empty":                                              {GuiderOptions: map[string]float64{"stop": 0.5}},
		"brings its own guidance, which does not go with":                           {Sampler: "euler_cfg_pp"},
	} {
		_, err := m.Generate(context.Background(), r)
		require.ErrorContains(t, err, want)
	}
}

// The diffusers library's pipeline, whose guidance is an input of the UNet, too, draws the
// same.
func TestGuidanceAsInputAgreesWithDiffusers(t *testing.T) {
	ref := readReference(t, unetsFolder, "reference.safetensors")
	m, err := Open(unusualFile(t, "lcm", unusualUNets(t, "lcm")["lcm"].original), Options{Type: "f32"})
	require.NoError(t, err)
	defer m.Close()
	r, scale := pipelineRequest(readReference(t, pipelinesFolder, "pipeline.safetensors")), 4.5
	r.Guidance = &scale
	got := latentOf(t, m, r, nil)
	t.Logf("relative RMS error %.2g", relativeRMS(got.Data, ref.f32("lcm.latent")))
	requireClose(t, got.Data, ref.f32("lcm.latent"), 1e-4, "the latent")
}

// Without attention in the middle there is none to perturb.
func TestNoMiddleToPerturb(t *testing.T) {
	m, err := Open(unusualFile(t, "bk-sdm-tiny", unusualUNets(t, "bk-sdm-tiny")["bk-sdm-tiny"].original), Options{})
	require.NoError(t, err)
	defer m.Close()
	_, err = m.Generate(context.Background(), Request{Guider: "pag", Steps: 2, Width: 64, Height: 64})
	require.ErrorContains(t, err, "Guider: pag needs perturbed attention, which the model's network does not have")
}
