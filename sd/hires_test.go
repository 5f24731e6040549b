package sd

import (
	"context"
	"errors"
	"fmt"
	"image"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/upscale"
)

const hiresFolder = "../testdata/hires"

// Latents are enlarged, and made smaller, as torch does it.
func TestResamplingAgreesWithTorch(t *testing.T) {
	ref := readReference(t, hiresFolder, "reference.safetensors")
	x := tensor.Of(ref.f32("x"), 4, 8, 10)
	n := 0
	for name := range ref.tensors {
		mode, size, ok := strings.Cut(name, ".")
		var height, width int
		if k, _ := fmt.Sscanf(size, "%dx%d", &height, &width); !ok || k != 2 {
			continue
		}
		u, ok := upscale.LookupFilter(mode)
		require.True(t, ok, mode)
		got := x.Resample(*u.Latent, height, width)
		require.Equal(t, ref.shape(name), got.Batch(1), name)
		requireClose(t, got.Data, ref.f32(name), 1e-6, name)
		n++
	}
	require.Equal(t, 6*5, n)
}

// hiresRequest is the reference pipeline's with a second pass.
func hiresRequest(ref reference) Request {
	r := pipelineRequest(ref)
	r.Hires = []HiresPass{{Steps: 4}}
	return r
}

func TestSecondPassAgrees(t *testing.T) {
	ref := readReference(t, hiresFolder, "reference.safetensors")
	first := readReference(t, pipelinesFolder, "pipeline.safetensors")
	for _, kernels := range checked.Few(cgo.KernelNames()) {
		m := openTiny(t, "sd1.safetensors", Options{Type: "f32", Kernels: kernels})
		r := hiresRequest(first)
		latent := latentOf(t, m, r, nil)
		t.Logf("relative RMS error %.2g", relativeRMS(latent.Data, ref.f32("pass.latent")))
		requireClose(t, latent.Data, ref.f32("pass.latent"), 1e-4, "latent")

		var events []string
		var draft *Image
		r.KeepHiresInput = true
		r.OnEvent = func(e Event) error {
			events = append(events, fmt.Sprintf("%s %d %d/%d", e.Stage, e.Pass, e.Index, e.Of))
			if e.Stage == StageDraft {
				draft = e.Image
			}
			return nil
		}
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		requirePixels(t, result.Images[0].Image, ref.tensor("pass.pixels", "U8").Data, 1)
		requirePixels(t, draft.Image, first.tensor("sd1.pixels", "U8").Data, 1)
		require.NotContains(t, text(draft.Params), "Hires")
		require.Equal(t, "text 0 1/1, text 0 1/1, sample 0 1/5, sample 0 2/5, sample 0 3/5, sample 0 4/5, sample 0 5/5, decode 0 1/1, "+
			"draft 0 1/1, sample 1 1/4, sample 1 2/4, sample 1 3/4, sample 1 4/4, decode 1 1/1, image 0 1/1", strings.Join(events, ", "))
		require.Contains(t, text(result.Images[0].Params), "Size: 64x64, Denoising strength: 0.7, Hires upscale: 2, Hires steps: 4, Hires upscaler: Latent, Model")
	}
}

