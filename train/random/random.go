// Package random has the random numbers of training. They are drawn from a seed and a
// number, not from a generator with a state, so that a training that continues draws what
// it would have drawn, and what is drawn for one sample does not depend on others.
package random

import "math/rand/v2"

// Source draws for one purpose: PCG-DXSM (O'Neill 2014) of math/rand/v2, whose methods it
// has. What it draws is the same on all systems, and in all versions of Go.
type Source struct{ *rand.Rand }

// New is the source of number n of a stream, which is what is drawn for, of a seed.
func New(seed, n, stream uint64) *Source {
	return &Source{rand.New(rand.NewPCG(mix(seed^mix(stream+1)), mix(n+0x9e3779b97f4a7c15)))}
}

// mix spreads a number over 64 bits (the finish of splitmix64, Steele et al. 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Normal fills dst with normal numbers.
func (s *Source) Normal(dst []float32) {
	for i := range dst {
		dst[i] = float32(s.NormFloat64())
	}
}

// Uniform fills dst with numbers from low to high.
func (s *Source) Uniform(dst []float32, low, high float64) {
	for i := range dst {
		dst[i] = float32(low + (high-low)*s.Float64())
	}
}
