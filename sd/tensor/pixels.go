package tensor

import (
	"image"
	"math"
)

// FromImage maps a picture's colours, 0 to 255, to [3, H, W] in [-1, 1]. Opacity is
// ignored.
func FromImage(img *image.NRGBA) Tensor {
	height, width := img.Rect.Dy(), img.Rect.Dx()
	t := New(3, height, width)
	n := height * width
	for i := range n {
		for c := range 3 {
			t.Data[c*n+i] = float32(img.Pix[4*i+c])/127.5 - 1
		}
	}
	return t
}

// Image maps [3, H, W] in [-1, 1] to an opaque picture; values outside are clamped.
func (t Tensor) Image() *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, t.Width(), t.Height()))
	n := t.Width() * t.Height()
	for i := range n {
		for c := range 3 {
			img.Pix[i*4+c] = Byte(t.Data[c*n+i])
		}
		img.Pix[i*4+3] = 255
	}
	return img
}

// Byte maps [-1, 1] to 0 to 255. Halves are rounded to even, as the diffusers
// library rounds them.
func Byte(v float32) uint8 {
	return uint8(math.RoundToEven(float64(min(max(v/2+0.5, 0), 1)) * 255))
}
