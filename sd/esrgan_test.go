package sd

import (
	"context"
	"errors"
	"image"
	"image/color"
	"math"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/internal/fixture"
	"github.com/sdgo/sdgo/sd/tensor"
)

const upscaleFolder = "../testdata/upscale"

func openESRGAN(t *testing.T, name string, o Options) *ESRGAN {
	t.Helper()
	u, err := OpenESRGAN(filepath.Join(upscaleFolder, name), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, u.Close()) })
	return u
}

func TestUpscalersAgreeWithTorch(t *testing.T) {
	ref := readReference(t, upscaleFolder, "reference.safetensors")
	for name, want := range map[string]string{"x4.pth": "x4", "x4-older.pth": "x4", "x2.safetensors": "x2"} {
		for _, w := range ways() {
			if w.options.Type == "bf16" {
				continue // the weights are exact in float16 alone
			}
			t.Run(name+" "+w.String(), func(t *testing.T) {
				requireUpscaled(t, ref, openESRGAN(t, name, w.options), want, w.bound)
			})
		}
	}
}

// The compact networks: a tiny one, and the published animevideov3 where it is there.
func TestCompactUpscalersAgreeWithTorch(t *testing.T) {
	ref, image := readReference(t, upscaleFolder, "compact.safetensors"), readReference(t, upscaleFolder, "reference.safetensors")
	x := tensor.Of(image.f32("image"), 3, 10, 14)
	for _, c := range []struct {
		name, path string
		scale      int
	}{
		{"compact", filepath.Join(upscaleFolder, "compact.pth"), 2},
		{"animevideov3", fixture.Real(t, "esrgan/realesr-animevideov3-x4.safetensors"), 4},
	} {
		if c.path == "" {
			continue
		}
		for _, w := range ways() {
			if w.options.Type == "bf16" {
				continue // the weights are exact in float16 alone
			}
			u, err := OpenESRGAN(c.path, w.options)
			require.NoError(t, err)
			require.Equal(t, c.scale, u.Scale())
			got := make([]float32, len(ref.f32(c.name)))
			require.NoError(t, u.Network().Run(context.Background(), []cgo.Input{{Name: "image", Shape: x.Batch(1), F32: x.Data}},
				[]cgo.Output{{Name: "image", Data: got}}))
			t.Logf("%s, %s: relative RMS error %.2g", c.name, w, relativeRMS(got, ref.f32(c.name)))
			requireClose(t, got, ref.f32(c.name), max(w.bound, 2.5e-5), c.name)
			large, err := u.UpscaleTo(context.Background(), slopes(70, 30), 100, 50)
			require.NoError(t, err)
			require.Equal(t, 100, large.Rect.Dx())
			require.NoError(t, u.Close())
		}
	}
}

// requireUpscaled runs a network on the reference's picture.
func requireUpscaled(t *testing.T, ref reference, u *ESRGAN, want string, bound float64) {
	t.Helper()
	require.Equal(t, map[string]int{"x4": 4, "x2": 2}[want], u.Scale())
	x := tensor.Of(ref.f32("image"), 3, 10, 14).PixelUnshuffle(map[string]int{"x4": 1, "x2": 2}[want])
	got := make([]float32, len(ref.f32(want)))
	require.NoError(t, u.Network().Run(context.Background(), []cgo.Input{{Name: "image", Shape: x.Batch(1), F32: x.Data}},
		[]cgo.Output{{Name: "image", Data: got}}))
	t.Logf("relative RMS error %.2g", relativeRMS(got, ref.f32(want)))
	requireClose(t, got, ref.f32(want), max(bound, 2.5e-5), want)
}

// slopes is a picture whose colours change everywhere.
func slopes(width, height int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetNRGBA(x, y, color.NRGBA{uint8(3 * x), uint8(5 * y), uint8(x * y), uint8(255 - x)})
		}
	}
	return img
}

// In tiles a picture is nearly the same as whole: the tiny networks see some 34
// pixels far, and what comes nearer to a tile's rim than 8 isn't used.
func TestUpscaleInTiles(t *testing.T) {
	img := slopes(151, 90)
	for _, name := range []string{"x4.pth", "x2.safetensors"} {
		u := openESRGAN(t, name, Options{})
		u.Tile = 256
		upscale := func() *image.NRGBA {
			larger, err := u.Upscale(context.Background(), img)
			require.NoError(t, err)
			return larger
		}
		whole := upscale()
		require.Equal(t, image.Pt(151*u.Scale(), 90*u.Scale()), whole.Rect.Size())
		require.InDelta(t, 255-150, whole.NRGBAAt(151*u.Scale()-1, 3).A, 1)

		tiles := 0
		u.Tile, u.OnTile = 64, func(index, of int) error {
			tiles++
			require.Equal(t, tiles, index)
			require.Equal(t, 8, of)
			return nil
		}
		tiled := upscale()
		require.Equal(t, 8, tiles)
		sum, worst := 0.0, 0.0
		for i, v := range whole.Pix {
			d := math.Abs(float64(v) - float64(tiled.Pix[i]))
			sum, worst = sum+d, max(worst, d)
		}
		t.Logf("%s: %g levels at most, %.2g on average", name, worst, sum/float64(len(whole.Pix)))
		require.LessOrEqual(t, worst, 2.0)
		require.LessOrEqual(t, sum/float64(len(whole.Pix)), 0.01)
	}
}

