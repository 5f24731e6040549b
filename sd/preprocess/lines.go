package preprocess

import (
	"math"
	"slices"
)

// leastDifference is, of each pixel, the least of its three channels' differences of
// two blurs: the wide one less the narrow one, or less the picture itself.
func leastDifference(r *raster, wide, narrow float64) plane {
	least := newPlane(r.size)
	for c := range 3 {
		x := r.channel(c)
		g := x.blur(wide, radiusFloat(wide))
		if narrow > 0 {
			x = x.blur(narrow, radiusFloat(narrow))
		}
		for i := range g.v {
			if d := g.v[i] - x.v[i]; c == 0 || d < least.v[i] {
				least.v[i] = d
			}
		}
	}
	return least
}

// lineart is brighter the darker a pixel is than its surroundings, with the median of
// the lines at half of white.
func lineart(r *raster, value func(string) float64) *raster {
	p := leastDifference(r, value("sigma"), 0)
	var lines []float32
	for i, v := range p.v {
		p.v[i] = min(max(v, 0), 255)
		if p.v[i] > float32(value("threshold")) {
			lines = append(lines, p.v[i])
		}
	}
	usual := max(16, median(lines))
	return grey(r.size, func(i int) uint8 { return uint8(min(p.v[i]/usual*127, 255)) })
}

// median is 0 of nothing, and the mean of the middle two of an even number.
func median(values []float32) float32 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	n := len(values) / 2
	if len(values)%2 == 1 {
		return values[n]
	}
	return (values[n-1] + values[n]) / 2
}

// scribble is white where the difference of two blurs is more than half the threshold.
// Twice the difference is of 8 bits in AUTOMATIC1111, and wraps: so it does here.
func scribble(r *raster, value func(string) float64) *raster {
	p := leastDifference(r, 5, 0.5)
	level := value("threshold")
	return grey(r.size, func(i int) uint8 {
		difference := 255 - uint8(min(max(255-p.v[i], 0), 255))
		if float64(2*difference) > math.Floor(level) {
			return 255
		}
		return 0
	})
}