// Several stages, every upscaler, sizes and strengths of all kinds.
func TestStages(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	name := attach(t, m, openESRGAN(t, "x2.safetensors", Options{}))
	draw := func(change func(*Request)) Image {
		t.Helper()
		r := Request{Prompt: "a", Width: 32, Height: 16, Steps: 2, Sampler: "euler", Seed: 1, NegativePrompt: "b"}
		change(&r)
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		return result.Images[0]
	}
	seen := map[string]string{}
	for _, name := range Upscalers() {
		img := draw(func(r *Request) { r.Hires = []HiresPass{{Scale: 1.5, Upscaler: name, Strength: Float(0)}} })
		require.Equal(t, image.Pt(48, 24), img.Image.Rect.Size())
		if other, ok := seen[string(img.Image.Pix)]; ok { // the same where pictures become larger
			require.Equal(t, "latent latent-antialiased", other+" "+name)
		}
		seen[string(img.Image.Pix)] = name
		require.NotContains(t, text(img.Params), "Hires steps")
	}
	require.Greater(t, len(seen), 6)

	img := draw(func(r *Request) {
		r.Hires = []HiresPass{{Scale: 2}, {Width: 96, Height: 96, Upscaler: name, Strength: Float(0.3), Steps: 1, Sampler: "heun", Schedule: "karras", Guidance: Float(2)}}
	})
	require.Equal(t, image.Pt(96, 96), img.Image.Rect.Size())
	require.Contains(t, text(img.Params), "Denoising strength: 0.7, Hires upscale: 2, Hires upscaler: Latent, Hires 2 denoising strength: 0.3, "+
		"Hires 2 resize: 96x96, Hires 2 steps: 1, Hires 2 upscaler: x2, Hires 2 sampler: Heun, Hires 2 schedule type: Karras, Hires 2 CFG Scale: 2, ")

	// A picture to begin with, then a pass.
	img = draw(func(r *Request) { r.Image, r.Hires = slopes(40, 24), []HiresPass{{Upscaler: "Lanczos"}} })
	require.Contains(t, text(img.Params), "Denoising strength: 0.75, Hires denoising strength: 0.7, Hires upscale: 2, Hires upscaler: Lanczos")
	require.Equal(t, image.Pt(64, 32), img.Image.Rect.Size())
}

func TestStageProblems(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	name := attach(t, m, openESRGAN(t, "x2.safetensors", Options{}))
	for want, stage := range map[string]HiresPass{
		"Hires[1].Scale: must be more than 0, such as 2, got NaN":              {Scale: nan()},
		"Hires[1].Scale: must be more than 0, such as 2, got -1":               {Scale: -1},
		"Hires[1].Scale: 0.01 times 32x32 is 0x0 pixels":                       {Scale: 0.01},
		"Hires[1].Scale: 500 times 32x32 is 16000x16000 pixels":                {Scale: 500},
		"Hires[1].Scale: can't be combined with a size":                        {Scale: 2, Width: 64, Height: 64},
		"Hires[1].Height: must be a multiple of 8 from 8 to 8192, got 0":       {Width: 64},
		"Hires[1].Width: must be a multiple of 8 from 8 to 8192, got 65":       {Width: 65, Height: 64},
		"Hires[1].Upscaler: \"latin\" is not known; there are latent, latent-": {Upscaler: "latin"},
		"Hires[1].Strength: must be 0 to 1, got 1.5":                           {Strength: Float(1.5)},
		"Hires[1].Strength: must be 0 to 1, got NaN":                           {Strength: Float(nan())},
		"Hires[1].Strength: 0.01 makes the 20 steps the last of 2000":          {Strength: Float(0.01)},
		"Hires[1].Steps: must be 1 to 1000, got -1":                            {Steps: -1},
		"Hires[1].Guidance: must be 0 to 1000, got -1":                         {Guidance: Float(-1)},
		"Hires[1].Sampler: ":  {Sampler: "hein"},
		"Hires[1].Schedule: ": {Schedule: "carrots"},
	} {
		_, err := m.Generate(context.Background(), Request{Width: 32, Height: 32, Hires: []HiresPass{{Scale: 1}, stage}})
		var e *RequestError
		require.True(t, errors.As(err, &e), want)
		require.Contains(t, err.Error(), want)
	}
	_, err := m.Generate(context.Background(), Request{Hires: make([]HiresPass, 17)})
	require.ErrorContains(t, err, "Hires: must be at most 16 passes, got 17")
	_, err = m.Generate(context.Background(), Request{Image: slopes(8, 8), Mask: slopes(8, 8), Hires: make([]HiresPass, 1)})
	require.ErrorContains(t, err, "Hires: none with a Mask")
	stop := errors.New("enough")
	for _, stage := range []Stage{StageDraft, StageUpscale} {
		_, err = m.Generate(context.Background(), Request{Width: 8, Height: 8, Steps: 1, KeepHiresInput: true, Hires: []HiresPass{{Upscaler: name}}, OnEvent: func(e Event) error {
			if e.Stage == stage {
				return stop
			}
			return nil
		}})
		require.ErrorIs(t, err, stop)
	}
}

func nan() float64 { var zero float64; return zero / zero }
