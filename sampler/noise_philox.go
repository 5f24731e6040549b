package sampler

import "math"

// Philox is CUDA's generator as torch.randn uses it on a GPU, and as
// AUTOMATIC1111's web UI computes it on the CPU (its rng_philox.py): Philox
// 4x32-10 (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3"),
// one block for each value, of which two words make one normal number.
type Philox struct {
	key    [2]uint32
	offset uint32 // calls so far
}

// NewPhilox returns the generator that torch.manual_seed(seed) makes on a GPU.
func NewPhilox(seed uint64) *Philox {
	return &Philox{key: [2]uint32{uint32(seed), uint32(seed >> 32)}}
}

// Normal implements [Noise] as torch.randn(len(dst), device="cuda").
func (p *Philox) Normal(dst []float32) {
	// CUDA computes this in float32 with its own fast functions. Exact values,
	// rounded, are nearer to its results (1e-8 in the web UI's stated examples)
	// than float32 with the web UI's constants (3e-7).
	const uniform, angle = 1.0 / (1 << 32), 2 * math.Pi / (1 << 32)
	for i := range dst {
		block := philox4x32([4]uint32{p.offset, 0, uint32(i), uint32(uint64(i) >> 32)}, p.key)
		u := float64(block[0])*uniform + uniform/2
		v := float64(block[1])*angle + angle/2
		dst[i] = float32(math.Sqrt(-2*math.Log(u)) * math.Sin(v))
	}
	p.offset++
}

// philox4x32 turns a counter into four random words in ten rounds.
func philox4x32(c [4]uint32, k [2]uint32) [4]uint32 {
	for range 10 {
		a, b := uint64(c[0])*0xd2511f53, uint64(c[2])*0xcd9e8d57
		c = [4]uint32{uint32(b>>32) ^ c[1] ^ k[0], uint32(b), uint32(a>>32) ^ c[3] ^ k[1], uint32(a)}
		k[0] += 0x9e3779b9
		k[1] += 0xbb67ae85
	}
	return c
}
