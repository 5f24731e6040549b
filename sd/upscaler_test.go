package sd

import (
	"context"
	"image"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
)

// upscalerFolder has a tiny model that enlarges pictures as a text says, and what the
// diffusers library's pipelines draw (testdata/x4/make.py).
const upscalerFolder = "../testdata/x4"

// smallPicture is a reference's picture, [height, width, 3].
func smallPicture(ref reference, name string) *image.NRGBA {
	shape, data := ref.shape(name), ref.tensor(name, "U8").Data
	img := image.NewNRGBA(image.Rect(0, 0, int(shape[1]), int(shape[0])))
	for i := range len(data) / 3 {
		copy(img.Pix[4*i:], data[3*i:3*i+3])
		img.Pix[4*i+3] = 255
	}
	return img
}

// requireLevels requires that pictures differ by at most one of 255 levels.
func requireLevels(t *testing.T, got, want *image.NRGBA) {
	t.Helper()
	require.Equal(t, want.Rect, got.Rect)
	off := 0
	for i, v := range want.Pix {
		d := max(v, got.Pix[i]) - min(v, got.Pix[i])
		require.LessOrEqual(t, d, uint8(1), "at %d", i)
		off += int(d)
	}
	t.Logf("%d of %d values differ by 1", off, len(want.Pix))
	require.Less(t, off, len(want.Pix)/50)
}

