package sampler

import (
	"context"
	"math"
)

// Start writes to x where sampling begins at noise level sigma: x0, a picture's
// latent, plus noise; nil stands for zeros, from which a new picture comes.
func Start(x, x0 []float32, sigma float64, noise Noise) {
	noise.Normal(x)
	multiply(x, sigma)
	if x0 != nil {
		add(x, 1, x0)
	}
}

// AddNoise is the forward process q(x_t | x_0): it adds noise of standard
// deviation sigma to x.
func AddNoise(x []float32, sigma float64, noise Noise) {
	eps := make([]float32, len(x))
	noise.Normal(eps)
	add(x, sigma, eps)
}

// Renoise is one step of the forward process, q(x_t | x_s): it takes x from
// noise level sigma up to a higher one.
func Renoise(x []float32, sigma, up float64, noise Noise) {
	AddNoise(x, math.Sqrt(max(up*up-sigma*sigma, 0)), noise)
}

// FlowNoise is the forward process of rectified flow, (1-sigma)·x +
// sigma·noise.
func FlowNoise(x []float32, sigma float64, noise Noise) {
	multiply(x, 1-sigma)
	AddNoise(x, sigma, noise)
}

// ToVP scales x from this package's notation, in which noise is added, to that
// of variance-preserving models, sqrt(alphas_cumprod)·x0 +
// sqrt(1-alphas_cumprod)·eps.
func ToVP(x []float32, sigma float64) { multiply(x, 1/math.Sqrt(1+sigma*sigma)) }

// FromVP is the inverse of [ToVP].
func FromVP(x []float32, sigma float64) { multiply(x, math.Sqrt(1+sigma*sigma)) }

// Convert turns a net's output of one kind into another, dst, for a sample x at
// noise level sigma in this package's notation. For [PredictFlow] x is also in
// that notation, with sigma/(1+sigma) the flow's time. dst may be out.
func (p Prediction) Convert(to Prediction, dst, out, x []float32, sigma float64) {
	skip, gain := p.linear(sigma)
	skipTo, gainTo := to.linear(sigma)
	sum2(dst, gain/gainTo, out, (skip-skipTo)/gainTo, x)
}

// linear gives the coefficients of x and of the net's output in the denoised
// sample.
func (p Prediction) linear(sigma float64) (skip, gain float64) {
	if p == PredictFlow {
		return 1 / (1 + sigma), -sigma / (1 + sigma)
	}
	skip, gain, _ = p.Scalings(sigma, 1)
	return skip, gain
}

// FlowAsVE turns the denoiser of a flow ([PredictFlow]) into one for this
// package's notation, x0 + sigma·eps, so that every sampler can follow it. The
// sigmas come from [FlowSigmas]; the start is [Start].
func FlowAsVE(denoise Denoiser) Denoiser {
	var scaled []float32
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		scaled = scaleInto(scaled, x, 1/(1+sigma))
		return denoise(ctx, dst, scaled, sigma/(1+sigma))
	}
}

// FlowSigmas turns a flow's sigmas, 1 to 0, in place into those that
// [FlowAsVE] wants: sigma/(1-sigma), with 1 taken for 0.9999.
func FlowSigmas(sigmas []float64) {
	for i, s := range sigmas {
		s = min(s, 0.9999)
		sigmas[i] = s / (1 - s)
	}
}
