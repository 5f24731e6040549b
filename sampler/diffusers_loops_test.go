package sampler

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// otherPublished are the cases whose models do not fit publishedCases.
func otherPublished() []published {
	return []published{
		{source: "sasolver: full_loop_device", sum: 337.394287109375, mean: 0.43931546807289124, loop: saSolver(PredictEpsilon, false)},
		{source: "sasolver: full_loop_with_v_prediction", sum: 193.1467742919922, mean: 0.2514931857585907, loop: saSolver(PredictV, false)},
		{source: "sasolver: full_loop_device_karras_sigmas", sum: 837.2554931640625, mean: 1.0901764631271362, loop: saSolver(PredictEpsilon, true)},
		{source: "ddim_parallel: batch_step_no_noise", sum: 1147.7904, mean: 0.4982, loop: batchStep(DDIM, func(int) int { return -1 })},
		{source: "ddpm_parallel: batch_step_no_noise", sum: 1153.1833, mean: 0.5005, loop: batchStep(DDPM, func(t int) int { return t - 1 })},
		{source: "edm_euler: full_loop_no_noise", sum: 34.1855, mean: 0.044, loop: edmEuler},
		{source: "edm_dpmsolver_multistep: full_loop_no_noise", mean: 0.0001, loop: edmMultistep(0, PredictEDM, false)},
		{source: "edm_dpmsolver_multistep: full_loop_with_noise", sum: 8.1661, mean: 0.0106, loop: edmMultistep(5, PredictEDM, false)},
		{source: "edm_dpmsolver_multistep: full_loop_no_noise_thres", mean: 0.0080, loop: edmMultistep(0, PredictEDM, true)},
		{source: "edm_dpmsolver_multistep: full_loop_with_v_prediction", mean: 0.0092, loop: edmMultistep(0, PredictV, false)},
		{source: "consistency_model: full_loop_no_noise_onestep", sum: 192.7614, mean: 0.2510, loop: consistencyModel(0)},
		{source: "consistency_model: full_loop_no_noise_multistep", sum: 347.6357, mean: 0.4527, loop: consistencyModel(0, 106)},
		{source: "score_sde_ve: full_loop_no_noise", sum: 14372758528, mean: 18714530, loop: scoreSDE},
	}
}

// perStep is noise that is drawn in each step, used or not, as the library's
// SASolverScheduler does.
type perStep struct {
	Noise
	z []float32
}

func (p *perStep) Normal(dst []float32) { copy(dst, p.z) }

func (p *perStep) draw(Step) error { p.Noise.Normal(p.z); return nil }

// saSolver: orders 2 and 2 with the simpler weights, and stochastic by the
// timestep that a step begins at. The process has 1100 timesteps, of which the
// schedule's last noise level is the first.
func saSolver(predict Prediction, karras bool) func(t *testing.T) ([]float32, error) {
	return func(t *testing.T) ([]float32, error) {
		p := discrete(t, "linear", 0.0001, 0.02, 1100)
		var at []float64
		for i := range 10 {
			at = append(at, math.RoundToEven(1099*float64(10-i)/10))
		}
		sigmas := levelsAt(p, p.levels[0], at...)
		if karras {
			var err error
			sigmas, err = KarrasRho(p.levels[0], p.levels[1099], 7, 10)
			require.NoError(t, err)
			sigmas[10] = sigmas[9] * (1 - 1e-9) // a last step of no length
		}
		model := func(ctx context.Context, dst, x []float32, t float64) error {
			return dummyModel(ctx, dst, x, math.Round(t))
		}
		s := SASolverOptions{Predictor: 2, Corrector: 2, Simple: true, Tau: func(sigma, _ float64) float64 {
			if t := math.Round(p.SigmaToT(sigma)); t >= 200 && t <= 800 {
				return 1
			}
			return 0
		}}
		x := dummySample(false)
		fromVP(x, sigmas[0])
		noise := &perStep{NewTorch(0), make([]float32, len(x))}
		o := DefaultOptions()
		o.OnStep = noise.draw
		if err := noise.draw(Step{}); err != nil {
			return nil, err
		}
		err := SASolverWith(s)(t.Context(), denoiser(t, p, predict, model), x, sigmas, noise, o)
		toVP(x, sigmas[10])
		return x, err
	}
}