func openUpscaler(t *testing.T, name string, o Options) *Model {
	t.Helper()
	m, err := Open(filepath.Join(upscalerFolder, name), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func upscaling(ref reference) Request {
	return Request{Prompt: "a red apple on a table", NegativePrompt: "blurry", Image: smallPicture(ref, "x4.low"), Seed: 7, Steps: 5, Guidance: Float(4),
		Sampler: "ddim", Schedule: "trailing"}
}

// The x4 upscaler in both layouts against the diffusers library's
// StableDiffusionUpscalePipeline: text, level of noise, each picture's own noise on the small
// one, v-prediction, and an autoencoder that enlarges by 4.
func TestUpscalerByText(t *testing.T) {
	ref := readReference(t, upscalerFolder, "reference.safetensors")
	for _, name := range []string{"x4", "x4.safetensors"} {
		m := openUpscaler(t, name, Options{Type: "f32"})
		for want, edit := range map[string]func(r *Request){
			"20":    func(*Request) {},
			"other": func(r *Request) { r.Seed = 8 },
			"0":     func(r *Request) { r.NoiseLevel = Int(0) },
			"300":   func(r *Request) { r.NoiseLevel, r.Guidance = Int(300), Float(1) },
		} {
			r := upscaling(ref)
			edit(&r)
			latent := latentOf(t, m, r, nil)
			t.Logf("%s %s: relative RMS error %.2g", name, want, relativeRMS(latent.Data, ref.f32("x4.latent."+want)))
			requireClose(t, latent.Data, ref.f32("x4.latent."+want), 1e-3, name+" "+want)
		}
		out, err := m.Generate(context.Background(), upscaling(ref))
		require.NoError(t, err)
		requireLevels(t, out.Images[0].Image, smallPicture(ref, "x4.pixels"))
		require.Equal(t, 20, *out.Images[0].Params.NoiseLevel)
	}
}

// Each picture of a request has the noise of its own seed, also where they are drawn together.
func TestUpscalerNoiseIsThePictures(t *testing.T) {
	ref := readReference(t, upscalerFolder, "reference.safetensors")
	one, together := openUpscaler(t, "x4", Options{}), openUpscaler(t, "x4", Options{Batch: 2})
	r := upscaling(ref)
	r.Steps, r.Count = 2, 2
	both, err := together.Generate(context.Background(), r)
	require.NoError(t, err)
	for i := range both.Images {
		r.Seed, r.Count = 7+int64(i), 1
		alone, err := one.Generate(context.Background(), r)
		require.NoError(t, err)
		require.Equal(t, alone.Images[0].Image.Pix, both.Images[i].Image.Pix)
	}
	require.NotEqual(t, both.Images[0].Image.Pix, both.Images[1].Image.Pix)
}

// What such a model is, and what does not suit it.
func TestUpscalerByTextRefuses(t *testing.T) {
	ref := readReference(t, upscalerFolder, "reference.safetensors")
	m := openUpscaler(t, "x4", Options{})
	require.True(t, m.TakesText())
	require.Equal(t, []any{9.0, 75, 20, 4, true}, []any{m.pipeline.Defaults.Guidance, m.pipeline.Defaults.Steps, m.pipeline.Defaults.NoiseLevel, m.pipeline.Defaults.EnlargesBy, m.pipeline.Defaults.Enlarges})
	w := m.host().Weights
	require.Equal(t, []any{"Stable Diffusion 2.x that enlarges pictures", "v", convert.SD2}, []any{w.Description, w.Prediction, w.Family})
	require.InDelta(t, 1-0.0001, w.AlphasCumprod[0], 1e-6)
	for want, edit := range map[string]func(r *Request){
		"Image: the model enlarges pictures: it needs one":                func(r *Request) { r.Image = nil },
		"Strength: does not go with a model that enlarges pictures":       func(r *Request) { r.Strength = Float(0.5) },
		"NoiseLevel: must be 0 to 350 of this model, got 351":             func(r *Request) { r.NoiseLevel = Int(351) },
		"Hires: a model made for inpainting, or for editing or enlarging": func(r *Request) { r.Hires = []HiresPass{{Scale: 2}} },
		"Refiner: ": func(r *Request) { r.Refiner = "other" },
	} {
		r := upscaling(ref)
		edit(&r)
		require.ErrorContains(t, m.Check(r), want)
	}
	r := upscaling(ref)
	r.Steps, r.Width, r.Height = 1, 80, 48 // of other proportions
	out, err := m.Generate(context.Background(), r)
	require.NoError(t, err)
	require.Equal(t, image.Pt(80, 48), out.Images[0].Image.Rect.Size())
}

// It is a stage of a cascade, too, with the request's text; alone it draws the same picture.
func TestUpscalerByTextIsAStage(t *testing.T) {
	base, up := openDrawing(t, "ddpm", Options{}), openUpscaler(t, "x4", Options{})
	require.NoError(t, base.Attach(up))
	var drafts []Image
	r := Request{Steps: 2, Seed: 5, Stages: []string{up.Name()}, StageSteps: 2, KeepStages: true, NoiseLevel: Int(50), Sampler: "ddim", Schedule: "trailing",
		OnEvent: func(e Event) error {
			if e.Stage == StageDraft {
				drafts = append(drafts, *e.Image)
			}
			return nil
		}}
	out, err := base.Generate(context.Background(), r)
	require.NoError(t, err)
	require.Len(t, drafts, 1)
	require.Equal(t, drafts[0].Image.Rect.Size().Mul(4), out.Images[0].Image.Rect.Size())
	alone, err := up.Generate(context.Background(), Request{Image: drafts[0].Image, Steps: 2, Seed: 5, NoiseLevel: Int(50), Sampler: "ddim", Schedule: "trailing"})
	require.NoError(t, err)
	require.Equal(t, alone.Images[0].Image.Pix, out.Images[0].Image.Pix)
}

// LDMSuperResolutionPipeline: a UNet without conditions on the small picture beside the
// latent, and a VQ autoencoder.
func TestLatentSuperResolution(t *testing.T) {
	ref := readReference(t, upscalerFolder, "reference.safetensors")
	m := openDrawing(t, "enlarging", Options{Type: "f32"})
	for _, eta := range []string{"0", "1"} {
		r := Request{Image: smallPicture(ref, "ldmsr.low"), Seed: 7, Steps: 5, Sampler: "ddim", Schedule: "trailing"}
		if eta == "1" {
			r.SamplerOptions = map[string]float64{"eta": 1}
		}
		latent := latentOf(t, m, r, nil)
		t.Logf("relative RMS error %.2g", relativeRMS(latent.Data, ref.f32("ldmsr.latent."+eta)))
		requireClose(t, latent.Data, ref.f32("ldmsr.latent."+eta), 1e-3, eta)
		if eta == "0" {
			out, err := m.Generate(context.Background(), r)
			require.NoError(t, err)
			requireLevels(t, out.Images[0].Image, smallPicture(ref, "ldmsr.pixels.0"))
		}
	}
}
