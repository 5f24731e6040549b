package preprocess

import "math"

// blur is a Gaussian blur of so many pixels' radius. The picture is mirrored at its
// edges, without repeating the last pixel (OpenCV's BORDER_REFLECT_101).
func (p plane) blur(sigma float64, radius int) plane {
	weights := gaussian(sigma, radius)
	across := newPlane(p.size)
	at := mirrored(p.size.X, radius)
	for y := range p.size.Y {
		row := p.v[y*p.size.X:][:p.size.X]
		for x := range p.size.X {
			var sum float32
			for k, w := range weights {
				sum += w * row[at[x+k]]
			}
			across.v[y*p.size.X+x] = sum
		}
	}
	out := newPlane(p.size)
	at = mirrored(p.size.Y, radius)
	for y := range p.size.Y {
		sums := out.v[y*p.size.X:][:p.size.X]
		for k, w := range weights {
			row := across.v[at[y+k]*p.size.X:][:p.size.X]
			for x, v := range row {
				sums[x] += w * v
			}
		}
	}
	return out
}

// Radii of OpenCV's blurs, of pictures with 8 bits and of floating-point numbers.
func radius8(sigma float64) int     { return (int(math.RoundToEven(sigma*3*2+1)) | 1) / 2 }
func radiusFloat(sigma float64) int { return (int(math.RoundToEven(sigma*4*2+1)) | 1) / 2 }

func gaussian(sigma float64, radius int) []float32 {
	weights, sum := make([]float64, 2*radius+1), 0.0
	for i := range weights {
		x := float64(i - radius)
		weights[i] = math.Exp(-x * x / (2 * sigma * sigma))
		sum += weights[i]
	}
	out := make([]float32, len(weights))
	for i, w := range weights {
		out[i] = float32(w / sum)
	}
	return out
}

// mirrored are the samples at -radius to n-1+radius.
func mirrored(n, radius int) []int {
	at := make([]int, n+2*radius)
	if n == 1 {
		return at
	}
	period := 2 * (n - 1)
	for i := range at {
		k := ((i-radius)%period + period) % period
		at[i] = min(k, period-k)
	}
	return at
}
