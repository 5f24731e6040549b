// Package guide has the measurements of pictures that guidance by losses needs no training
// for: a colour, a smaller picture, the part of a picture that is known.
package guide

import (
	"fmt"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/tensor"
)

// channels of the pictures that guides see: pixels, [3, H, W] in [-1, 1].
const channels = 3

// Colour measures the mean of each channel of a picture of a size; rgb are from -1 to 1.
func Colour(rgb [3]float32, width, height int) *sampler.Measurement {
	n := width * height
	return &sampler.Measurement{
		Y: rgb[:], Gain: 1 / float64(n), Spread: 1,
		Apply: func(y, x []float32) {
			for c := range y {
				sum := 0.0
				for _, v := range x[c*n : (c+1)*n] {
					sum += float64(v)
				}
				y[c] = float32(sum / float64(n))
			}
		},
		Transpose: func(x, y []float32) {
			for c, v := range y {
				for i := range n {
					x[c*n+i] = v / float32(n)
				}
			}
		},
	}
}

// Boxes averages boxes of pixels, which makes pictures smaller by whole factors.
type Boxes struct{ width, height, x, y int }

// NewBoxes are those that make pictures of one size as small as another.
func NewBoxes(width, height, toWidth, toHeight int) (Boxes, error) {
	if toWidth < 1 || toHeight < 1 || width%toWidth != 0 || height%toHeight != 0 {
		return Boxes{}, fmt.Errorf("the sides of %dx%d pixels must be whole multiples of those of %dx%d", width, height, toWidth, toHeight)
	}
	return Boxes{width, height, width / toWidth, height / toHeight}, nil
}

// each calls f with the number of each pixel and that of its box.
func (b Boxes) each(f func(pixel, box int)) {
	columns := b.width / b.x
	plane, boxes := b.width*b.height, columns*(b.height/b.y)
	for c := range channels {
		for row := range b.height {
			for column := range b.width {
				f(c*plane+row*b.width+column, c*boxes+row/b.y*columns+column/b.x)
			}
		}
	}
}

// Apply writes the means of x's boxes to y.
func (b Boxes) Apply(y, x []float32) {
	sums := make([]float64, len(y))
	b.each(func(pixel, box int) { sums[box] += float64(x[pixel]) })
	for i, sum := range sums {
		y[i] = float32(sum / float64(b.x*b.y))
	}
}

// Transpose is the transposed of Apply.
func (b Boxes) Transpose(x, y []float32) {
	n := float32(b.x * b.y)
	b.each(func(pixel, box int) { x[pixel] = y[box] / n })
}

// Lowres measures a smaller version of a picture of a size: low has its pixels.
func Lowres(low tensor.Tensor, width, height int) (*sampler.Measurement, error) {
	b, err := NewBoxes(width, height, low.Width(), low.Height())
	if err != nil {
		return nil, err
	}
	return &sampler.Measurement{Y: low.Data, Gain: 1 / float64(b.x*b.y), Apply: b.Apply, Transpose: b.Transpose}, nil
}

// Known measures the pixels of a picture where free is 0, one value for each pixel.
func Known(pixels tensor.Tensor, free []float32) (*sampler.Measurement, error) {
	var at []int
	n := len(free)
	for c := range channels {
		for i, v := range free {
			if v == 0 {
				at = append(at, c*n+i)
			}
		}
	}
	if len(at) == 0 || len(at) == channels*n {
		return nil, fmt.Errorf("must leave a part of the picture free and keep another; all of it is %s", map[bool]string{true: "free", false: "kept"}[len(at) == 0])
	}
	m := &sampler.Measurement{Y: make([]float32, len(at)), Gain: 1}
	m.Apply = func(y, x []float32) {
		for k, i := range at {
			y[k] = x[i]
		}
	}
	m.Transpose = func(x, y []float32) {
		clear(x)
		for k, i := range at {
			x[i] = y[k]
		}
	}
	m.Apply(m.Y, pixels.Data)
	return m, nil
}
