package sampler

import "context"

// In this package's notation a step of DDIM is x + (sigmaNext - sigma)·eps, so
// the pseudo numerical methods of Liu et al. 2022 (PNDM, arXiv:2202.09778) are
// the classical ones with eps as the slope.

// adamsBashforth has the coefficients for even steps by order, newest first.
var adamsBashforth = [4][]float64{
	{1},
	{3.0 / 2, -1.0 / 2},
	{23.0 / 12, -16.0 / 12, 5.0 / 12},
	{55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24},
}

// IPNDM is the improved PNDM (Zhang and Chen 2023, arXiv:2204.13902):
// Adams–Bashforth with coefficients for even steps, as ComfyUI's sample_ipndm.
// Order up to 4 (usually 4), lower in the first steps. One evaluation a step.
func IPNDM(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
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
		if sigmas[i+1] == 0 {
			copy(x, denoised)
		} else {
			slopes.march(x, adamsBashforth[min(i+1, order)-1], sigmas[i+1]-sigmas[i])
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// IPNDMV is [IPNDM] for uneven steps, as in ComfyUI and in the code of its
// authors (github.com/zju-pi/diff-sampler). Two mistakes there keep it from
// orders 3 and 4: a bracket in the weight of the second difference, a below, and
// a plus for a minus in that of the third, b, which is 11/24 for even steps
// instead of 9/24. [LMS] is the method without them. One evaluation a step.
func IPNDMV(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
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
		if sigmas[i+1] == 0 {
			copy(x, denoised)
		} else {
			w := ipndmvWeights(sigmas, i, min(i+1, order))
			slopes.march(x, w[:min(i+1, order)], sigmas[i+1]-sigmas[i])
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// ipndmvWeights weighs the slopes of step i, newest first.
func ipndmvWeights(sigmas []float64, i, order int) [4]float64 {
	var h [4]float64 // of this step and those before
	for k := range order {
		h[k] = sigmas[i+1-k] - sigmas[i-k]
	}
	w := [4]float64{1}
	if order > 1 {
		c := h[0] / h[1] / 2
		w[0], w[1] = w[0]+c, -c
	}
	if order > 2 {
		a, r := (1-h[0]*h[0]/(3*h[1]*(h[1]+h[2])))/2, h[1]/h[2]
		w[0], w[1], w[2] = w[0]+a, w[1]-(1+r)*a, r*a
	}
	if order > 3 {
		h01, h12 := h[0]+h[1], h[1]+h[2]
		b := (1-h[0]/(3*h01))/2 + (1-h[0]/(2*h01))*h[0]/(6*(h01+h[2]))
		b *= h[0] * h01 * (h01 + h[2]) / (h[1] * h12 * (h12 + h[3]))
		r, s := h[1]/h[2], h[1]*h12/(h[2]*(h[2]+h[3]))
		w[0], w[1] = w[0]+b, w[1]-(1+r+s)*b
		w[2], w[3] = w[2]+(r+s*(1+h[2]/h[3]))*b, -s*r*b
	}
	return w
}

// PLMS is the linear multistep form of PNDM, S-PNDM's first step and
// F-PNDM's others, as in the first latent diffusion models, and the diffusers
// library's PNDMScheduler with skip_prk_steps. The first step takes two
// evaluations.
func PLMS(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, false)
	if err != nil {
		return err
	}
	denoised, eps, x2 := l.slice(), l.history(4), l.slice()
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		slope(eps.next(), x, denoised, sigmas[i])
		switch {
		case i > 0:
			eps.march(x, adamsBashforth[min(i+1, 4)-1], sigmas[i+1]-sigmas[i])
		case sigmas[i+1] == 0:
			copy(x, denoised)
		default: // the mean of the slopes at both ends
			toward(x2, x, denoised, sigmas[i], sigmas[i+1])
			if err := l.denoise(i, denoised, x2, sigmas[i+1]); err != nil {
				return err
			}
			h := (sigmas[i+1] - sigmas[i]) / 2
			sum3(x, 1, x, h, eps.back(0), h/sigmas[i+1], x2)
			add(x, -h/sigmas[i+1], denoised)
		}
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}

// march takes a step of length h with weighted slopes, newest first.
func (s *history) march(x []float32, weights []float64, h float64) {
	for j, w := range weights {
		add(x, w*h, s.back(j))
	}
}

// PNDM is F-PNDM of Liu et al. 2022: three steps of the pseudo Runge–Kutta
// method, with four evaluations each, and then the linear multistep method, so
// it differs from Runge–Kutta from four steps on. It needs Options.Process for
// the timesteps halfway.
func PNDM(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, false)
	if err != nil {
		return err
	}
	process := o.process()
	denoised, eps, x2, e2, mean := l.slice(), l.history(4), l.slice(), l.slice(), l.slice()
	for i := range l.n {
		if err := l.denoise(i, denoised, x, sigmas[i]); err != nil {
			return err
		}
		e1, h := eps.next(), sigmas[i+1]-sigmas[i]
		slope(e1, x, denoised, sigmas[i])
		if i >= 3 || sigmas[i+1] == 0 {
			eps.march(x, adamsBashforth[min(i+1, 4)-1], h)
			if err := l.done(i, denoised); err != nil {
				return err
			}
			continue
		}
		mid := process.TToSigma((process.SigmaToT(sigmas[i]) + process.SigmaToT(sigmas[i+1])) / 2)
		copy(mean, e1)
		multiply(mean, 1.0/6)
		before := e1
		for _, stage := range [...]struct{ sigma, weight float64 }{{mid, 1.0 / 3}, {mid, 1.0 / 3}, {sigmas[i+1], 1.0 / 6}} {
			sum2(x2, 1, x, stage.sigma-sigmas[i], before)
			if err := l.denoise(i, e2, x2, stage.sigma); err != nil {
				return err
			}
			sum2(e2, -1/stage.sigma, e2, 1/stage.sigma, x2)
			add(mean, stage.weight, e2)
			before = e2
		}
		add(x, h, mean)
		if err := l.done(i, denoised); err != nil {
			return err
		}
	}
	return nil
}
