package picture

import (
	"bytes"
	"image"
	"image/color"
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// odd is a caller's own type of picture.
type odd struct {
	box image.Rectangle
	at  func(x, y int) color.Color
}

func (o odd) ColorModel() color.Model    { return color.RGBAModel }
func (o odd) Bounds() image.Rectangle    { return o.box }
func (o odd) At(x, y int) color.Color    { return o.at(x, y) }
func box(x, y, w, h int) image.Rectangle { return image.Rect(x, y, x+w, y+h) }
func white(int, int) color.Color         { return color.White }

// liar returns other bounds with each call.
type liar struct{ n *int }

func (l liar) ColorModel() color.Model { return color.RGBAModel }
func (l liar) At(x, y int) color.Color { return color.Gray{uint8(x)} }
func (l liar) Bounds() image.Rectangle { *l.n++; return box(0, 0, 2**l.n, 2) }

func TestBadPicturesAreErrors(t *testing.T) {
	var none *image.NRGBA
	for name, c := range map[string]struct {
		img  image.Image
		want string
	}{
		"nil":             {nil, "the picture must not be nil"},
		"typed nil":       {none, "a nil *image.NRGBA"},
		"empty":           {&image.NRGBA{}, "at least one pixel"},
		"upside down":     {odd{image.Rectangle{image.Pt(5, 5), image.Pt(1, 1)}, white}, "at least one pixel"},
		"short":           {&image.NRGBA{Rect: box(0, 0, 64, 64), Stride: 256}, "are too few"},
		"one byte short":  {&image.Gray{Pix: make([]byte, 63), Rect: box(0, 0, 8, 8), Stride: 8}, "are too few"},
		"stride":          {&image.NRGBA{Pix: make([]byte, 1<<16), Rect: box(0, 0, 64, 64), Stride: 4}, "are too few"},
		"negative stride": {&image.Gray{Pix: make([]byte, 1<<16), Rect: box(0, 0, 64, 64), Stride: -64}, "are too few"},
		"huge stride":     {&image.Gray{Pix: make([]byte, 1<<16), Rect: box(0, 0, 64, 64), Stride: math.MaxInt}, "are too few"},
		"palette":         {&image.Paletted{Pix: []byte{0, 255}, Rect: box(0, 0, 2, 1), Stride: 2, Palette: color.Palette{color.White}}, "colour 255 of a palette of 1"},
		"no palette":      {image.NewPaletted(box(0, 0, 2, 2), nil), "colour 0 of a palette of 0"},
		"nil colour":      {image.NewPaletted(box(0, 0, 2, 2), color.Palette{nil}), "the picture panicked"},
		"chroma":          {&image.YCbCr{Y: make([]byte, 64), YStride: 8, CStride: 4, Rect: box(0, 0, 8, 8)}, "are too few"},
		"subsampling":     {&image.YCbCr{Y: make([]byte, 64), YStride: 8, CStride: 4, Rect: box(0, 0, 8, 8), SubsampleRatio: 99}, "unknown subsampling"},
		"alpha":           {&image.NYCbCrA{YCbCr: *image.NewYCbCr(box(0, 0, 8, 8), 0), AStride: 8}, "are too few"},
		"panics":          {odd{box(0, 0, 100, 100), func(int, int) color.Color { panic("the file is gone") }}, "the picture panicked: the file is gone"},
		"ends":            {odd{box(0, 0, 9, 9), func(int, int) color.Color { runtime.Goexit(); return nil }}, "ended its goroutine"},
		"gives nothing":   {odd{box(0, 0, 9, 9), func(int, int) color.Color { return nil }}, "the picture panicked"},
		"endless":         {image.White, "2000000000x2000000000 pixels"},
		"all numbers":     {odd{image.Rectangle{image.Pt(math.MinInt, 0), image.Pt(math.MaxInt, 1)}, white}, "18446744073709551615x1 pixels"},
		"too long":        {odd{box(0, 0, 1, 1<<40), white}, "at most 131072 pixels a side"},
	} {
		_, err := NRGBA(c.img)
		require.ErrorContains(t, err, c.want, name)
		_, err = Mask(c.img)
		require.ErrorContains(t, err, c.want, name)
		_, _, err = Canvas(c.img, 64, 64)
		require.ErrorContains(t, err, c.want, name)
	}
	_, _, err := Canvas(image.NewGray(box(0, 0, 8, 8)), math.MaxInt, 8)
	require.ErrorContains(t, err, "at most")
	for _, format := range []Format{PNG, JPEG, WebP} {
		for _, img := range []image.Image{nil, none, &image.NRGBA{Rect: box(0, 0, 64, 64), Stride: 256}, odd{box(0, 0, 9, 9), func(int, int) color.Color { panic("gone") }}} {
			require.ErrorContains(t, Encode(&bytes.Buffer{}, img, Options{Format: format}), "panicked", "%s of %T", format, img)
		}
	}
}

// Pictures of all types and origins have the colours that At returns.
func TestNRGBA(t *testing.T) {
	r := box(-3, 5, 7, 6)
	colours := func(x, y int) color.Color {
		return color.NRGBA{uint8(30 * (x + 4)), uint8(20 * y), uint8(x * y), uint8(255 - 25*(y-5))}
	}
	fill := func(img interface {
		image.Image
		Set(x, y int, c color.Color)
	}) image.Image {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				img.Set(x, y, colours(x, y))
			}
		}
		return img
	}
	palette := color.Palette{color.White, color.Black, color.NRGBA{200, 10, 10, 100}}
	for _, img := range []image.Image{
		fill(image.NewNRGBA(r)), fill(image.NewRGBA(r)), fill(image.NewNRGBA64(r)), fill(image.NewRGBA64(r)), fill(image.NewGray(r)),
		fill(image.NewGray16(r)), fill(image.NewCMYK(r)), fill(image.NewPaletted(r, palette)), odd{r, colours},
	} {
		for _, part := range []image.Rectangle{r, box(-2, 7, 4, 3)} {
			if s, ok := img.(interface {
				SubImage(image.Rectangle) image.Image
			}); ok {
				img = s.SubImage(part)
			}
			box := img.Bounds()
			out, err := NRGBA(img)
			require.NoError(t, err)
			require.Equal(t, image.Rectangle{Max: box.Size()}, out.Rect)
			require.Equal(t, 4*box.Dx(), out.Stride)
			for y := range box.Dy() {
				for x := range box.Dx() {
					want := color.NRGBAModel.Convert(img.At(box.Min.X+x, box.Min.Y+y)).(color.NRGBA)
					got := out.NRGBAAt(x, y)
					for _, pair := range [][2]uint8{{want.R, got.R}, {want.G, got.G}, {want.B, got.B}, {want.A, got.A}} {
						require.InDelta(t, pair[0], pair[1], 1, "%T at %d,%d: %v, %v", img, x, y, want, got)
					}
				}
			}
		}
	}
	n := 0
	out, err := NRGBA(liar{&n})
	require.NoError(t, err)
	require.Equal(t, box(0, 0, 2, 2), out.Rect, "as the first call returned")
	own := image.NewNRGBA(box(2, 2, 3, 3))
	out, err = NRGBA(own)
	require.NoError(t, err)
	require.Same(t, &own.Pix[0], &out.Pix[0], "no copy")
}

// Sub-images of subsampled pictures may begin anywhere.
func TestYCbCrParts(t *testing.T) {
	for ratio := image.YCbCrSubsampleRatio444; ratio <= image.YCbCrSubsampleRatio410; ratio++ {
		img := image.NewYCbCr(box(0, 0, 21, 13), ratio)
		for i := range img.Y {
			img.Y[i] = 120
		}
		for i := range img.Cb {
			img.Cb[i], img.Cr[i] = 90, 200
		}
		want := color.NRGBAModel.Convert(color.YCbCr{120, 90, 200}).(color.NRGBA)
		for x := range 6 {
			for y := range 6 {
				out, err := NRGBA(img.SubImage(image.Rect(x, y, 20, 13)))
				require.NoError(t, err, "%v from %d,%d", ratio, x, y)
				requireLike(t, out, 20-x, 13-y, 0, func(int, int) color.NRGBA { return want })
			}
		}
	}
}
