package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
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
	again, err := png.Decode(bytes.NewReader(piped.Bytes()))
	require.NoError(t, err)
	require.Equal(t, readPNG(t, out), again)
	require.Contains(t, textsOf(t, out)["parameters"], "Init image: in.png")
	require.NotContains(t, piped.String(), "Init image", "which has no name")
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

	hard := draw("--mask", mask, "--mask-feather", "0")
	require.Equal(t, 32*32, same(hard, image.Rect(0, 0, 32, 32), image.Point{}))
	require.NotEqual(t, plain, hard)

	// Just the part around the mask, at a size of its own; the picture keeps its.
	small := image.NewGray(img.Rect)
	small.SetGray(50, 20, color.Gray{255})
	only := draw("--mask", writePNG(t, folder, "small.png", small), "--mask-grow", "4", "--only-masked", "--mask-padding", "8", "-W", "64", "-H", "64")
	require.Equal(t, img.Rect, only.Bounds())
	require.Less(t, same(only, image.Rect(46, 16, 55, 25), image.Point{}), 10)
	require.Equal(t, 64*32-81, same(only, img.Rect, image.Point{})-same(only, image.Rect(46, 16, 55, 25), image.Point{}))
	require.Contains(t, sdgo(t, "info", out).out, "Masked area padding: 8")

	canvas := draw("--canvas", "96x64")
	require.Equal(t, image.Rect(0, 0, 96, 64), canvas.Bounds())
	require.Equal(t, 64*32, same(canvas, img.Rect, image.Pt(16, 16)))
}

func TestPictureRefusals(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	img, half := start(64, 32)
	in, mask := writePNG(t, folder, "in.png", img), writePNG(t, folder, "mask.png", half)
	other := writePNG(t, folder, "other.png", image.NewGray(image.Rect(0, 0, 32, 32)))
	black := writePNG(t, folder, "black.png", image.NewGray(img.Rect))
	whole, err := os.ReadFile(in)
	require.NoError(t, err)
	cut, bomb := filepath.Join(folder, "cut.png"), filepath.Join(folder, "bomb.png")
	require.NoError(t, os.WriteFile(cut, whole[:len(whole)/2], 0o666))
	big := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("IHDR"), 60000), 60000)
	big = append(big, 8, 2, 0, 0, 0)
	big = binary.BigEndian.AppendUint32(big, crc32.ChecksumIEEE(big))
	require.NoError(t, os.WriteFile(bomb, append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), big...), 0o666))
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
		{ExitUsage, []string{"inpaint", "-i", in, "--canvas", "96"}, "--canvas: must be a width and a height"},
		{ExitUsage, []string{"inpaint", "-i", in, "--canvas", "32x64"}, "--canvas: sides must be multiples of 8 from 64x32 to 8192, got 32x64"},
		{ExitUsage, []string{"inpaint", "-i", in, "--canvas", "99999999999999999999x64"}, "--canvas: must be a width and a height"},
		{ExitUsage, []string{"inpaint", "-i", in, "--mask", mask, "--mask-grow", "5000"}, "--mask-grow"},
		{ExitUsage, []string{"inpaint", "-i", in, "--mask", mask, "--mask-blur", "-1"}, "--mask-blur"},
		{ExitUsage, []string{"inpaint", "-i", in, "--mask", mask, "--mask-blur", "NaN"}, "--mask-blur"},
		{ExitUsage, []string{"inpaint", "-i", in, "--mask", other}, "--mask: must have the picture's 64x32 pixels, got 32x32"},
		{ExitUsage, []string{"inpaint", "-i", in, "--mask", black}, "--mask: nothing to paint"},
		{ExitUsage, []string{"inpaint", "-i", in, "--mask", mask, "--mask-padding", "8"}, `--mask-padding: needs the inpaint area "only masked"`},
		{ExitUsage, []string{"inpaint", "-i", in, "--mask", mask, "--mask-feather", "-1"}, "--mask-feather: must be 0 to 256, got -1"},
		{ExitFailure, []string{"img2img", "-i", bomb}, "bomb.png: must have at most 131072 pixels a side and 67108864 in all, got 60000x60000 pixels"},
		{ExitFailure, []string{"inpaint", "-i", in, "--mask", bomb}, "--mask " + bomb + ": must have at most 131072 pixels a side"},
		{ExitFailure, []string{"img2img", "-i", cut}, "cut.png: a damaged png picture of 64x32 pixels"},
		{ExitFailure, []string{"img2img", "-i", "../testdata/pictures/animated.webp"}, "animated.webp: a webp picture of a kind that is not supported: webp: an animation"},
		{ExitUsage, []string{"img2img", "-i", in, "--strength", "2"}, "--strength: must be 0 to 1, got 2"},
		{ExitFailure, []string{"img2img", "-i", text}, "text.png: not a picture"},
		{ExitFailure, []string{"img2img", "-i", filepath.Join(folder, "none.png")}, "none.png"},
		{ExitFailure, []string{"img2img", "-i", folder}, folder},
		{ExitFailure, []string{"inpaint", "-i", in, "--mask", text}, "--mask"},
	} {
		args := append(c.args, "-m", model, "-p", "a fox", "-o", filepath.Join(folder, "out.png"))
		sdgo(t, args...).requireError(t, c.code, c.want)
	}
	requireFiles(t, folder, "in.png", "mask.png", "other.png", "text.png", "black.png", "cut.png", "bomb.png")
}
