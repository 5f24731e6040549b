package picture

import (
	"image"
	"math"
)

// Bounds is the smallest rectangle that contains all pixels of a mask that are not
// black. It is empty if all are black.
func Bounds(mask *image.Gray) (box image.Rectangle) {
	for y := range mask.Rect.Dy() {
		line := mask.Pix[y*mask.Stride:][:mask.Rect.Dx()]
		left, right := -1, -1
		for x, v := range line {
			if v > 0 {
				if left < 0 {
					left = x
				}
				right = x
			}
		}
		if left >= 0 {
			box = box.Union(image.Rect(left, y, right+1, y+1))
		}
	}
	return box.Add(mask.Rect.Min)
}

// Region is the part of a picture that inpainting "only masked" works on: box with
// padding pixels on each side, extended to the aspect ratio of width to height, within
// the picture.
func Region(picture, box image.Rectangle, padding, width, height int) image.Rectangle {
	box = box.Inset(-padding).Intersect(picture)
	want := box.Size()
	if want.X*height < want.Y*width {
		want.X = int(math.Round(float64(want.Y*width) / float64(height)))
	} else {
		want.Y = int(math.Round(float64(want.X*height) / float64(width)))
	}
	box.Min.X, box.Max.X = widen(box.Min.X, box.Max.X, want.X, picture.Min.X, picture.Max.X)
	box.Min.Y, box.Max.Y = widen(box.Min.Y, box.Max.Y, want.Y, picture.Min.Y, picture.Max.Y)
	return box
}

// widen extends low … high to a length, equally on both sides where there is room
// between least and most.
func widen(low, high, length, least, most int) (int, int) {
	length = min(length, most-least)
	low = min(max(low-(length-(high-low))/2, least), most-length)
	return low, low + length
}

// Feather returns a mask whose white rises gradually from its edge, over a number of
// pixels inside it. So that thin masks become white, too, the number is at most half of
// the mask's depth. The picture's own border is no edge of the mask.
func Feather(mask *image.Gray, pixels int) *image.Gray {
	deep := depth(mask)
	deepest := 0
	for _, d := range deep {
		if d < never {
			deepest = max(deepest, d)
		}
	}
	pixels = min(pixels, deepest/straight/2)
	out := image.NewGray(mask.Rect)
	for i, d := range deep {
		v := mask.Pix[i/mask.Rect.Dx()*mask.Stride+i%mask.Rect.Dx()]
		if ramp := float64(d) / float64(straight*(pixels+1)); ramp < 1 {
			v = min(v, uint8(math.Round(255*ramp)))
		}
		out.Pix[i] = v
	}
	return out
}

// Distances to a pixel's neighbours (Borgefors 1986, chamfer distances).
const (
	straight = 3
	diagonal = 4
	never    = 1 << 30
)

// depth is each pixel's distance from the mask's black, in those units: 0 in it, never
// or more where there is none.
func depth(mask *image.Gray) []int {
	width, height := mask.Rect.Dx(), mask.Rect.Dy()
	out := make([]int, width*height)
	at := func(x, y int) int {
		if x < 0 || x >= width || y < 0 || y >= height {
			return never
		}
		return out[y*width+x]
	}
	for y := range height {
		for x := range width {
			if d := &out[y*width+x]; mask.Pix[y*mask.Stride+x] > 0 {
				*d = min(at(x-1, y)+straight, at(x, y-1)+straight, at(x-1, y-1)+diagonal, at(x+1, y-1)+diagonal)
			}
		}
	}
	for y := height - 1; y >= 0; y-- {
		for x := width - 1; x >= 0; x-- {
			d := &out[y*width+x]
			*d = min(*d, at(x+1, y)+straight, at(x, y+1)+straight, at(x+1, y+1)+diagonal, at(x-1, y+1)+diagonal)
		}
	}
	return out
}
