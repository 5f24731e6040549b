package sd

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	requests "github.com/sdgo/sdgo/job"
)

// semanticRequest is a case of testdata/pipelines/semantic.py.
func semanticRequest(t *testing.T, ref reference, text string, momentum, beta float64) Request {
	t.Helper()
	r := Request{
		Prompt: ref.file.Metadata["prompt"], NegativePrompt: ref.file.Metadata["negative"], Width: 64, Height: 64,
		Steps: 10, Sampler: "euler", Schedule: "discrete", Guidance: Float(7), Seed: 42,
	}
	if text != "" {
		require.NoError(t, requests.Set(&r, "edit", text))
		r.EditMomentum, r.EditBeta = Float(momentum), Float(beta)
	}
	return r
}

// The latents are those of diffusers' SemanticStableDiffusionPipeline.
func TestSemanticGuidanceAgreesWithDiffusers(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "semantic.safetensors")
	var cases map[string]struct {
		Edit           string
		Momentum, Beta float64
	}
	require.NoError(t, json.Unmarshal([]byte(ref.file.Metadata["cases"]), &cases))
	require.Len(t, cases, 7)
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32"})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			latent := latentOf(t, m, semanticRequest(t, ref, c.Edit, c.Momentum, c.Beta), nil)
			requireClose(t, latent.Data, ref.f32(name), 1e-4, name)
		})
	}
}

// What edits are of is what a picture's parameters say, and pictures of a batch are those
// drawn alone. Edits of scale 0, and in their warm-up, change nothing.
func TestSemanticGuidance(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "semantic.safetensors")
	m := openTiny(t, "sd1.safetensors", Options{Batch: 2})
	draw := func(change func(*Request)) []Image {
		r := semanticRequest(t, ref, "", 0, 0)
		r.Steps, r.Width, r.Height = 4, 16, 16
		change(&r)
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		return result.Images
	}
	plain := draw(func(*Request) {})[0]
	require.NotContains(t, text(plain.Params), "Edit")
	with := func(e Edit, more ...func(*Request)) Image {
		return draw(func(r *Request) {
			r.Edits = []Edit{e}
			for _, change := range more {
				change(r)
			}
		})[0]
	}
	require.Equal(t, plain.Image.Pix, with(Edit{Prompt: "zebra"}).Image.Pix, "4 steps of a warm-up of 10")
	require.Equal(t, plain.Image.Pix, with(Edit{Prompt: "zebra", Scale: Float(0), WarmUp: Int(0)}).Image.Pix)
	zebra := Edit{Prompt: "a zebra, red", WarmUp: Int(1)}
	edited := with(zebra)
	require.NotEqual(t, plain.Image.Pix, edited.Image.Pix)
	require.Contains(t, text(edited.Params), `Edit: "+a zebra\\, red,warmup=1"`)
	away := zebra
	away.Away = true
	require.NotEqual(t, with(away).Image.Pix, edited.Image.Pix)

	// With what changes the conditions: prompts that AND composes, that change, another's, and kinds of guidance.
	for name, change := range map[string]func(*Request){
		"and": func(r *Request) { r.Prompt = "zebra AND quark :0.5" }, "changes": func(r *Request) { r.Prompt = "[zebra:quark:2]" },
		"long": func(r *Request) { r.Prompt = ref.file.Metadata["prompt"] + " BREAK apple" }, "alone": func(r *Request) { r.Guidance = Float(1) },
		"towards": func(r *Request) { to := "quark"; r.Interpolate = &Interpolation{Prompt: &to, At: 0.5} },
		"apg":     func(r *Request) { r.Guider = "apg" }, "pag": func(r *Request) { r.Guider = "pag" }, "cfg++": func(r *Request) { r.Sampler = "euler_cfg_pp" },
		"cache":   func(r *Request) { r.DeepCache = 2 },
		"limited": func(r *Request) { r.GuiderOptions = map[string]float64{"start": 0.5} },
	} {
		t.Run(name, func(t *testing.T) {
			without, one := draw(change)[0], with(zebra, change)
			require.NotEqual(t, without.Image.Pix, one.Image.Pix)
			require.Equal(t, without.Image.Pix, with(Edit{Prompt: "zebra", Scale: Float(0), WarmUp: Int(0)}, change).Image.Pix)
			two := draw(func(r *Request) {
				r.Edits, r.Count = []Edit{zebra}, 2
				change(r)
			})
			require.Equal(t, one.Image.Pix, two[0].Image.Pix)
			again, err := m.Generate(context.Background(), two[1].Params.Request)
			require.NoError(t, err)
			require.Equal(t, two[1].Image.Pix, again.Images[0].Image.Pix)
		})
	}
}

func TestSemanticGuidanceRefuses(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	for want, r := range map[string]Request{
		"Edits[0].Prompt: must say what the picture is moved towards":     {Edits: []Edit{{Prompt: " "}}},
		"Edits[1].Scale: must be 0 to 1000, got -1":                       {Edits: []Edit{{Prompt: "a"}, {Prompt: "b", Scale: Float(-1)}}},
		"Edits[0].Threshold: must be 0 to 1, got 2":                       {Edits: []Edit{{Prompt: "a", Threshold: Float(2)}}},
		"Edits[0].WarmUp: must be 0 to 1000, got -1":                      {Edits: []Edit{{Prompt: "a", WarmUp: Int(-1)}}},
		"Edits[0].CoolDown: must be 1 to 1000, got 0":                     {Edits: []Edit{{Prompt: "a", CoolDown: Int(0)}}},
		"Edits: must be at most 16, got 17":                               {Edits: make([]Edit, 17)},
		"Edits: must be what EditMomentum and EditBeta are about":         {EditBeta: Float(0.5)},
		"EditMomentum: must be 0 to 1, got 2":                             {Edits: []Edit{{Prompt: "a"}}, EditMomentum: Float(2)},
		"Edits[0].Prompt: takes no AND and no weight of the whole prompt": {Edits: []Edit{{Prompt: "a AND b"}}},
		"Edits[0].Prompt: <lora:x>: extra networks are for the whole":     {Edits: []Edit{{Prompt: "a <lora:x>"}}},
		"GuideMethod: moments does not go with edits":                     {Edits: []Edit{{Prompt: "a"}}, Guides: []Guide{{Kind: GuideColour, Colour: "#112233"}}},
	} {
		_, err := m.Generate(context.Background(), r)
		require.ErrorContains(t, err, want)
	}
}
