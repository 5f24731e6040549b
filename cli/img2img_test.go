package cli

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func writePNG(t *testing.T, folder, name string, img image.Image) string {
	path := filepath.Join(folder, name)
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o666))
	return path
}

// start is a picture of slopes, half a mask its right half.
func start(width, height int) (picture *image.NRGBA, half *image.Gray) {
	picture, half = image.NewNRGBA(image.Rect(0, 0, width, height)), image.NewGray(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			picture.SetNRGBA(x, y, color.NRGBA{uint8(3 * x), uint8(4 * y), 100, 255})
			if x >= width/2 {
				half.SetGray(x, y, color.Gray{255})
			}
		}
	}
	return picture, half
}

func TestImg2Img(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	img, _ := start(60, 36)
	in, out := writePNG(t, folder, "in.png", img), filepath.Join(folder, "out.png")
	o := sdgo(t, "img2img", "-m", model, "-i", in, "-p", "a fox", "--strength", "0.5", "--steps", "4", "-s", "1", "-o", out)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.errors, "step 3 of 3")
	require.Equal(t, image.Rect(0, 0, 64, 40), readPNG(t, out).Bounds(), "to the nearest multiple of 8")
	o = sdgo(t, "info", out)
	require.Contains(t, o.out, "Denoising strength: 0.5")

	// From standard input the same.
	data, err := os.ReadFile(in)
	require.NoError(t, err)
	var piped, stderr bytes.Buffer
	args := []string{"img2img", "-m", model, "-i", "-", "-p", "a fox", "--strength", "0.5", "--steps", "4", "-s", "1", "-o", "-"}
	require.Equal(t, ExitOK, Run(context.Background(), args, bytes.NewReader(data), &piped, &stderr), stderr.String())
	drawn, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, drawn, piped.Bytes())
}

func TestInpaint(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	img, half := start(64, 32)
	in, mask, out := writePNG(t, folder, "in.png", img), writePNG(t, folder, "mask.png", half), filepath.Join(folder, "out.png")
	draw := func(args ...string) image.Image {
		o := sdgo(t, append([]string{"inpaint", "-q", "-m", model, "-i", in, "-p", "a fox", "--steps", "2", "-s", "1", "-o", out}, args...)...)
		require.Equal(t, ExitOK, o.code, o.errors)
		return readPNG(t, out)
	}
	same := func(drawn image.Image, at image.Rectangle, shift image.Point) (n int) {
		for y := at.Min.Y; y < at.Max.Y; y++ {
			for x := at.Min.X; x < at.Max.X; x++ {
				if color.NRGBAModel.Convert(drawn.At(x+shift.X, y+shift.Y)) == img.At(x, y) {
					n++
				}
			}
		}
		return n
	}
	plain := draw("--mask", mask)
	require.Equal(t, 32*32, same(plain, image.Rect(0, 0, 32, 32), image.Point{}))
	require.Less(t, same(plain, image.Rect(32, 0, 64, 32), image.Point{}), 100)
	grown := draw("--mask", mask, "--mask-grow", "8")
	require.Equal(t, 24*32, same(grown, image.Rect(0, 0, 24, 32), image.Point{}))
	require.Less(t, same(grown, image.Rect(24, 0, 64, 32), image.Point{}), 100)
	soft := draw("--mask", mask, "--mask-blur", "2")
	require.Equal(t, 24*32, same(soft, image.Rect(0, 0, 24, 32), image.Point{}))

	canvas := draw("--canvas", "96x64")
	require.Equal(t, image.Rect(0, 0, 96, 64), canvas.Bounds())
	require.Equal(t, 64*32, same(canvas, img.Rect, image.Pt(16, 16)))
}

func TestPictureRefusals(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	img, half := start(64, 32)
	in, mask := writePNG(t, folder, "in.png", img), writePNG(t, folder, "mask.png", half)
	other := writePNG(t, folder, "other.png", image.NewGray(image.Rect(0, 0, 32, 32)))
	text := filepath.Join(folder, "text.png")
	require.NoError(t, os.WriteFile(text, []byte("not a picture"), 0o666))
	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{ExitUsage, []string{"img2img"}, "no picture"},
		{ExitUsage, []string{"inpaint", "-i", in}, "no mask"},
		{ExitUsage, []string{"inpaint", "-i", in, "--mask", mask, "--canvas", "96x64"}, "--mask and --canvas"},
		{ExitUsage, []string{"inpaint", "-i", in, "--canvas", "96"}, "768x512"},
		{ExitUsage, []string{"inpaint", "-i", in, "--canvas", "32x64"}, "from the picture's 64x32"},
		{ExitUsage, []string{"inpaint", "-i", in, "--canvas", "99999999999999999999x64"}, "768x512"},
		{ExitUsage, []string{"inpaint", "-i", in, "--mask", mask, "--mask-grow", "5000"}, "--mask-grow"},
		{ExitUsage, []string{"inpaint", "-i", in, "--mask", mask, "--mask-blur", "-1"}, "--mask-blur"},
		{ExitUsage, []string{"inpaint", "-i", in, "--mask", mask, "--mask-blur", "NaN"}, "--mask-blur"},
		{ExitUsage, []string{"inpaint", "-i", in, "--mask", other}, "--mask: 32x32 pixels, the picture's 64x32 wanted"},
		{ExitUsage, []string{"img2img", "-i", in, "--strength", "2"}, "--strength: 2, 0 to 1 wanted"},
		{ExitFailure, []string{"img2img", "-i", text}, "text.png: not a picture"},
		{ExitFailure, []string{"img2img", "-i", filepath.Join(folder, "none.png")}, "none.png"},
		{ExitFailure, []string{"img2img", "-i", folder}, folder},
		{ExitFailure, []string{"inpaint", "-i", in, "--mask", text}, "--mask"},
	} {
		args := append(c.args, "-m", model, "-p", "a fox", "-o", filepath.Join(folder, "out.png"))
		sdgo(t, args...).requireError(t, c.code, c.want)
	}
	requireFiles(t, folder, "in.png", "mask.png", "other.png", "text.png")
}
