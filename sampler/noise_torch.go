package sampler

import "math"

// Torch is PyTorch's CPU generator with the normal numbers that torch.randn
// draws from it in float32, to the bit: diffusers, ComfyUI and the "CPU"
// setting of other programs. It is a Mersenne twister (Matsumoto and Nishimura
// 1998). It fills
//
//   - 16 values or more with uniform numbers first, and turns every 16 of them
//     into normal ones by the Box-Muller transform: the first eight give the
//     radius, the last eight the angle. If the count is not a multiple of 16, the
//     last 16 values are drawn again;
//   - fewer values one pair at a time in float64. The second of an unfinished
//     pair is kept for the next such call.
//
// The logarithm and sine are those of torch's build for AVX2, which it uses on
// every x86-64 machine of the last decade; its other builds differ in the last
// bit.
type Torch struct {
	twister
	next    float64 // the second normal number of a pair
	hasNext bool
}

// NewTorch returns the generator that torch.manual_seed(seed) makes. Torch
// uses the seed's low 32 bits.
func NewTorch(seed uint64) *Torch {
	t := new(Torch)
	t.seed(uint32(seed))
	return t
}

// Normal implements [Noise] as torch.randn(len(dst)).
func (t *Torch) Normal(dst []float32) {
	if len(dst) < 16 {
		for i := range dst {
			dst[i] = float32(t.normal())
		}
		return
	}
	t.uniforms(dst)
	for i := 0; i+16 <= len(dst); i += 16 {
		boxMuller16((*[16]float32)(dst[i:]))
	}
	if len(dst)%16 != 0 {
		last := (*[16]float32)(dst[len(dst)-16:])
		t.uniforms(last[:])
		boxMuller16(last)
	}
}

// uniforms fills dst with numbers in [0, 1) of 24 random bits.
func (t *Torch) uniforms(dst []float32) {
	for i := range dst {
		dst[i] = float32(t.uint32()&(1<<24-1)) * (1.0 / (1 << 24))
	}
}

// uniform is a number in [0, 1) of 53 random bits.
func (t *Torch) uniform() float64 {
	hi := uint64(t.uint32())
	u := hi<<32 | uint64(t.uint32())
	return float64(u&(1<<53-1)) * (1.0 / (1 << 53))
}

// normal draws by the Box-Muller transform in float64.
func (t *Torch) normal() float64 {
	if t.hasNext {
		t.hasNext = false
		return t.next
	}
	u1, u2 := t.uniform(), t.uniform()
	r := math.Sqrt(-2 * math.Log1p(-u2))
	sin, cos := math.Sincos(2 * math.Pi * u1)
	t.next, t.hasNext = r*sin, true
	return r * cos
}

// boxMuller16 turns 16 uniform numbers into normal ones.
func boxMuller16(u *[16]float32) {
	for i := range 8 {
		r := float32(math.Sqrt(float64(-2 * log32(1-u[i]))))
		sin, cos := sincos32(float32(2*math.Pi) * u[i+8])
		u[i], u[i+8] = r*cos, r*sin
	}
}

// fma32 is a·b + c rounded once. The product is exact in float64.
func fma32(a, b, c float32) float32 { return float32(float64(a)*float64(b) + float64(c)) }

// log32 is the natural logarithm of x in (0, 1]: Cephes' logf (Moshier), with
// fused multiply-adds where torch's compiler puts them.
func log32(x float32) float32 {
	bits := math.Float32bits(x)
	e := float32(int32(bits>>23) - 126)
	m := math.Float32frombits(bits&^(0xff<<23) | 126<<23) // in [1/2, 1)
	if m < math.Sqrt2/2 {
		e--
		m = m - 1 + m
	} else {
		m--
	}
	z := m * m
	y := float32(7.0376836292e-2)
	for _, c := range [...]float32{-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1} {
		y = fma32(y, m, c)
	}
	y = fma32(y*m, z, e*-2.12194440e-4)
	y = fma32(-z, 0.5, y)
	return fma32(e, 0.693359375, m+y)
}

// sincos32 is the sine and cosine of x in [0, 2π): Cephes' sinf and cosf, with
// fused multiply-adds where torch's compiler puts them.
func sincos32(x float32) (sin, cos float32) {
	j := (int32(x*1.27323954473516) + 1) &^ 1 // the octant, made even
	y := float32(j)
	x = fma32(y, -0.78515625, x) // x - j·π/4 in three parts
	x = fma32(y, -2.4187564849853515625e-4, x)
	x = fma32(y, -3.77489497744594108e-8, x)
	z := x * x

	c := fma32(2.443315711809948e-5, z, -1.388731625493765e-3)
	c = fma32(c, z, 4.166664568298827e-2)
	c = fma32(c*z, z, -(z*0.5)) + 1

	s := fma32(-1.9515295891e-4, z, 8.3321608736e-3)
	s = fma32(s, z, -1.6666654611e-1)
	s = fma32(s*z, x, x)

	if j&2 != 0 {
		s, c = c, s
	}
	if j&4 != 0 {
		s = -s
	}
	if (j-2)&4 == 0 {
		c = -c
	}
	return s, c
}

// twister is the Mersenne twister MT19937.
type twister struct {
	state [624]uint32
	next  int // of state; len(state) means that it is used up
}

func (m *twister) seed(s uint32) {
	m.state[0] = s
	for i := 1; i < len(m.state); i++ {
		s = 1812433253*(s^s>>30) + uint32(i)
		m.state[i] = s
	}
	m.next = len(m.state)
}

func (m *twister) uint32() uint32 {
	k := uint(m.next)
	if k >= uint(len(m.state)) {
		m.twist()
		k = 0
	}
	y := m.state[k]
	m.next = int(k) + 1
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (m *twister) twist() {
	const n, mid = 624, 397
	for i := range n {
		y := m.state[i]&0x80000000 | m.state[(i+1)%n]&0x7fffffff
		m.state[i] = m.state[(i+mid)%n] ^ y>>1 ^ y&1*0x9908b0df
	}
	m.next = 0
}
