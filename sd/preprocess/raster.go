package preprocess

import (
	"image"
	"math"
)

// raster is a picture of 8 bits: red, green, blue of each pixel.
type raster struct {
	size image.Point
	pix  []uint8
}

func newRaster(size image.Point) *raster {
	return &raster{size, make([]uint8, 3*size.X*size.Y)}
}

// fromNRGBA puts a picture on white.
func fromNRGBA(img *image.NRGBA) *raster {
	r := newRaster(img.Rect.Size())
	for y := range r.size.Y {
		row := img.Pix[y*img.Stride:][:4*r.size.X]
		for x := range r.size.X {
			out, in := r.pix[3*(y*r.size.X+x):][:3], row[4*x:][:4]
			for c := range 3 {
				out[c] = in[c]
			}
			if in[3] != 255 {
				alpha := float32(in[3]) / 255
				for c := range 3 {
					out[c] = uint8(float32(in[c])*alpha + 255*(1-alpha))
				}
			}
		}
	}
	return r
}

func (r *raster) nrgba() *image.NRGBA {
	img := image.NewNRGBA(image.Rectangle{Max: r.size})
	for i := range r.size.X * r.size.Y {
		copy(img.Pix[4*i:], r.pix[3*i:][:3])
		img.Pix[4*i+3] = 255
	}
	return img
}

// plane is one channel as it is computed with.
type plane struct {
	size image.Point
	v    []float32
}

func newPlane(size image.Point) plane { return plane{size, make([]float32, size.X*size.Y)} }

// channel is red (0), green (1) or blue (2).
func (r *raster) channel(c int) plane {
	p := newPlane(r.size)
	for i := range p.v {
		p.v[i] = float32(r.pix[3*i+c])
	}
	return p
}

// setChannel rounds a plane into a channel.
func (r *raster) setChannel(c int, p plane) {
	for i, v := range p.v {
		r.pix[3*i+c] = rounded(v)
	}
}

// grey makes a picture of the same value in all channels.
func grey(size image.Point, value func(i int) uint8) *raster {
	r := newRaster(size)
	for i := range size.X * size.Y {
		v := value(i)
		r.pix[3*i], r.pix[3*i+1], r.pix[3*i+2] = v, v, v
	}
	return r
}

// rounded is the nearest of 0 to 255, an even one of two.
func rounded(v float32) uint8 { return uint8(min(max(math.RoundToEven(float64(v)), 0), 255)) }

// least of a pixel's three channels.
func (r *raster) least(i int) uint8 { return min(r.pix[3*i], r.pix[3*i+1], r.pix[3*i+2]) }
