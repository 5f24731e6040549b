package sd

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
)

// openDrawing opens a model that draws without text, with random weights.
func openDrawing(t testing.TB, name string, o Options) *Model {
	t.Helper()
	m, err := Open(filepath.Join(pixelFolder, name), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// lowPicture is the reference's picture to enlarge.
func lowPicture(ref reference) *image.NRGBA {
	data := ref.tensor("upsampler.low", "U8").Data
	img := image.NewNRGBA(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		img.SetNRGBA(i%8, i/8, color.NRGBA{data[i], data[64+i], data[128+i], 255})
	}
	return img
}

// Samples of models without text against the diffusers library and guided diffusion's
// formulas (testdata/pixel/pipelines.py).
func TestPixelPipelines(t *testing.T) {
	ref := readReference(t, pixelFolder, "pipelines.safetensors")
	for _, c := range []struct {
		model, want string
		request     Request
	}{
		{"ddpm", "ddpm.large", Request{Sampler: "ddpm_large", Schedule: "respaced", Steps: 6}},
		{"ddpm", "ddpm.ddim", Request{Sampler: "ddim", Schedule: "trailing", Steps: 5}},
		{"consistency", "consistency.1", Request{Class: "3"}},
		{"consistency", "consistency.2", Request{Class: "3", Steps: 2}},
		{"guided.safetensors", "guided.3", Request{Class: "3", Sampler: "ddpm", Schedule: "6"}},
		{"upsampler.safetensors", "upsampler.large", Request{Image: lowPicture(ref), Sampler: "ddpm", Schedule: "6"}},
		{"upsampler.safetensors", "upsampler.noised", Request{Image: lowPicture(ref), Sampler: "ddpm", Schedule: "6", NoiseLevel: Int(300)}},
		{"dit", "dit.guided", Request{Class: "3", Sampler: "ddpm", Schedule: "6", TAESD: "tiny", Width: 64, Height: 64}},
		{"enlarging", "enlarging.ddim", Request{Image: lowPicture(ref), Sampler: "ddim", Schedule: "trailing", Steps: 5, Width: 16, Height: 16}},
	} {
		t.Run(c.want, func(t *testing.T) {
			m := openDrawing(t, c.model, Options{Type: "f32"})
			r := c.request
			if r.Seed = 7; r.Width == 0 {
				r.Width, r.Height = 16, 16
			}
			if r.TAESD != "" { // whose latents nothing else decodes
				tiny, err := OpenTAESD("../testdata/taesd/tiny.safetensors", Options{})
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, tiny.Close()) })
				require.NoError(t, m.Attach(tiny))
			}
			latent := latentOf(t, m, r, nil)
			t.Logf("relative RMS error %.2g", relativeRMS(latent.Data, ref.f32(c.want)))
			requireClose(t, latent.Data, ref.f32(c.want), 1e-3, c.want)
		})
	}
}

// What does not suit a model without text is refused, with what would be right.
func TestPixelModelsRefuse(t *testing.T) {
	for _, c := range []struct {
		model, want string
		request     Request
	}{
		{"ddpm", "Prompt: the model takes no text: it draws what it was trained on", Request{Prompt: "a fox"}},
		{"ddpm", "Class: the model has no classes", Request{Class: "3"}},
		{"ddpm", "Guidance: the model was not trained without classes, which guidance needs: must be 1, got 4", Request{Guidance: Float(4)}},
		{"ddpm", "DeepCache: the model's network has no inner blocks to reuse", Request{DeepCache: 2}},
		{"ddpm", "ClipSkip: models that draw without text have no use for it", Request{ClipSkip: 2}},
		{"ddpm", "Width: must be a multiple of 2 from 2 to 8192, got 17", Request{Width: 17}},
		{"guided.safetensors", "Prompt: the model takes no text: a Class says what it draws", Request{Prompt: "a fox", Class: "1"}},
		{"guided.safetensors", "Class: the model draws by class, which must be given: 0 to 9", Request{}},
		{"guided.safetensors", "Class: the model draws by class, which must be given: 0 to 9", Request{Class: "none"}},
		{"guided.safetensors", "Class: must be 0 to 9, got 10", Request{Class: "10"}},
		{"guided.safetensors", `Class: must be a number, 0 to 9, because the model's classes have no names, got "fox"`, Request{Class: "fox"}},
		{"upsampler.safetensors", "Image: the model enlarges pictures: it needs one", Request{}},
		{"upsampler.safetensors", "Strength: does not go with a model that enlarges pictures", Request{Image: image.NewNRGBA(image.Rect(0, 0, 8, 8)), Strength: Float(0.5)}},
	} {
		err := openDrawing(t, c.model, Options{}).Check(c.request)
		require.EqualError(t, err, c.want)
	}
	_, err := Open(filepath.Join(pixelFolder, "classifier.safetensors"), Options{})
	require.ErrorContains(t, err, "a classifier guides other models, and draws nothing itself")
}

