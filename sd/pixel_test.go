package sd

import (
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
	} {
		t.Run(c.want, func(t *testing.T) {
			m := openDrawing(t, c.model, Options{Type: "f32"})
			r := c.request
			r.Seed, r.Width, r.Height = 7, 16, 16
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
