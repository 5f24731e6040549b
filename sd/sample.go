package sd

import (
	"context"
	"errors"
	"fmt"

	"github.com/sdgo/sdgo/sampler"
)

// conditioning is what a picture is guided by.
type conditioning struct {
	phases  []phase
	refined []phase        // the refiner's; nil without one
	source  *source        // nil without a picture to begin with
	stages  []conditioning // for each of the request's stages
}

// sample draws a latent [channels, h, w]: noise from the seed's stream on the
// picture to begin with, then the sampler.
func (m *Model) sample(ctx context.Context, q resolved, c conditioning, seed int64, onStep func(sampler.Step) error) (plane, error) {
	prediction, err := m.predictionType(ctx)
	if err != nil {
		return plane{}, err
	}
	sigmas, err := q.schedule.Sigmas(m.process, q.Steps)
	if err != nil {
		return plane{}, err
	}
	x := newPlane(m.weights.UNet.OutChannels, q.Height/m.factor(), q.Width/m.factor())
	noise := q.noise(seed, x)
	var x0 []float32
	if c.source != nil {
		sigmas = q.cut(sigmas)
		x0 = c.source.latent.data // nothing with a model for editing
	}
	sampler.Start(x.data, x0, sigmas[0], noise)

	made := 0 // steps; a step's second evaluation may be at the next one's noise level
	options := q.sampler.Options
	options.Process = m.process
	if q.sampler.CFGPP {
		options.Uncond = make([]float32, len(x.data))
	}
	denoise := m.inPhases(q, c.source, prediction, x, c.phases, options.Uncond, &made)
	if q.Refiner != nil {
		if denoise, err = m.handOver(ctx, q, denoise, x, c, len(sigmas)-1, options.Uncond, &made); err != nil {
			return plane{}, err
		}
	}
	if c.source != nil && c.source.cells != nil && c.source.beside == nil {
		denoise = sampler.Inpaint(denoise, c.source.latent.data, c.source.cells, options.Uncond)
	}
	options.OnStep = func(s sampler.Step) error {
		made = s.Index
		return onStep(s)
	}
	err = q.sampler.Sample(ctx, denoise, x.data, sigmas, noise, options)
	var bad *sampler.NonFiniteError
	if errors.As(err, &bad) {
		// Weights that are damaged are the likely reason, and can be named.
		err = fmt.Errorf("%w: %w", m.notFinite("the UNet", m.unet), err)
	}
	return x, err
}

// handOver is the denoiser that leaves the last steps to the refiner, which
// sees the same latents (Podell et al. 2023, §2.5).
func (m *Model) handOver(ctx context.Context, q resolved, base sampler.Denoiser, x plane, c conditioning, steps int, uncond []float32, made *int) (sampler.Denoiser, error) {
	r := q.Refiner
	if r.weights.UNet.OutChannels != x.channels || r.factor() != m.factor() {
		return nil, &RequestError{[]Problem{{"Refiner", "its latents have another shape than the model's"}}}
	}
	prediction, err := r.predictionType(ctx)
	if err != nil {
		return nil, err
	}
	refined := r.inPhases(q, nil, prediction, x, c.refined, uncond, made)
	first := q.handedOver(steps)
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		if *made >= first {
			return refined(ctx, dst, x, sigma)
		}
		return base(ctx, dst, x, sigma)
	}, nil
}

func newNoise(rng RNG, seed int64) sampler.Noise {
	if rng == PhiloxRNG {
		return sampler.NewPhilox(uint64(seed))
	}
	return sampler.NewTorch(uint64(seed))
}

// predictionType is what the UNet predicts: as the caller or the file says,
// else what a trial run tells.
func (m *Model) predictionType(ctx context.Context) (sampler.Prediction, error) {
	for _, known := range []string{m.options.Prediction, m.weights.Prediction} {
		if known != "" {
			return sampler.Prediction(known), nil
		}
	}
	return m.prediction.get(ctx, func() (sampler.Prediction, error) { return m.probePrediction(ctx) })
}

// probePrediction tells epsilon from v where a file doesn't say, as
// AUTOMATIC1111 does for SD 2.x: at the last timestep, where all is noise, a
// UNet that predicts epsilon returns its input, one that predicts v something
// far below it. The trial input is 0.5 everywhere, the threshold -1.
func (m *Model) probePrediction(ctx context.Context) (sampler.Prediction, error) {
	const side, length, value = 8, 2, 0.5
	dim := m.weights.UNet.ContextDim
	x := newPlane(m.weights.UNet.OutChannels, side, side)
	beside := make([]float32, (m.weights.UNet.InChannels-x.channels)*side*side)
	e := embedding{data: make([]float32, length*dim), length: length, dim: dim}
	for _, s := range [][]float32{x.data, e.data, beside} {
		for i := range s {
			s[i] = value
		}
	}
	out := make([]float32, len(x.data))
	if err := m.evaluate(alone, x, nil, view{e, beside})(ctx, [][]float32{out}, x.data, 999); err != nil {
		return "", err
	}
	var mean float64
	for i := range out {
		mean += float64(out[i]-x.data[i]) / float64(len(out))
	}
	if mean < -1 {
		return sampler.PredictV, nil
	}
	return sampler.PredictEpsilon, nil
}