// What a model is like without being drawn with.
func TestPixelModelsDescribeThemselves(t *testing.T) {
	m := openDrawing(t, "guided.safetensors", Options{})
	n, names := m.Classes()
	require.False(t, m.TakesText())
	require.Equal(t, 10, n)
	require.Empty(t, names)
	require.True(t, openTiny(t, "sd1.safetensors", Options{}).TakesText())
	require.Equal(t, 0.002, math.Round(1e6*openDrawing(t, "consistency", Options{}).Process().SigmaMin())/1e6)
}

// A file's own names of classes are found, and are in what is drawn as numbers. Pictures
// of a batch share passes, and are those that are drawn alone.
func TestClassesInABatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "named.safetensors")
	m, err := convert.Open(filepath.Join(pixelFolder, "guided.safetensors"))
	require.NoError(t, err)
	m.Metadata["sdgo.pixel.labels"] = `["a","b","red fox, Vulpes vulpes","d","e","f","g","h","i","j"]`
	require.NoError(t, convert.Convert(t.Context(), m, path, convert.Options{}))
	require.NoError(t, m.Close())

	named, err := Open(path, Options{Batch: 4})
	require.NoError(t, err)
	defer named.Close()
	r := Request{Class: "Red Fox", Count: 3, Seed: 5, Width: 16, Height: 16, Steps: 3}
	result, err := named.Generate(t.Context(), r)
	require.NoError(t, err)
	require.EqualValues(t, 3, named.Passes(), "one for each step of all")
	for i, img := range result.Images {
		require.Equal(t, "2", img.Params.Class)
		require.Equal(t, "ddim respaced", img.Params.Sampler+" "+img.Params.Schedule)
		alone, err := named.Generate(t.Context(), Request{Class: "2", Seed: 5 + int64(i), Width: 16, Height: 16, Steps: 3})
		require.NoError(t, err)
		require.True(t, slices.Equal(alone.Images[0].Image.Pix, img.Image.Pix))
		other, err := named.Generate(t.Context(), Request{Class: "3", Seed: 5 + int64(i), Width: 16, Height: 16, Steps: 3})
		require.NoError(t, err)
		require.NotEqual(t, other.Images[0].Image.Pix, img.Image.Pix)
	}

	m, err = convert.Open(path)
	require.NoError(t, err)
	m.Metadata["sdgo.pixel.labels"] = `["a"]`
	bad := filepath.Join(t.TempDir(), "bad.safetensors")
	require.NoError(t, convert.Convert(t.Context(), m, bad, convert.Options{}))
	require.NoError(t, m.Close())
	_, err = Open(bad, Options{})
	require.ErrorContains(t, err, "sdgo.pixel.labels must be a JSON list of 10 names")
}

