// Package sampler turns noise into samples with a diffusion or flow-matching
// model: solvers, noise schedules, guidance, processes and noise generators, in
// pure Go. It neither prints nor keeps state between calls.
//
// The notation is that of Karras et al. 2022 ("Elucidating the Design Space of
// Diffusion-Based Generative Models", arXiv:2206.00364) and of the k-diffusion
// library. A sample at noise level sigma is
//
//	x = x0 + sigma·eps,   eps ~ N(0, 1)
//
// and a [Denoiser] predicts the clean sample x0 from x and sigma. A run has five
// parts:
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
// # Samplers
//
// A [Func] is a sampling algorithm (a solver; in the diffusers library a
// scheduler). [Samplers] lists all of them as [Sampler], [Lookup] finds one by
// name, and [Sampler.With] sets its own numbers by name.
//
//   - Following the ODE: [Euler], [Heun], [HeunPP2], [DDIM], [DPM2], [LMS],
//     [ODE], [GradientEstimation].
//   - PNDM: [PLMS], [PNDM], [IPNDM], [IPNDMV].
//   - DPM-Solver: [DPMFast], [DPMAdaptive], [DPMPP2M], [DPMPP2MV2], [UniPC],
//     [UniPCBH2], [DEIS], [DEISLog].
//   - Exponential integrators: [ResMultistep], [Res2S], [Seeds2], [Seeds3],
//     [ExpHeun].
//   - With fresh noise in each step: [EulerAncestral], [DPM2Ancestral],
//     [DPMPP2SAncestral], [DPMPPSDE], [DPMPP2MSDE], [DPMPP2MSDEHeun],
//     [DPMPP2MSDEPath], [DPMPP3MSDE], [ERSDE], [SASolver], [SASolverPECE],
//     [SASolverWith], [Restart].
//   - As the model was trained: [DDPM], [DDPMSmall], [DDPMLarge],
//     [DDPMLearned], [PredictorCorrector], [PredictorCorrectorWith].
//   - For distilled models: [LCM], [TCD], with [Consistency], and
//     [ConsistencySampler] for consistency models.
//   - For guidance of CFG++: [EulerCFGPP], [DPMPP2MCFGPP],
//     [DPMPP2SAncestralCFGPP], [ResMultistepCFGPP], [GradientEstimationCFGPP],
//     [CFGPPUD10AB].
//   - From a picture to its noise: [Invert].
//
// # Schedules
//
// [Sigmas] are the noise levels of a run; the functions that return them are
// listed there. [Schedules] lists them as [Schedule], [SchedulesFor] those that
// suit a process, [LookupSchedule] finds one by name. [FromSigmas] makes one of
// levels of the caller's own, [TruncateByStrength] cuts one for img2img.
//
// # Guidance
//
// Guidance combines a model's answers to several conditions. [CFG] is classifier-
// free guidance; [Guiders] lists all kinds as [Guider], [LookupGuider] finds one
// by name. Wrappers of one denoiser are [Interval], [Inpaint], [Clip],
// [DynamicThreshold], [Classifier], [ClassifierMean] and [Loss]. [LossMethods] are the
// ways to guide towards a small loss of the clean sample, with the model's derivative or
// without; [Recurrence] makes each step several times.
//
// # Step caches
//
// [StepCaches] lists the ways to leave out evaluations that can be told from earlier
// ones; guidance takes one ([GuidedModel]).
//
// # Processes
//
// A [Process] is how a model's training added noise: [StableDiffusion],
// [NewDiscrete] from [AlphasCumprod], [VPSDE], [SubVPSDE], [VESDE], [EDM], [Flow].
// [Precondition] pairs it with what the net predicts, which makes a denoiser of
// the net.
//
// # Noise
//
// [NewTorch] and [NewPhilox] are PyTorch's generators on a CPU and a GPU,
// [NewBrownian] is one path over all noise levels, [NewBatch] has a stream for
// each picture. [Slerp] and [SlerpColumns] go from one noise to another.
//
// # Memory
//
// A sampler allocates its scratch slices, each as long as x, when it is called.
// Its steps allocate nothing.
//
// # Errors
//
// Noise levels that do not fall, numbers out of range, unknown names and models
// that give NaN have error types of their own. Functions that return an error
// do not panic on bad input; those that do not ([Slerp]) must be given slices of
// one length.
package sampler

import (
	"context"
	"math"
)

