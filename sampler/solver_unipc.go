package sampler

import (
	"context"
	"math"
)

// UniPC is the unified predictor-corrector of Zhao et al. 2023 ("UniPC: A
// Unified Predictor-Corrector Framework for Fast Sampling of Diffusion
// Models", arXiv:2302.04867) with B(h) = h, variant bh1. Order up to 3
// (usually 3), lower in the last steps. One evaluation a step: the corrector
// uses the evaluation that the next step needs anyway.
func UniPC(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	return unipc(ctx, denoise, x, sigmas, noise, o, func(hh float64) float64 { return hh })
}

// UniPCBH2 is [UniPC] with B(h) = e^h - 1, variant bh2.
func UniPCBH2(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	return unipc(ctx, denoise, x, sigmas, noise, o, math.Expm1)
}

func unipc(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options, b func(hh float64) float64) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, false)
	if err != nil {
		return err
	}
	order, err := l.order(3, 3)
	if err != nil {
		return err
	}
	// models has one entry more than the order: the corrector uses the newest
	// one, too.
	models, last := l.history(order+1), l.slice()
	now := 0
	for i := range l.n {
		m := models.next()
		if err := l.denoise(i, m, x, sigmas[i]); err != nil {
			return err
		}
		if i > 0 {
			s := newUniStep(sigmas, i-1, now, b)
			copy(x, last)
			s.correct(x, models)
		}
		copy(last, x)
		now = min(order, i+1, l.n-i)
		s := newUniStep(sigmas, i, now, b)
		s.predict(x, models)
		if err := l.done(i, m); err != nil {
			return err
		}
	}
	return nil
}

// uniStep is one step of UniPC from noise level i to the next.
type uniStep struct {
	order         int
	ratio, phi, b float64       // of x, of the newest model output, B(h)
	r             [3]float64    // (lambda of a point - lambda)/h; the last is 1
	m             [3][4]float64 // the paper's R with its right side b
}

func newUniStep(sigmas []float64, i, order int, b func(hh float64) float64) uniStep {
	s := uniStep{order: order, ratio: sigmas[i+1] / sigmas[i], phi: -1}
	if sigmas[i+1] == 0 {
		return s // first order, and straight to the clean sample
	}
	h := math.Log(sigmas[i] / sigmas[i+1])
	s.phi, s.b = math.Expm1(-h), b(-h)
	for k := 1; k < order; k++ {
		s.r[k-1] = math.Log(sigmas[i]/sigmas[i-k]) / h
	}
	s.r[order-1] = 1
	phi, factorial := s.phi/-h-1, 1.0
	for row := range order {
		for k := range order {
			s.m[row][k] = math.Pow(s.r[k], float64(row))
		}
		s.m[row][order] = phi * factorial / s.b
		factorial *= float64(row + 2)
		phi = phi/-h - 1/factorial
	}
	return s
}

// predict takes the step with the model outputs at its start and before.
func (s *uniStep) predict(x []float32, models *history) {
	m0 := models.back(0)
	sum2(x, s.ratio, x, -s.phi, m0)
	rho := [3]float64{0.5}
	if s.order > 2 {
		// The same equations without the last row and column.
		t := *s
		for row := range t.order - 1 {
			t.m[row][t.order-1] = t.m[row][t.order]
		}
		rho = solve(t.m, t.order-1)
	}
	for k := range s.order - 1 {
		s.difference(x, rho[k], s.r[k], models.back(k+1), m0)
	}
}

// correct takes the step again, with the model's output at its end too.
func (s *uniStep) correct(x []float32, models *history) {
	m0 := models.back(1)
	sum2(x, s.ratio, x, -s.phi, m0)
	rho := [3]float64{0.5}
	if s.order > 1 {
		rho = solve(s.m, s.order)
	}
	for k := range s.order - 1 {
		s.difference(x, rho[k], s.r[k], models.back(k+2), m0)
	}
	s.difference(x, rho[s.order-1], 1, models.back(0), m0)
}

// difference adds a term -B(h)·rho·(m - m0)/r.
func (s *uniStep) difference(x []float32, rho, r float64, m, m0 []float32) {
	k := s.b * rho / r
	sum3(x, 1, x, -k, m, k, m0)
}

// solve solves n ≤ 3 linear equations, with their right sides in column n, by
// Gauss's elimination. The points of a multistep method differ, so that the
// matrix, Vandermonde's, is regular.
func solve(m [3][4]float64, n int) (x [3]float64) {
	for c := range n {
		p := c
		for r := c + 1; r < n; r++ {
			if math.Abs(m[r][c]) > math.Abs(m[p][c]) {
				p = r
			}
		}
		m[c], m[p] = m[p], m[c]
		for r := range n {
			if r == c {
				continue
			}
			f := m[r][c] / m[c][c]
			for k := c; k <= n; k++ {
				m[r][k] -= f * m[c][k]
			}
		}
	}
	for r := range n {
		x[r] = m[r][n] / m[r][r]
	}
	return x
}
