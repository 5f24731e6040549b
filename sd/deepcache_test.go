package sd

import (
	"context"
	"image"
	"testing"

	"github.com/stretchr/testify/require"
)

// Off is off to the bit, and what is reused stays near the picture in full:
// nearest where the least is reused. The bounds are a little below what was
// measured.
func TestDeepCache(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	draw := func(change func(*Request)) Image {
		r := pipelineRequest(ref)
		r.Steps = 12
		change(&r)
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		return result.Images[0]
	}
	with := func(n int) Image { return draw(func(r *Request) { r.DeepCache = n }) }
	whole := with(0)
	require.Equal(t, whole.Image.Pix, with(1).Image.Pix)
	require.NotContains(t, text(whole.Params), "Deep cache")
	require.Contains(t, text(with(3).Params), ", Deep cache: 3, ")

	var last *image.NRGBA
	for _, c := range []struct {
		every int
		dB    float64
	}{{2, 26}, {3, 24.5}, {12, 23}} {
		got := with(c.every).Image
		loss := psnr(whole.Image, got)
		t.Logf("every %d: %.1f dB", c.every, loss)
		require.GreaterOrEqual(t, loss, c.dB, "every %d", c.every)
		require.NotEqual(t, whole.Image.Pix, got.Pix)
		last = got
	}

	// Texts of different lengths go through the UNet one by one, each with what
	// is kept of its own.
	long := func(n int) *image.NRGBA {
		return draw(func(r *Request) { r.Prompt, r.DeepCache = ref.file.Metadata["long"], n }).Image
	}
	loss := psnr(long(0), long(2))
	t.Logf("texts of different lengths: %.1f dB", loss)
	require.GreaterOrEqual(t, loss, 25.5)
	// More steps than one in full: nothing is computed behind the first.
	require.Equal(t, last.Pix, with(13).Image.Pix)
	_, err := m.Generate(context.Background(), Request{DeepCache: -1})
	require.ErrorContains(t, err, "DeepCache: must be 0 to 1000, got -1")
}

// Pictures of a batch share no pass of the UNet then, and are those drawn alone.
func TestDeepCacheTogether(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	r := Request{Prompt: "a", Width: 16, Height: 16, Steps: 4, Count: 2, DeepCache: 2, Seed: 7}
	both, err := m.Generate(context.Background(), r)
	require.NoError(t, err)
	for i, got := range both.Images {
		r.Count, r.Seed = 1, int64(7+i)
		alone, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		require.Equal(t, alone.Images[0].Image.Pix, got.Image.Pix)
	}
}