// noFile is what the system says of a file that is not there.
var noFile = syscall.ENOENT.Error()

func TestUpscaleErrors(t *testing.T) {
	_, err := OpenESRGAN(filepath.Join(netsFolder, "sd1.safetensors"), Options{})
	require.ErrorIs(t, err, convert.ErrUnrecognized)
	require.ErrorContains(t, err, "expected an ESRGAN upscaler")
	_, err = OpenESRGAN(filepath.Join(upscaleFolder, "nothing.pth"), Options{})
	require.ErrorContains(t, err, "nothing.pth: "+noFile)

	u := openESRGAN(t, "x4.pth", Options{})
	_, err = u.Upscale(context.Background(), image.NewNRGBA(image.Rect(0, 0, 1, 9000)))
	require.ErrorContains(t, err, "a picture of 1x9000 pixels, 4 times as wide and high: at most 32768 a side")
	_, err = u.Upscale(context.Background(), image.NewNRGBA(image.Rectangle{}))
	require.ErrorContains(t, err, "0x0")
	for _, c := range []struct {
		img           image.Image
		width, height int
		want          string
	}{
		{slopes(8, 8), 1 << 31, 1 << 31, "at most 32768 a side"},
		{slopes(8, 8), 32768, 32768, "268435456 in all"},
		{slopes(8, 8), 100000, 1, "at most 32768 a side"},
		{slopes(8, 8), -5, 8, "at least one pixel, got -5x8"},
		{image.NewNRGBA(image.Rectangle{}), 8, 8, "0x0"},
		{image.Black, 8, 8, "got 2000000000x2000000000 pixels"}, // of endless size
	} {
		_, err = u.UpscaleTo(context.Background(), c.img, c.width, c.height)
		require.ErrorContains(t, err, c.want)
	}
	u.Tile = 8
	_, err = u.Upscale(context.Background(), slopes(8, 8))
	require.ErrorContains(t, err, "the side of tiles must be 64 to 2048 pixels, got 8")

	u.Tile = 0
	stop := errors.New("enough")
	u.OnTile = func(int, int) error { return stop }
	_, err = u.Upscale(context.Background(), slopes(8, 8))
	require.ErrorIs(t, err, stop)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = u.Upscale(ctx, slopes(8, 8))
	require.ErrorIs(t, err, context.Canceled)
}

// To a size in between, beyond the network's scale, and smaller.
func TestUpscaleTo(t *testing.T) {
	u := openESRGAN(t, "x2.safetensors", Options{})
	runs := 0
	u.OnTile = func(int, int) error { runs++; return nil }
	for _, c := range []struct{ width, height, runs int }{{40, 24, 1}, {33, 20, 1}, {60, 36, 2}, {400, 240, 3}, {20, 12, 0}, {5, 6, 0}} {
		runs = 0
		img, err := u.UpscaleTo(context.Background(), slopes(20, 12), c.width, c.height)
		require.NoError(t, err)
		require.Equal(t, image.Pt(c.width, c.height), img.Rect.Size())
		require.Equal(t, c.runs, runs, c)
	}
}

func TestUpscaledTransparency(t *testing.T) {
	u := openESRGAN(t, "x4.pth", Options{})
	img := slopes(16, 16)
	for i := range img.Pix {
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	large, err := u.Upscale(context.Background(), img)
	require.NoError(t, err)
	require.True(t, large.Opaque())
	for y := range 16 { // the left half is transparent
		for x := range 8 {
			img.Pix[img.PixOffset(x, y)+3] = 0
		}
	}
	faded, err := u.Upscale(context.Background(), img)
	require.NoError(t, err)
	for x, want := range map[int]uint8{0: 0, 20: 0, 43: 255, 63: 255} {
		require.Equal(t, want, faded.NRGBAAt(x, 30).A, x)
		require.Equal(t, large.NRGBAAt(x, 30).R, faded.NRGBAAt(x, 30).R, "the colours don't depend on it")
	}
	require.InDelta(t, 128, faded.NRGBAAt(31, 30).A, 64)
}
