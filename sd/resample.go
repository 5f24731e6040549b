package sd

import "math"

// resampling is how a latent is brought to another size: as
// torch.nn.functional.interpolate does it to a size, with align_corners off.
type resampling struct {
	kernel    func(x float64) float64 // nil takes the nearest
	reach     float64                 // where the kernel ends
	exact     bool                    // the nearest by the pixels' middles
	antialias bool                    // weights of pixels beyond the rim are left out
}

// triangle is linear interpolation.
func triangle(x float64) float64 { return max(0, 1-math.Abs(x)) }

// cubic is Keys' cubic convolution (1981) with the slope a at 1.
func cubic(a float64) func(float64) float64 {
	return func(x float64) float64 {
		switch x = math.Abs(x); {
		case x < 1:
			return ((a+2)*x-(a+3))*x*x + 1
		case x < 2:
			return ((a*x-5*a)*x+8*a)*x - 4*a
		}
		return 0
	}
}

// tap is how much one value counts.
type tap struct {
	at     int
	weight float64
}

// taps are what the values of a line of n become one of m of.
func (r resampling) taps(n, m int) [][]tap {
	step := float64(n) / float64(m)
	all := make([][]tap, m)
	for i := range all {
		middle := (float64(i) + 0.5) * step
		switch {
		case r.kernel == nil && r.exact:
			all[i] = []tap{{min(int(middle), n-1), 1}}
		case r.kernel == nil:
			all[i] = []tap{{min(int(float64(i)*step), n-1), 1}}
		case r.antialias:
			all[i] = r.antialiased(n, middle, max(step, 1))
		default:
			all[i] = r.interpolated(n, middle-0.5)
		}
	}
	return all
}

// interpolated are the taps at a place x: at the rim the last value goes on.
func (r resampling) interpolated(n int, x float64) (taps []tap) {
	first := int(math.Floor(x)) - int(r.reach) + 1
	for k := range int(2 * r.reach) {
		taps = append(taps, tap{min(max(first+k, 0), n-1), r.kernel(x - float64(first+k))})
	}
	return taps
}

// antialiased are the taps around a middle, of a kernel as wide as a step
// between the new values where these are fewer.
func (r resampling) antialiased(n int, middle, wide float64) (taps []tap) {
	first := max(int(middle-r.reach*wide+0.5), 0)
	end := min(int(middle+r.reach*wide+0.5), n)
	sum := 0.0
	for at := first; at < end; at++ {
		w := r.kernel((float64(at) + 0.5 - middle) / wide)
		taps = append(taps, tap{at, w})
		sum += w
	}
	for i := range taps {
		taps[i].weight /= sum
	}
	return taps
}

// resample brings every channel to another size, along its rows first.
func (p plane) resample(r resampling, height, width int) plane {
	wide := newPlane(p.channels, p.height, width)
	columns := r.taps(p.width, width)
	for row := range p.channels * p.height {
		from := p.data[row*p.width:][:p.width]
		for x, taps := range columns {
			wide.data[row*width+x] = weigh(from, 1, taps)
		}
	}
	out := newPlane(p.channels, height, width)
	for y, taps := range r.taps(p.height, height) {
		for c := range p.channels {
			for x := range width {
				out.data[(c*height+y)*width+x] = weigh(wide.data[c*p.height*width+x:], width, taps)
			}
		}
	}
	return out
}

func weigh(from []float32, stride int, taps []tap) float32 {
	sum := 0.0
	for _, t := range taps {
		sum += t.weight * float64(from[t.at*stride])
	}
	return float32(sum)
}
