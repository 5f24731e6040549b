package picture

import (
	"image"
	"image/color"
	"image/draw"
)

// OnWhite is a picture without transparency: what it shows on white. The original stays as it is.
func OnWhite(img *image.NRGBA) *image.NRGBA {
	out := image.NewNRGBA(image.Rectangle{Max: img.Rect.Size()})
	draw.Draw(out, out.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(out, out.Rect, img, img.Rect.Min, draw.Over)
	return out
}
