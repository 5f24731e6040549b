package tensor

import (
	"image"
	"math"
)

// Lanczos is Pillow's kernel of that name, of three lobes, which widens with the step when downsampling.
var Lanczos = Resampling{kernel: lanczos, reach: 3, antialias: true}

func lanczos(x float64) float64 {
	if x == 0 {
		return 1
	}
	if x < -3 || x >= 3 {
		return 0
	}
	x *= math.Pi
	return math.Sin(x) / x * math.Sin(x/3) / (x / 3)
}

// Rounding is how a program rounds the weights with which it resamples pictures of 8 bits.
type Rounding int

// The roundings.
const (
	Pillow Rounding = iota // to 22 bits after the point
	Torch                  // so that the largest weight has 15 bits
)

// bits is the number of bits after the point.
func (r Rounding) bits(columns [][]tap) int {
	if r == Pillow {
		return 22
	}
	largest := 0.0
	for _, taps := range columns {
		for _, t := range taps {
			largest = max(largest, t.weight)
		}
	}
	n := 0
	for n < 22 && int(0.5+largest*float64(int(1)<<(n+1))) < 1<<15 {
		n++
	}
	return n
}

// whole are the taps' weights as whole numbers, with so many bits after the point.
func whole(columns [][]tap, bits int) [][]wholeTap {
	all := make([][]wholeTap, len(columns))
	for i, taps := range columns {
		for _, t := range taps {
			w := math.Copysign(math.Abs(t.weight*float64(int(1)<<bits))+0.5, t.weight) // half away from zero
			all[i] = append(all[i], wholeTap{t.at, int(w)})
		}
	}
	return all
}

// wholeTap is the weight of one input position.
type wholeTap struct{ at, weight int }

// ResampleBytes resizes the colours of an opaque picture to the bit as Pillow's Image.resize, or
// torch.nn.functional.interpolate of bytes, does: first along rows, then along columns, both times in whole
// numbers. The kernel must be one that widens. (Pillow 13 takes columns first where that is less work, and rounds some pixels
// to the next number.)
func ResampleBytes(img *image.NRGBA, r Resampling, how Rounding, width, height int) *image.NRGBA {
	size := img.Rect.Size()
	wide := img
	if size.X != width {
		wide = image.NewNRGBA(image.Rect(0, 0, width, size.Y))
		columns := r.taps(size.X, width)
		bits := how.bits(columns)
		for x, taps := range whole(columns, bits) {
			for y := range size.Y {
				weighBytes(wide.Pix[y*wide.Stride+4*x:], img.Pix[y*img.Stride:], 4, taps, bits)
			}
		}
	}
	if size.Y == height {
		return wide
	}
	out := image.NewNRGBA(image.Rect(0, 0, width, height))
	rows := r.taps(size.Y, height)
	bits := how.bits(rows)
	for y, taps := range whole(rows, bits) {
		for x := range width {
			weighBytes(out.Pix[y*out.Stride+4*x:], wide.Pix[4*x:], wide.Stride, taps, bits)
		}
	}
	return out
}

// weighBytes sets a pixel to the weighted sum of others, a stride apart.
func weighBytes(to, from []byte, stride int, taps []wholeTap, bits int) {
	half := 1 << bits >> 1
	sum := [3]int{half, half, half}
	for _, t := range taps {
		for c, v := range from[t.at*stride:][:3] {
			sum[c] += t.weight * int(v)
		}
	}
	for c, v := range sum {
		to[c] = byte(min(max(v>>bits, 0), 255))
	}
	to[3] = 255
}