// A cascade: the picture of one model is enlarged by the next, as if it had been drawn
// alone and given to it. Each picture of a batch is.
func TestCascade(t *testing.T) {
	base, up := openDrawing(t, "ddpm", Options{Batch: 2}), openDrawing(t, "upsampler.safetensors", Options{})
	name := attach(t, base, up)
	var events []string
	var drafts []*image.NRGBA
	r := Request{Seed: 3, Steps: 2, Width: 8, Height: 8, Count: 2, Stages: []string{name, name}, StageSteps: 3, KeepStages: true,
		OnEvent: func(e Event) error {
			if e.Picture == 0 {
				events = append(events, fmt.Sprintf("%s %d %d/%d", e.Stage, e.Pass, e.Index, e.Of))
			}
			if e.Stage == StageDraft && e.Picture == 1 {
				drafts = append(drafts, e.Image.Image)
				require.Len(t, e.Image.Params.Stages, len(drafts)-1)
			}
			return nil
		}}
	result, err := base.Generate(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, result.Stages, 2)
	require.Positive(t, result.Stages[0])
	require.GreaterOrEqual(t, result.Sample, result.Stages[0]/2)
	require.Equal(t, []string{"text 0 1/1", "sample 0 1/2", "sample 0 2/2", "decode 0 1/1", "draft 0 1/2", "sample 1 1/3", "sample 1 2/3", "sample 1 3/3", "decode 1 1/1",
		"draft 1 2/2", "sample 2 1/3", "sample 2 2/3", "sample 2 3/3", "decode 2 1/1", "image 0 1/2"}, events)
	size := up.NativeSize()
	require.Equal(t, image.Pt(size, size), result.Images[1].Image.Rect.Size())
	require.Equal(t, []string{name, name}, result.Images[1].Params.Stages)
	require.Equal(t, image.Pt(8, 8), drafts[0].Rect.Size())

	alone, err := base.Generate(t.Context(), Request{Seed: 4, Steps: 2, Width: 8, Height: 8})
	require.NoError(t, err)
	require.True(t, slices.Equal(alone.Images[0].Image.Pix, drafts[0].Pix))
	for i, want := range []*image.NRGBA{drafts[1], result.Images[1].Image} {
		large, err := up.Generate(t.Context(), Request{Seed: 4, Steps: 3, Image: drafts[i]})
		require.NoError(t, err)
		require.True(t, slices.Equal(want.Pix, large.Images[0].Image.Pix), "stage %d", i)
	}
	again, err := base.Generate(t.Context(), result.Images[1].Params.Request)
	require.NoError(t, err)
	require.True(t, slices.Equal(result.Images[1].Image.Pix, again.Images[0].Image.Pix))

	attach(t, base, openDrawing(t, "improved.safetensors", Options{}))
	for want, r := range map[string]Request{
		`Stages: no model "nowhere" is attached`:                                {Stages: []string{"nowhere"}},
		`Stages: "improved" must be a model that enlarges pictures`:             {Stages: []string{"improved"}},
		"StageSteps: must be 0 to 1000, got 1001":                               {Stages: []string{name}, StageSteps: 1001},
		"Stages: must name the models that StageSteps and KeepStages are about": {KeepStages: true},
		"Stages: must be at most 8 models, got 9":                               {Stages: slices.Repeat([]string{name}, 9)},
	} {
		require.EqualError(t, base.Check(r), want)
	}
}

// A preview may be of the noisy sample, which at the end is the picture.
func TestNoisyPreviews(t *testing.T) {
	m := openDrawing(t, "ddpm", Options{})
	var last *image.NRGBA
	previews := map[bool][]byte{}
	for _, noisy := range []bool{false, true} {
		result, err := m.Generate(t.Context(), Request{Seed: 1, Steps: 3, Width: 16, Height: 16, PreviewEvery: 1, PreviewNoisy: noisy, OnEvent: func(e Event) error {
			if e.Preview != nil {
				last = e.Preview
				if e.Index == 1 {
					previews[noisy] = e.Preview.Pix
				}
			}
			return nil
		}})
		require.NoError(t, err)
		require.Equal(t, result.Images[0].Image.Pix, last.Pix)
	}
	require.False(t, slices.Equal(previews[false], previews[true]))
}

// A file may say which sampler and schedule suit its model; conversion keeps that.
func TestPixelModelSaysItsSampler(t *testing.T) {
	says := rewritten(t, filepath.Join(pixelFolder, "improved.safetensors"), nil, map[string]string{"sdgo.pixel.sampler": "ddpm_small", "sdgo.pixel.schedule": "leading", "sdgo.guidance": "2"})
	converted := filepath.Join(t.TempDir(), "converted.gguf")
	w, err := convert.Open(says)
	require.NoError(t, err)
	require.Equal(t, 2.0, w.Guidance)
	require.NoError(t, convert.Convert(t.Context(), w, converted, convert.Options{}))
	require.NoError(t, w.Close())
	for _, path := range []string{says, converted} {
		m, err := Open(path, Options{})
		require.NoError(t, err)
		r, err := m.Generate(t.Context(), Request{Width: 8, Height: 8, Steps: 2})
		require.NoError(t, err)
		require.Equal(t, "ddpm_small ddim_uniform", r.Images[0].Params.Sampler+" "+r.Images[0].Params.Schedule)
		r, err = m.Generate(t.Context(), Request{Width: 8, Height: 8, Steps: 2, Sampler: "heun"})
		require.NoError(t, err)
		require.Equal(t, "heun discrete", r.Images[0].Params.Sampler+" "+r.Images[0].Params.Schedule)
		require.NoError(t, m.Close())
	}
	_, err = convert.Open(rewritten(t, says, nil, map[string]string{"sdgo.pixel.sampler": "eulr"}))
	require.ErrorContains(t, err, `sdgo.pixel.sampler: unknown sampler "eulr"; did you mean "euler"?`)
	_, err = convert.Open(rewritten(t, says, nil, map[string]string{"sdgo.pixel.schedule": "trialing"}))
	require.ErrorContains(t, err, `sdgo.pixel.schedule: unknown schedule "trialing"; did you mean "trailing"?`)
}