// batchStep takes one step without noise from each of the timesteps 0 to 2, with
// three samples.
func batchStep(sample Func, to func(t int) int) func(t *testing.T) ([]float32, error) {
	return func(t *testing.T) ([]float32, error) {
		p := discrete(t, "linear", 0.0001, 0.02, 1000)
		var all []float32
		for step, shift := range []float32{0, 0.1, -0.1} {
			x, sigmas := dummySample(false), []float64{p.levels[step], 0}
			if end := to(step); end >= 0 {
				sigmas[1] = p.levels[end]
			}
			for i := range x {
				x[i] += shift
			}
			fromVP(x, sigmas[0])
			o := DefaultOptions()
			o.Eta = 0
			denoise := Clip(denoiser(t, p, PredictEpsilon, dummyModel), 1)
			if err := sample(t.Context(), denoise, x, sigmas, given(make([]float32, len(x))), o); err != nil {
				return nil, err
			}
			toVP(x, sigmas[1])
			all = append(all, x...)
		}
		return all, nil
	}
}

func edmEuler(t *testing.T) ([]float32, error) {
	process := EDM(0.002, 80, 0.5)
	sigmas, err := Karras(process, 10)
	require.NoError(t, err)
	x := dummySample(false)
	multiply(x, math.Sqrt(80*80+1))
	return x, Euler(t.Context(), denoiser(t, process, PredictEDM, dummyModel), x, sigmas, nil, DefaultOptions())
}

// edmMultistep: the tests leave out the scaling of the sample and of the
// model's input.
func edmMultistep(start int, predict Prediction, threshold bool) func(t *testing.T) ([]float32, error) {
	return func(t *testing.T) ([]float32, error) {
		sigmas, err := Karras(EDM(0.002, 80, 0.5), 10)
		require.NoError(t, err)
		sigmas[10] = sigmas[9] * (1 - 1e-9) // a last step of no length
		denoise := Denoiser(func(ctx context.Context, dst, x []float32, sigma float64) error {
			cSkip, cOut, _ := precondition(t, EDM(0.002, 80, 0.5), predict).Scalings(sigma)
			if err := dummyModel(ctx, dst, x, math.Log(sigma)/4); err != nil {
				return err
			}
			sum2(dst, cOut, dst, cSkip, x)
			return nil
		})
		if threshold {
			denoise = DynamicThreshold(denoise, 0.87, 0.5, 4)
		}
		x := dummySample(false)
		if start > 0 {
			addNoise(x, sigmas[start], given(dummySample(true)))
		}
		return x, DPMPP2M(t.Context(), denoise, x, sigmas[start:], nil, DefaultOptions())
	}
}

// consistencyModel samples at steps of 201 along the schedule of Karras et al.
func consistencyModel(steps ...float64) func(t *testing.T) ([]float32, error) {
	const lo, hi, data = 0.002, 80.0, 0.5
	return func(t *testing.T) ([]float32, error) {
		process := EDM(lo, hi, data).WithNetTime(func(sigma float64) float64 { return 250 * math.Log(sigma+1e-44) })
		var sigmas []float64
		for _, s := range steps {
			a, b := math.Pow(hi, 1.0/7), math.Pow(lo, 1.0/7)
			sigmas = append(sigmas, math.Pow(a+s/200*(b-a), 7))
		}
		o := DefaultOptions()
		o.Process = process
		x := dummySample(false)
		multiply(x, hi)
		denoise := denoiser(t, process, PredictConsistency, dummyModel)
		return x, ConsistencySampler(t.Context(), Clip(denoise, 1), x, append(sigmas, 0), NewTorch(0), o)
	}
}

// scoreSDE: the test gives the model the first noise levels of a finer
// schedule, whatever the step's.
func scoreSDE(t *testing.T) ([]float32, error) {
	fine := func(i float64) float64 { return 0.01 * math.Pow(134800, 1+i*(1e-5-1)/1999) }
	levels := []float64{1348, 0.01 * math.Sqrt(134800), 0.01, 0}
	denoise := func(ctx context.Context, dst, x []float32, sigma float64) error {
		step := slices.Index(levels, sigma)
		if err := dummyModel(ctx, dst, x, fine(float64(step))); err != nil {
			return err
		}
		sum2(dst, sigma*sigma, dst, 1, x) // D = x + sigma²·score
		return nil
	}
	x, o := dummySample(false), DefaultOptions()
	o.Images = 4
	return x, PredictorCorrectorWith(0.15)(t.Context(), denoise, x, levels, NewTorch(0), o)
}
