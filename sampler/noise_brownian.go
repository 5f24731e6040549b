package sampler

import "math"

// Brownian is the noise of one random path over the noise levels, which its seed
// determines: whatever the steps, a sampler follows the same path, so that more
// steps refine a picture instead of changing it. (k-diffusion's
// BrownianTreeNoiseSampler does the same with other random numbers.)
//
// The path is W(sigma) with W(0) = 0, drawn by halving: its value in the
// middle of an interval is the mean of its ends plus noise that depends on the
// seed and the interval alone. Up to 30 halvings place sigma within a millionth.
type Brownian struct {
	Philox // for Normal: initial noise, and samplers that draw without intervals

	keys    []float32    // random numbers instead of the seed; nil for NewBrownian
	top     float64      // the path goes from 0 to here
	at      float64      // where w is
	w, next []float32    // values of the path
	zero    []float32    // W(0)
	end     brownianNode // W(top)
	middles [30]brownianNode
}

// NewBrownian returns the path of a seed over noise levels up to 1024. Above
// them it is independent noise.
func NewBrownian(seed uint64) *Brownian {
	return &Brownian{Philox: *NewPhilox(seed), top: 1024, at: -1}
}

// newPath returns the path that one draw of n numbers determines, so that noise
// of a batch has a path for each picture.
func newPath(noise Noise, n int) *Brownian {
	p := NewBrownian(0)
	p.keys = make([]float32, n)
	noise.Normal(p.keys)
	return p
}

// brownianGap is the length of the intervals, relative to sigma, within which
// the path is straight.
const brownianGap = 2e-5

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
	n.zero = grow(n.zero, len(dst))
	clear(n.zero)
	a, b := n.zero, n.halve(&n.end, 0, nil, nil, len(dst), math.Sqrt(n.top))
	lo, hi, node := 0.0, n.top, uint64(1)
	for depth := range n.middles {
		if hi-lo <= brownianGap*sigma {
			break
		}
		mid := (lo + hi) / 2
		w := n.halve(&n.middles[depth], node, a, b, len(dst), math.Sqrt(hi-lo)/2)
		node *= 2
		switch {
		case sigma == mid:
			copy(dst, w)
			return
		case sigma < mid:
			hi, b = mid, w
		default:
			lo, a = mid, w
			node++
		}
	}
	f := (sigma - lo) / (hi - lo)
	sum2(dst, 1-f, a, f, b)
}

// brownianNode is the path at the middle of an interval.
type brownianNode struct {
	known  bool
	number uint64 // of the interval: halves have twice that, and one more
	w      []float32
}

// halve returns the path in the middle of an interval, from its values a and b
// at the ends: their mean plus the interval's normal numbers times std. c may
// still have it from an earlier call.
func (n *Brownian) halve(c *brownianNode, number uint64, a, b []float32, size int, std float64) []float32 {
	if c.known && c.number == number && len(c.w) == size {
		return c.w
	}
	c.known, c.number, c.w = true, number, grow(c.w, size)
	if a == nil {
		clear(c.w)
	} else {
		sum2(c.w, 0.5, a, 0.5, b)
	}
	n.addNode(c.w, number, std)
	return c.w
}

// addNode adds the normal numbers of an interval, times std: by Box and Muller
// from Philox, two to a block, with the interval's number as the upper half of
// the counter. [Philox.Normal] never sets its topmost bit.
func (n *Brownian) addNode(dst []float32, node uint64, std float64) {
	const unit = 1.0 / (1 << 32)
	keys := n.keys
	for i := uint32(0); len(dst) > 0; i += 2 {
		counter, key := [4]uint32{i, uint32(node), uint32(node >> 32), 1 << 31}, n.key
		if len(keys) > 1 {
			counter[0], key = 0, [2]uint32{math.Float32bits(keys[0]), math.Float32bits(keys[1])}
			keys = keys[2:]
		}
		c := philox4x32(counter, key)
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
