package sampler

import (
	"context"
	"fmt"
	"math"
)

// LMS is the linear multistep (Adams–Bashforth) method on the slope dx/dsigma
// with coefficients for uneven steps, as k-diffusion's sample_lms: order 4 by
// default and at most, one evaluation a step.
func LMS(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, false)
	if err != nil {
		return err
	}
	order, err := l.order(4, 4)
	if err != nil {
		return err
	}
	denoised, slopes := l.slice(), l.history(order)
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		slope(slopes.next(), x, denoised, sigmas[i])
		now := min(i+1, order)
		for j := range now {
			add(x, lagrangeIntegral(sigmas, i, j, now), slopes.back(j))
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// slope writes the ODE's dx/dsigma = (x - x0)/sigma.
func slope(dst, x, denoised []float32, sigma float64) {
	sum2(dst, 1/sigma, x, -1/sigma, denoised)
}

// lagrangeIntegral integrates, from nodes[i] to nodes[i+1], the polynomial
// that is 1 at nodes[i-j] and 0 at the others of nodes[i], nodes[i-1], …,
// nodes[i-order+1]. Gauss's rule of two points is exact up to degree 3.
func lagrangeIntegral(nodes []float64, i, j, order int) float64 {
	mid, half := (nodes[i]+nodes[i+1])/2, (nodes[i+1]-nodes[i])/2
	var sum float64
	for _, g := range [...]float64{-1 / math.Sqrt(3), 1 / math.Sqrt(3)} {
		p := 1.0
		for k := range order {
			if k != j {
				p *= (mid + g*half - nodes[i-k]) / (nodes[i-j] - nodes[i-k])
			}
		}
		sum += p * half
	}
	return sum
}

// history has the last slices of a multistep sampler.
type history struct {
	slices [][]float32
	n      int // slices taken so far
}

func (l *loop) history(n int) *history {
	h := &history{slices: make([][]float32, n)}
	for i := range h.slices {
		h.slices[i] = l.slice()
	}
	return h
}

// next returns the slice for the newest entry: that of the oldest one.
func (h *history) next() []float32 {
	h.n++
	return h.back(0)
}

// back returns the j-th entry before the newest.
func (h *history) back(j int) []float32 {
	return h.slices[(h.n-1-j)%len(h.slices)]
}

// order is that of the options, or the usual one.
func (l *loop) order(usual, most int) (int, error) {
	switch {
	case l.o.Order == 0:
		return usual, nil
	case l.o.Order > most:
		return 0, &OptionError{"Order", float64(l.o.Order), fmt.Sprintf("at most %d", most)}
	}
	return l.o.Order, nil
}
