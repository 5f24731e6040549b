package transformer

import (
	"image"
	"math"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sd/picture"
)

// referenceArea is that of reference pictures, which are made smaller if they have more pixels.
const referenceArea = 1024 * 1024

// Reference is a reference picture as a model sees it: without transparency, at most of a million pixels, cropped around its middle
// to whole tokens, whose side in pixels is given.
func Reference(img *image.NRGBA, side int) *image.NRGBA {
	img = picture.OnWhite(img)
	size := img.Rect.Size()
	if area := size.X * size.Y; area > referenceArea {
		scale := math.Sqrt(referenceArea / float64(area))
		img = imaging.Resize(img, int(float64(size.X)*scale), int(float64(size.Y)*scale), imaging.Lanczos)
		size = img.Rect.Size()
	}
	width, height := size.X/side*side, size.Y/side*side
	from := image.Pt((size.X-width)/2, (size.Y-height)/2)
	return imaging.Crop(img, image.Rectangle{Min: from, Max: from.Add(image.Pt(width, height))}.Add(img.Rect.Min))
}
