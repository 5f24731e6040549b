package sd

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPreviews(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32"})
	previews := func(change func(*Request)) map[string]image.Point {
		all := map[string]image.Point{}
		r := pipelineRequest(ref)
		r.OnEvent = func(e Event) error {
			if e.Preview != nil {
				require.Equal(t, StageSample, e.Stage)
				all[fmt.Sprintf("%d/%d", e.Pass, e.Index)] = e.Preview.Rect.Size()
			}
			return nil
		}
		change(&r)
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		if len(r.Hires) == 0 && r.TAESD == "" {
			requirePixels(t, result.Images[0].Image, ref.tensor("sd1.pixels", "U8").Data, 2)
		}
		return all
	}
	require.Empty(t, previews(func(*Request) {}))
	require.Equal(t, map[string]image.Point{"0/2": {X: 8, Y: 8}, "0/4": {X: 8, Y: 8}}, previews(func(r *Request) { r.PreviewEvery = 2 }))
	require.Equal(t, map[string]image.Point{"0/3": {X: 8, Y: 8}, "1/3": {X: 16, Y: 16}}, previews(func(r *Request) {
		r.PreviewEvery, r.Hires = 3, []HiresPass{{}}
	}))
	tiny := attach(t, m, openTAESD(t, filepath.Join(taesdFolder, "tiny.safetensors"), Options{}))
	require.Equal(t, map[string]image.Point{"0/5": {X: 64, Y: 64}}, previews(func(r *Request) { r.PreviewEvery, r.TAESD = 5, tiny }))

	m = withoutEncoder(t, Options{Type: "f32"})
	require.Len(t, previews(func(r *Request) { r.PreviewEvery = 1 }), 5, "fitted to what the decoder makes of noise")
	_, err := m.Generate(context.Background(), Request{PreviewEvery: -1})
	require.ErrorContains(t, err, "PreviewEvery: must be 0 to 1000, got -1")
}
