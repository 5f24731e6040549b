package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// guided is what a picture is guided by and begins with.
type guided struct {
	phases  []Phase
	refined []Phase  // the refiner's; nil without one
	source  *Source  // nil without a picture to begin with
	low     Draw     // of a picture to enlarge; nil with most models
	steers  []steer  // ControlNets
	passes  []guided // for each of the request's hires passes
}

// sample draws a latent: noise from the seed's stream on the picture to begin with,
// then the sampler.
func (p *Pipeline) sample(ctx context.Context, d Drawing, c guided, seed int64, onStep func(sampler.Step) error) (tensor.Tensor, error) {
	prediction, err := p.Denoiser.Prediction(ctx)
	if err != nil {
		return tensor.Tensor{}, err
	}
	process, err := processFor(p, &d.Resolved)
	if err != nil {
		return tensor.Tensor{}, err
	}
	sigmas, err := d.Schedule.Sigmas(process, d.Steps)
	if err != nil {
		return tensor.Tensor{}, err
	}
	x := d.latent()
	noise := d.noise(seed, x)
	begin := c.source.start(d.RNG, seed)
	if c.source != nil {
		sigmas = d.Truncate(sigmas)
	}
	begin.low = drawLow(c.low, noise, p.LowFirst, func() { noisy(p, process, x.Data, begin.latent, sigmas[0], noise) })

	made := 0 // steps; a step's second evaluation may be at the next one's noise level
	options := d.Sampler.Options
	options.Process = process
	if d.Sampler.CFGPP {
		options.Uncond = make([]float32, len(x.Data))
	}
	if p.LearnsVariance {
		options.Variance = make([]float32, len(x.Data))
	}
	back := newBackward(d)
	run := run{shape: x.Shape, back: back, sigmas: sigmas, uncond: options.Uncond, spread: options.Variance, made: &made, steer: &steering{c.steers, &made, len(sigmas) - 1}, deep: newDeepest(d, &made, len(sigmas)-1)}
	denoise, err := p.guide(d, begin, prediction, c.phases, run)
	if err == nil && d.refiner != nil {
		denoise, err = p.handOver(ctx, d, denoise, c, run)
	}
	if err == nil {
		err = takeBackward(ctx, p, d, begin, c)
	}
	if err != nil {
		return tensor.Tensor{}, err
	}
	if denoise, err = guideTowards(p, d, denoise, back, run, seed); err != nil {
		return tensor.Tensor{}, err
	}
	if begin.cells != nil && begin.concat.Data == nil {
		denoise = sampler.Inpaint(denoise, begin.latent, begin.cells, options.Uncond)
	}
	options.OnStep = func(s sampler.Step) error {
		made = s.Index
		return onStep(s)
	}
	err = solverOf(d).Sample(ctx, denoise, x.Data, sigmas, noise, options)
	var bad *sampler.NonFiniteError
	if errors.As(err, &bad) {
		// Weights that are damaged are the likely reason, and can be named.
		err = fmt.Errorf("%w: %w", p.Denoiser.Network().NotFinite(), err)
	}
	return x, err
}

// handOver is the denoiser that leaves the last steps to the refiner, which
// sees the same latents (Podell et al. 2023, §2.5).
func (p *Pipeline) handOver(ctx context.Context, d Drawing, base sampler.Denoiser, c guided, run run) (sampler.Denoiser, error) {
	r := d.refiner
	if tensor.Size(r.Denoiser.Latent(d.Width, d.Height)) != tensor.Size(run.shape) || r.Autoencoder.Factor() != p.Autoencoder.Factor() {
		return nil, request.Problemf("Refiner", "its latents have another shape than the model's")
	}
	prediction, err := r.Denoiser.Prediction(ctx)
	if err != nil {
		return nil, err
	}
	refined, err := r.guide(d, start{}, prediction, c.refined, run)
	if err != nil {
		return nil, err
	}
	first := d.RefinerStep()
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		if *run.made >= first {
			return refined(ctx, dst, x, sigma)
		}
		return base(ctx, dst, x, sigma)
	}, nil
}

// noisy writes to x what sampling begins with: noise at a level, mixed with the latent of a picture if there is one.
func noisy(p *Pipeline, process *sampler.Process, x, latent []float32, sigma float64, noise sampler.Noise) {
	if p.UnitStart && latent == nil {
		process.UnitNoise(x, sigma, noise)
		return
	}
	process.InitialNoise(x, latent, sigma, noise)
}
