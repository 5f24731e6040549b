package preprocess

import (
	"image"
	"math"
)

// tap is a sample that a resampled one is made of, with its share.
type tap struct {
	at     int
	weight float32
}

// scaledBetween is scaled as AUTOMATIC1111's extension scales pictures: by cubic
// interpolation to a larger size, by areas to a smaller one.
func (r *raster) scaledBetween(size image.Point) *raster {
	if size.X > r.size.X || size.Y > r.size.Y {
		return r.resampled(size, cubicTaps)
	}
	return r.resampled(size, areaTaps)
}

// resampled scales each side by what taps(n, from) says of its n samples.
func (r *raster) resampled(size image.Point, taps func(n, from int) [][]tap) *raster {
	out := newRaster(size)
	across, down := taps(size.X, r.size.X), taps(size.Y, r.size.Y)
	for c := range 3 {
		wide := newPlane(image.Pt(size.X, r.size.Y))
		for y := range r.size.Y {
			row := r.pix[3*y*r.size.X:]
			for x, list := range across {
				var sum float32
				for _, t := range list {
					sum += t.weight * float32(row[3*t.at+c])
				}
				wide.v[y*size.X+x] = sum
			}
		}
		for y, list := range down {
			for x := range size.X {
				var sum float32
				for _, t := range list {
					sum += t.weight * wide.v[t.at*size.X+x]
				}
				out.pix[3*(y*size.X+x)+c] = rounded(sum)
			}
		}
	}
	return out
}

// areaTaps averages what a sample covers.
func areaTaps(n, from int) [][]tap {
	all := make([][]tap, n)
	scale := float64(from) / float64(n)
	for i := range all {
		low, high := float64(i)*scale, min(float64(i+1)*scale, float64(from))
		for at := int(low); at < from && float64(at) < high; at++ {
			share := (min(high, float64(at+1)) - max(low, float64(at))) / (high - low)
			if share > 1e-6 {
				all[i] = append(all[i], tap{at, float32(share)})
			}
		}
	}
	return all
}

// cubicTaps interpolates between four samples, with OpenCV's a = -0.75. Scaled down,
// the others in between are left out.
func cubicTaps(n, from int) [][]tap {
	const a = -0.75
	near := func(x float64) float64 { return ((a+2)*x-(a+3))*x*x + 1 }
	far := func(x float64) float64 { return ((a*x-5*a)*x+8*a)*x - 4*a }
	all := make([][]tap, n)
	for i := range all {
		at := (float64(i)+0.5)*float64(from)/float64(n) - 0.5
		first := math.Floor(at)
		t := at - first
		for k, weight := range []float64{far(t + 1), near(t), near(1 - t), far(2 - t)} {
			all[i] = append(all[i], tap{min(max(int(first)-1+k, 0), from-1), float32(weight)})
		}
	}
	return all
}

// nearestTaps takes the sample at the low end.
func nearestTaps(n, from int) [][]tap {
	all := make([][]tap, n)
	for i := range all {
		all[i] = []tap{{min(int(float64(i)*float64(from)/float64(n)), from-1), 1}}
	}
	return all
}