// A Denoiser writes to dst the model's prediction of the clean sample x0, given
// x, a sample at noise level sigma > 0. dst and x have the same length, are
// flattened in the model's layout ([N, C, H, W] for pictures), and never
// overlap. A Denoiser does not change x and keeps neither slice.
//
// An error ends the sampling and is returned by the sampler, wrapped with the
// step. Cancelling ctx should make it return early with context.Cause(ctx).
type Denoiser func(ctx context.Context, dst, x []float32, sigma float64) error

// A BatchDenoiser answers for several conditions at once, so that a net can
// evaluate them as one batch: it writes the prediction for each condition to
// one slice of dst, and leaves out those that are nil. Otherwise as [Denoiser].
type BatchDenoiser func(ctx context.Context, dst [][]float32, x []float32, sigma float64) error

// A Func is a sampling algorithm: it replaces x, a sample at noise level
// sigmas[0], by a sample at the last of the sigmas, which is normally 0: the
// latent of a picture. The sigmas must fall strictly ([Sigmas.Check]);
// len(sigmas)-1 is the number of steps. noise is the random numbers of
// stochastic samplers and may be nil for the others.
//
// After an error x is a sample at one of the steps.
type Func func(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error

// Noise is a stream of standard normal random numbers. Each call fills dst
// with the next of them. How a stream is cut into calls can matter: torch's
// generators draw other numbers in two calls of 16 than in one of 32.
type Noise interface {
	Normal(dst []float32)
}

// IntervalNoise is noise that belongs to an interval of noise levels, as that of
// [Brownian] does: with it, samplers follow the same random path whatever the
// number of steps.
type IntervalNoise interface {
	Noise
	// Interval fills dst with the increment of the path between two noise
	// levels, scaled to unit variance.
	Interval(dst []float32, sigma, sigmaNext float64)
}

// Options adjust a sampler. No field has a default: begin with
// [DefaultOptions], or with [Sampler].Options, and change what you need.
type Options struct {
	// Eta is the share of the noise that an ancestral or SDE step puts back, 0
	// or more: 0 makes the step deterministic, 1 is the full amount.
	Eta float64
	// SNoise multiplies all noise that is drawn (S_noise of Karras et al.). 1 is
	// neutral; slightly more keeps detail.
	SNoise float64
	// SChurn is the amount of noise that euler, heun and dpm2 add before a
	// step (S_churn), at noise levels from STMin to STMax. 0 adds none.
	SChurn, STMin, STMax float64
	// Order bounds the order of samplers that have a choice: lms, ipndm, unipc,
	// deis, er_sde, dpm_adaptive. 0 is each sampler's usual order.
	Order int
	// RTol and ATol are the error tolerances of the adaptive samplers.
	RTol, ATol float64
	// SNR is the signal-to-noise ratio of pc's corrector, and Corrections how many
	// steps of it precede each step.
	SNR         float64
	Corrections int
	// Images is how many pictures x holds, for the samplers that measure each of
	// them (pc); 0 is one.
	Images int
	// Process is that of the model: samplers that use timesteps (pndm, tcd,
	// sa_solver) need it, and [Sampler.Sample] needs it for a flow. nil is
	// [StableDiffusion].
	Process *Process
	// Uncond receives the unguided prediction of each evaluation from guidance
	// ([GuidedModel]), for samplers of CFG++; it is as long as x. With nil they
	// take the prediction itself for the unguided one.
	Uncond []float32
	// Variance, if not nil, is where the denoiser leaves the variance that the model
	// predicts beside the clean sample, for ddpm: for each element of x where it lies
	// between the log variance of the posterior (-1) and that of the forward process
	// (1). It is as long as x.
	Variance []float32
	// OnStep, if not nil, is called after each step. Its error ends the
	// sampling and is returned as it is.
	OnStep func(Step) error
}

// DefaultOptions returns the options of the papers: full noise in stochastic
// steps and no churn.
func DefaultOptions() Options {
	return Options{Eta: 1, SNoise: 1, STMax: math.Inf(1), RTol: 0.05, ATol: 0.0078, SNR: 0.16, Corrections: 1}
}

// A Step reports that step Index (counted from 1) of Of is done. X is the
// sample now, at noise level SigmaNext. Denoised is the model's prediction of
// the clean sample at the beginning of the step, at noise level Sigma, which
// makes a better preview. Both slices belong to the sampler: they may be read
// during the call, and must be neither changed nor kept.
//
// Adaptive samplers do not know Of; it is 0 there.
type Step struct {
	Index, Of        int
	Sigma, SigmaNext float64
	X, Denoised      []float32
}
