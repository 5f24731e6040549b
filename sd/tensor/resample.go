package tensor

import "math"

// Resampling is a mode of torch.nn.functional.interpolate, with a size; but for
// BilinearCorners without align_corners.
type Resampling struct {
	kernel    func(x float64) float64 // nil: nearest neighbour
	reach     float64                 // the kernel is 0 from here on
	exact     bool                    // nearest neighbour by pixel centres
	corners   bool                    // align_corners: the first and last positions are the input's
	antialias bool                    // the kernel widens with the step when downsampling; weights are normalized at the edge
}

// The modes of torch.nn.functional.interpolate.
var (
	Nearest           = Resampling{}
	NearestExact      = Resampling{exact: true}
	Bilinear          = Resampling{kernel: triangle, reach: 1}
	BilinearCorners   = Resampling{kernel: triangle, reach: 1, corners: true}
	BilinearAntialias = Resampling{kernel: triangle, reach: 1, antialias: true}
	Bicubic           = Resampling{kernel: cubic(-0.75), reach: 2}
	BicubicAntialias  = Resampling{kernel: cubic(-0.5), reach: 2, antialias: true}
)

// triangle is the kernel of linear interpolation.
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

// tap is the weight of one input position.
type tap struct {
	at     int
	weight float64
}

// taps returns, for each of m output positions, the input positions, of n, and
// their weights.
func (r Resampling) taps(n, m int) [][]tap {
	step := float64(n) / float64(m)
	all := make([][]tap, m)
	for i := range all {
		middle := (float64(i) + 0.5) * step
		switch {
		case r.kernel == nil && r.exact:
			all[i] = []tap{{min(int(middle), n-1), 1}}
		case r.kernel == nil:
			all[i] = []tap{{min(int(float64(i)*step), n-1), 1}}
		case r.corners:
			all[i] = r.interpolated(n, float64(i)*float64(n-1)/float64(max(m-1, 1)))
		case r.antialias:
			all[i] = r.antialiased(n, middle, max(step, 1))
		default:
			all[i] = r.interpolated(n, middle-0.5)
		}
	}
	return all
}

// interpolated are the taps around the input coordinate x. Edges are replicated.
func (r Resampling) interpolated(n int, x float64) (taps []tap) {
	first := int(math.Floor(x)) - int(r.reach) + 1
	for k := range int(2 * r.reach) {
		taps = append(taps, tap{min(max(first+k, 0), n-1), r.kernel(x - float64(first+k))})
	}
	return taps
}

// antialiased are the taps around a middle of a kernel stretched by step. Positions
// beyond the edge get no weight; the weights of the others add up to 1.
func (r Resampling) antialiased(n int, middle, step float64) (taps []tap) {
	first := max(int(middle-r.reach*step+0.5), 0)
	end := min(int(middle+r.reach*step+0.5), n)
	sum := 0.0
	for at := first; at < end; at++ {
		w := r.kernel((float64(at) + 0.5 - middle) / step)
		taps = append(taps, tap{at, w})
		sum += w
	}
	for i := range taps {
		taps[i].weight /= sum
	}
	return taps
}

// Resample resizes every channel, first along its rows.
func (t Tensor) Resample(r Resampling, height, width int) Tensor {
	wide := t.sized(t.Height(), width)
	columns := r.taps(t.Width(), width)
	for row := range t.planes() * t.Height() {
		from := t.Data[row*t.Width():][:t.Width()]
		for x, taps := range columns {
			wide.Data[row*width+x] = weigh(from, 1, taps)
		}
	}
	out := t.sized(height, width)
	for y, taps := range r.taps(t.Height(), height) {
		for c := range t.planes() {
			for x := range width {
				out.Data[(c*height+y)*width+x] = weigh(wide.Data[c*t.Height()*width+x:], width, taps)
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
