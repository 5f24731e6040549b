package adapter

import (
	"errors"
	"math"
)

// multiply is a·b of [n, k] and [k, m].
func multiply(a, b []float32, n, k, m int) []float32 {
	out := make([]float32, n*m)
	for i := range n {
		row := out[i*m:][:m]
		for j, v := range a[i*k:][:k] {
			if v == 0 {
				continue
			}
			for x, w := range b[j*m:][:m] {
				row[x] += v * w
			}
		}
	}
	return out
}

// scaled multiplies all elements of x, which it returns.
func scaled(x []float32, by float64) []float32 {
	for i := range x {
		x[i] = float32(float64(x[i]) * by)
	}
	return x
}

// core puts Tucker's factors together: Σ t[i,j,p]·a[i,o]·b[j,n] at [o,n,p], of the
// shapes [r,s,k], [r,out] and [s,in].
func core(t, a, b []float32, r, s, k, out, in int) []float32 {
	half := make([]float32, r*in*k) // Σ over j
	for i := range r {
		for j := range s {
			for p := range k {
				if v := t[(i*s+j)*k+p]; v != 0 {
					for n := range in {
						half[(i*in+n)*k+p] += v * b[j*in+n]
					}
				}
			}
		}
	}
	whole := make([]float32, out*in*k)
	for i := range r {
		for o := range out {
			if v := a[i*out+o]; v != 0 {
				for n, w := range half[i*in*k:][:in*k] {
					whole[o*in*k+n] += v * w
				}
			}
		}
	}
	return whole
}

// solve replaces b [n, n] by a⁻¹·b, with Gauss's elimination; a is lost.
func solve(a, b []float64, n int) error {
	for c := range n {
		best := c
		for r := c + 1; r < n; r++ {
			if math.Abs(a[r*n+c]) > math.Abs(a[best*n+c]) {
				best = r
			}
		}
		if a[best*n+c] == 0 {
			return errors.New("a matrix that has no inverse")
		}
		for k := range n {
			a[c*n+k], a[best*n+k] = a[best*n+k], a[c*n+k]
			b[c*n+k], b[best*n+k] = b[best*n+k], b[c*n+k]
		}
		for r := range n {
			if r == c {
				continue
			}
			by := a[r*n+c] / a[c*n+c]
			for k := range n {
				a[r*n+k] -= by * a[c*n+k]
				b[r*n+k] -= by * b[c*n+k]
			}
		}
	}
	for c := range n {
		for k := range n {
			b[c*n+k] /= a[c*n+c]
		}
	}
	return nil
}
