package sampler

import "math"

// Brownian is the noise of one random path over the noise levels, fixed by its
// seed: whatever steps a sampler takes, it meets the same path, so that more
// steps refine a picture instead of changing it. (k-diffusion's
// BrownianTreeNoiseSampler; its random numbers are others.)
//
// The path is W(sigma) with W(0) = 0, drawn by halving: its value in the
// middle of an interval is the mean of its ends plus noise that depends on the
// seed and the interval alone. 30 halvings place any sigma within a billionth
// of the range.
type Brownian struct {
	Philox // for Normal: the start, and samplers that ask for plain noise

	top     float64   // the path goes from 0 to here
	at      float64   // where w is
	w, next []float32 // values of the path
	a, b    []float32 // scratch
}

// NewBrownian returns the path of a seed over noise levels up to 1024. Beyond
// that it is plain noise.
func NewBrownian(seed uint64) *Brownian {
	return &Brownian{Philox: *NewPhilox(seed), top: 1024, at: -1}
}

// brownianDepth is the number of halvings.
const brownianDepth = 30

// Interval implements [IntervalNoise].
func (n *Brownian) Interval(dst []float32, sigma, sigmaNext float64) {
	if !(max(sigma, sigmaNext) <= n.top) || sigma == sigmaNext {
		n.Normal(dst)
		return
	}
	if n.at != sigma || len(n.w) != len(dst) {
		n.w = grow(n.w, len(dst))
		n.value(n.w, sigma)
	}
	n.next = grow(n.next, len(dst))
	n.value(n.next, sigmaNext)
	k := 1 / math.Sqrt(math.Abs(sigmaNext-sigma))
	sum2(dst, k, n.next, -k, n.w)
	n.w, n.next = n.next, n.w
	n.at = sigmaNext
}

// value writes W(sigma).
func (n *Brownian) value(dst []float32, sigma float64) {
	n.a, n.b = grow(n.a, len(dst)), grow(n.b, len(dst))
	clear(n.a)
	n.node(n.b, 0, math.Sqrt(n.top))
	lo, hi := 0.0, n.top
	for node := uint64(1); node < 1<<brownianDepth; {
		mid := (lo + hi) / 2
		sum2(dst, 0.5, n.a, 0.5, n.b)
		n.addNode(dst, node, math.Sqrt(hi-lo)/2)
		node *= 2
		switch {
		case sigma == mid:
			return
		case sigma < mid:
			hi = mid
			copy(n.b, dst)
		default:
			lo = mid
			copy(n.a, dst)
			node++
		}
	}
	f := (sigma - lo) / (hi - lo)
	sum2(dst, 1-f, n.a, f, n.b)
}

// node writes the normal numbers of an interval, times std.
func (n *Brownian) node(dst []float32, node uint64, std float64) {
	clear(dst)
	n.addNode(dst, node, std)
}

// addNode adds the normal numbers of an interval, times std: by Box and Muller
// from Philox, two to a block, with the interval's number as the upper half of
// the counter. [Philox.Normal] never sets its topmost bit.
func (n *Brownian) addNode(dst []float32, node uint64, std float64) {
	const unit = 1.0 / (1 << 32)
	for i := uint32(0); len(dst) > 0; i += 2 {
		c := philox4x32([4]uint32{i, uint32(node), uint32(node >> 32), 1 << 31}, n.key)
		r := std * math.Sqrt(-2*math.Log((float64(c[0])+0.5)*unit))
		sin, cos := math.Sincos((float64(c[1]) + 0.5) * unit * 2 * math.Pi)
		dst[0] += float32(r * cos)
		if len(dst) == 1 {
			return
		}
		dst[1] += float32(r * sin)
		dst = dst[2:]
	}
}
