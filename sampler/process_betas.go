package sampler

import "math"

// LinearBetas rises evenly from start to end: DDPM (Ho et al. 2020).
func LinearBetas(start, end float64, n int) []float64 {
	return linspace32(start, end, n)
}

// ScaledLinearBetas has evenly rising square roots: latent diffusion (Rombach
// et al. 2022).
func ScaledLinearBetas(start, end float64, n int) []float64 {
	b := linspace32(math.Sqrt(start), math.Sqrt(end), n)
	for i, v := range b {
		b[i] = float64(float32(v) * float32(v))
	}
	return b
}

// CosineBetas makes alphas_cumprod a squared cosine (Nichol and Dhariwal 2021,
// arXiv:2102.09672, equation 17), with betas of at most 0.999.
func CosineBetas(n int) []float64 {
	bar := func(i int) float64 {
		c := math.Cos((float64(i)/float64(n) + 0.008) / 1.008 * math.Pi / 2)
		return c * c
	}
	b := make([]float64, max(n, 0))
	for i := range b {
		b[i] = float64(float32(min(1-bar(i+1)/bar(i), 0.999)))
	}
	return b
}

// SigmoidBetas rises from start to end along a sigmoid over [-6, 6] (GeoDiff;
// the diffusers library's "sigmoid").
func SigmoidBetas(start, end float64, n int) []float64 {
	b := linspace32(-6, 6, n)
	for i, v := range b {
		b[i] = float64(float32((end-start)/(1+math.Exp(-v)) + start))
	}
	return b
}

// AlphasCumprod gives the cumulative products of 1 - beta, rounded to float32
// as the diffusers library does.
func AlphasCumprod(betas []float64) []float64 {
	alphas := make([]float64, len(betas))
	p := 1.0
	for i, b := range betas {
		p *= float64(1 - float32(b))
		alphas[i] = float64(float32(p))
	}
	return alphas
}

// ZeroTerminalSNR shifts and scales the square roots of alphas_cumprod so that
// the last timestep is pure noise (Lin et al. 2024, algorithm 1,
// arXiv:2305.08891). Its alphas_cumprod is then not 0 but 2^-24, as in the
// diffusers library, so that its sigma is 4096. Such models predict v.
func ZeroTerminalSNR(alphasCumprod []float64) []float64 {
	n := len(alphasCumprod)
	if n == 0 {
		return nil
	}
	out := make([]float64, n)
	first, last := math.Sqrt(alphasCumprod[0]), math.Sqrt(alphasCumprod[n-1])
	for i, a := range alphasCumprod {
		s := (math.Sqrt(a) - last) * first / (first - last)
		out[i] = s * s
	}
	out[n-1] = 1.0 / (1 << 24)
	return out
}

// linspace32 is torch.linspace in float32, which counts from both ends.
func linspace32(start, end float64, n int) []float64 {
	out := make([]float64, max(n, 0))
	if n == 1 {
		out[0] = float64(float32(start))
	}
	if n < 2 {
		return out
	}
	a, b := float32(start), float32(end)
	step := (b - a) / float32(n-1)
	for i := range out {
		if i < n/2 {
			out[i] = float64(a + float32(float32(i)*step))
		} else {
			out[i] = float64(b - float32(float32(n-1-i)*step))
		}
	}
	return out
}
