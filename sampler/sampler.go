// Package sampler turns noise into samples with a diffusion model: noise
// schedules, samplers, guidance and noise generators, in pure Go.
//
// The notation is that of Karras et al. 2022 ("Elucidating the Design Space of
// Diffusion-Based Generative Models", arXiv:2206.00364) and of the k-diffusion
// library. A latent at noise level sigma is
//
//	x = x0 + sigma·eps,   eps ~ N(0, 1)
//
// and a [Denoiser] predicts x0 from x and sigma. [Preconditioning] wraps nets
// trained with another scaling or another target (epsilon, v, …) into that form,
// so that every sampler works with every model. Guidance ([CFG], [Guider]) is a
// wrapper too.
//
//	process := sampler.StableDiffusion()
//	model, err := sampler.Precondition(process, sampler.PredictEpsilon)
//	if err != nil { … }
//	denoise := sampler.CFG(model.BatchDenoiser(net), 7)
//	sigmas, err := sampler.Karras(process, 20)
//	if err != nil { … }
//	noise := sampler.NewTorch(42)
//	x := make([]float32, 4*64*64)
//	process.InitialNoise(x, nil, sigmas[0], noise)
//	err = sampler.DPMPP2M(ctx, denoise, x, sigmas, noise, sampler.DefaultOptions())
//
// # Memory
//
// A sampler allocates its few scratch slices, each as long as x, once when it
// is called. Its steps allocate nothing.
//
// # Errors
//
// Sigmas that do not fall, a step count below one, an unknown name, a model
// that gives NaN: each has an error type of its own. Functions that return an
// error do not panic on bad input; those without one ([Slerp]) must be given
// slices of one length. Nothing here prints or keeps state between calls.
package sampler

import (
	"context"
	"math"
)

// A Denoiser writes to dst the clean sample x0 that it expects behind x, a
// sample at noise level sigma > 0. dst and x have the same length, are
// flattened in the model's layout ([N, C, H, W] for pictures), and never
// overlap. A Denoiser leaves x as it is and keeps neither slice.
//
// An error ends the sampling and is returned by the sampler, wrapped with the
// step. Cancelling ctx should make it return early with ctx.Err().
type Denoiser func(ctx context.Context, dst, x []float32, sigma float64) error

// A BatchDenoiser answers for several conditions at once, so that a net can
// evaluate them as one batch: it writes the prediction of the clean sample for
// each condition to a slice of dst, and leaves out those that are nil.
// Otherwise as [Denoiser].
type BatchDenoiser func(ctx context.Context, dst [][]float32, x []float32, sigma float64) error

// A Func is a sampling algorithm: it replaces x, a sample at noise level sigmas[0], by a sample at the
// last of the sigmas, which is normally 0: a picture's latent. The sigmas fall
// strictly ([Sigmas.Check]); len(sigmas)-1 is the number of steps. noise gives
// the random numbers of stochastic samplers and may be nil for the others.
//
// When it fails, x is at some step of the way.
type Func func(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error

// Noise is a stream of standard normal random numbers. Each call fills dst
// with the next of them. How a stream is cut into calls can matter: torch's
// generators give one call of 32 numbers other values than two calls of 16.
type Noise interface {
	Normal(dst []float32)
}

// IntervalNoise is noise that belongs to an interval of noise levels, such as
// [Brownian]: samplers that find it use it, so that another number of steps
// sees the same random path.
type IntervalNoise interface {
	Noise
	// Interval fills dst with the increment of the path between two noise
	// levels, scaled to unit variance.
	Interval(dst []float32, sigma, sigmaNext float64)
}

// Options adjust a sampler. Zero is a value in every field: begin with
// [DefaultOptions], or with what [Lookup] gives for a sampler, and change
// what you need.
type Options struct {
	// Eta is how much of the noise an ancestral or SDE step puts back: 0 makes
	// the step deterministic, 1 is the full amount. Non-negative.
	Eta float64
	// SNoise multiplies each noise drawn (S_noise of Karras et al.). 1 is
	// neutral; slightly more keeps detail.
	SNoise float64
	// SChurn is the amount of noise that euler, heun and dpm2 add before a
	// step (S_churn), at noise levels from STMin to STMax. 0 adds none.
	SChurn, STMin, STMax float64
	// Order bounds the order of multistep samplers, where they have a choice
	// (lms, unipc, deis, ipndm, dpm_fast, dpm_adaptive). 0 is each sampler's
	// usual order.
	Order int
	// RTol and ATol are the error tolerances of the adaptive samplers.
	RTol, ATol float64
	// Images is how many pictures x holds, for the samplers that measure them
	// one by one (pc); 0 is one.
	Images int
	// Process is where the samplers that think in timesteps (pndm, tcd, sa_solver)
	// find them; nil is [StableDiffusion].
	Process *Process
	// Uncond is where guidance leaves the unguided prediction of each
	// evaluation ([GuidedModel]) for the samplers of CFG++; as long as x. nil stands
	// for the prediction itself: no guidance, or that of another kind.
	Uncond []float32
	// OnStep, if not nil, is called after each step. Its error ends the
	// sampling and is returned as it is.
	OnStep func(Step) error
}

// DefaultOptions returns the options of the papers: full noise in stochastic
// steps and no churn.
func DefaultOptions() Options {
	return Options{Eta: 1, SNoise: 1, STMax: math.Inf(1), RTol: 0.05, ATol: 0.0078}
}

// A Step tells that step Index (counting from 1) of Of is done. X is the
// sample now, at noise level SigmaNext, and Denoised the model's prediction of
// the clean sample that the step began with, at noise level Sigma: it makes
// the better preview. Both slices belong to the sampler: read them during the
// call, and neither change nor keep them.
//
// Adaptive samplers do not know Of, and give 0.
type Step struct {
	Index, Of        int
	Sigma, SigmaNext float64
	X, Denoised      []float32
}
