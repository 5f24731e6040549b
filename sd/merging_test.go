package sd

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// Off is off to the bit, and a picture stays near the one in full. The bounds are a little below what
// was measured, of random weights. The networks are checked against the authors'
// merging in package cgo.
func TestTokenMerging(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	draw := func(change func(*Request)) []Image {
		r := pipelineRequest(ref)
		change(&r)
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		return result.Images
	}
	with := func(part float64) Image { return draw(func(r *Request) { r.TokenMerging = part })[0] }
	whole := with(0)
	require.NotContains(t, text(whole.Params), "Token merging")
	require.Contains(t, text(with(0.3).Params), ", Token merging ratio: 0.3, ")
	for _, c := range []struct{ part, dB float64 }{{0.25, 18.5}, {0.5, 17.5}, {0.75, 17.5}} {
		got := with(c.part).Image
		loss := psnr(whole.Image, got)
		t.Logf("%g: %.1f dB", c.part, loss)
		require.GreaterOrEqual(t, loss, c.dB, c.part)
		require.NotEqual(t, whole.Image.Pix, got.Pix)
	}
	require.Equal(t, with(0.75).Image.Pix, with(0.9).Image.Pix, "three of four at most")

	// Beside everything else, and in a batch as alone.
	for name, change := range map[string]func(*Request){
		"alone": func(*Request) {}, "hires": func(r *Request) { r.Hires = []HiresPass{{Scale: 1.5, Steps: 2}} },
		"sides": func(r *Request) { r.Width, r.Height = 24, 40 }, "narrow": func(r *Request) { r.Width = 8 },
		"perturbed": func(r *Request) { r.Guider = "pag" }, "and": func(r *Request) { r.Prompt = "a cat AND a dog :0.5" },
		"cache": func(r *Request) { r.Cache = "easy" },
	} {
		merging := func(r *Request) {
			change(r)
			r.TokenMerging = 0.5
		}
		two := draw(func(r *Request) {
			merging(r)
			r.Count = 2
		})
		require.Equal(t, draw(merging)[0].Image.Pix, two[0].Image.Pix, name)
		second := draw(func(r *Request) { *r = two[1].Params.Request })
		require.Equal(t, two[1].Image.Pix, second[0].Image.Pix, name)
	}
}

func TestTokenMergingRefuses(t *testing.T) {
	for want, c := range map[string]struct {
		file string
		r    Request
	}{
		"TokenMerging: must be 0 to 0.9, got 1":                         {"sd1.safetensors", Request{TokenMerging: 1}},
		"TokenMerging: must be 0 to 0.9, got -0.1":                      {"sd1.safetensors", Request{TokenMerging: -0.1}},
		"TokenMerging: does not go with DeepCache":                      {"sd1.safetensors", Request{TokenMerging: 0.5, DeepCache: 2}},
		"TokenMerging: does not go with first_block":                    {"sd1.safetensors", Request{TokenMerging: 0.5, Cache: "first_block"}},
		"GuideMethod: moments does not go with token merging":           {"sd1.safetensors", Request{TokenMerging: 0.5, Guides: []Guide{{Kind: GuideColour, Colour: "#112233"}}}},
		"TokenMerging: the model's network does not merge tokens, only": {"../pixel/ddpm", Request{TokenMerging: 0.5}},
	} {
		_, err := openTiny(t, c.file, Options{}).Generate(context.Background(), c.r)
		require.ErrorContains(t, err, want)
	}
	_, err := openTiny(t, "sd1.safetensors", Options{Kernels: "ggml"}).Generate(context.Background(), Request{TokenMerging: 0.5, Width: 16, Height: 16, Steps: 1})
	require.ErrorContains(t, err, "tokens are merged by this library's kernels alone")
}
