package picture

import (
	"image"
	"image/color"
	"math"

	"github.com/disintegration/imaging"
)

// Mask turns a picture into a mask: how white each pixel is, by the luma of
// Rec. 601. What is transparent counts as black.
func Mask(img image.Image) *image.Gray {
	from := imaging.Clone(img)
	mask := image.NewGray(from.Rect)
	for i := range mask.Pix {
		p := from.Pix[4*i:][:4]
		luma := 0.299*float64(p[0]) + 0.587*float64(p[1]) + 0.114*float64(p[2])
		mask.Pix[i] = uint8(math.Round(luma * float64(p[3]) / 255))
	}
	return mask
}

// Grow makes the white parts of a mask wider by a number of pixels on every
// side; a negative number makes them narrower.
func Grow(mask *image.Gray, pixels int) *image.Gray {
	better := func(a, b uint8) uint8 { return max(a, b) }
	if pixels < 0 {
		pixels, better = -pixels, func(a, b uint8) uint8 { return min(a, b) }
	}
	width, height := mask.Rect.Dx(), mask.Rect.Dy()
	pixels = min(pixels, max(width, height))
	rows := image.NewGray(image.Rect(0, 0, width, height))
	for y := range height {
		line := mask.Pix[y*mask.Stride:][:width]
		for x := range width {
			v := line[x]
			for _, other := range line[max(x-pixels, 0):min(x+pixels+1, width)] {
				v = better(v, other)
			}
			rows.Pix[y*width+x] = v
		}
	}
	out := image.NewGray(rows.Rect)
	copy(out.Pix, rows.Pix)
	for y := range height {
		line := out.Pix[y*width:][:width]
		for from := max(y-pixels, 0); from < min(y+pixels+1, height); from++ {
			for x, other := range rows.Pix[from*width:][:width] {
				line[x] = better(line[x], other)
			}
		}
	}
	return out
}

// Blur softens a mask's edges by a Gaussian of standard deviation sigma, in
// pixels.
func Blur(mask *image.Gray, sigma float64) *image.Gray {
	return Mask(imaging.Blur(mask, sigma))
}

// Canvas puts a picture in the middle of a larger one, for outpainting: around
// it its edges go on, and the mask, which goes with it, is white there.
func Canvas(img image.Image, width, height int) (*image.NRGBA, *image.Gray) {
	from := imaging.Clone(img)
	size := from.Rect.Size()
	left, top := (width-size.X)/2, (height-size.Y)/2
	out, mask := image.NewNRGBA(image.Rect(0, 0, width, height)), image.NewGray(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			inside := image.Pt(x-left, y-top)
			if !inside.In(from.Rect) {
				mask.SetGray(x, y, color.Gray{255})
			}
			at := image.Pt(min(max(inside.X, 0), size.X-1), min(max(inside.Y, 0), size.Y-1))
			out.SetNRGBA(x, y, from.NRGBAAt(at.X, at.Y))
		}
	}
	return out, mask
}
