package sampler

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// The diffusers library's tests/schedulers/test_scheduler_*.py publish the sum
// and the mean of absolute values after a full loop with a dummy model. Each
// case here names its source test; testdata/sampler/diffusers.py runs the same
// loops with the library itself.
//
// Without a counterpart here, and why:
//
//   - test_scheduler_lms, full_loop_with_noise: begins in the middle of a
//     schedule with coefficients for a history that is not there.
//   - test_scheduler_pndm and _ddim_inverse, full_loop_with_v_prediction: there
//     v is averaged, or taken at the lower noise level, before it becomes eps.
//   - test_scheduler_ddim_inverse, full_loop_with_no_set_alpha_to_one: clips
//     the sample but not the eps that it came from.
//   - test_scheduler_ipndm: its process starts where alpha is 0, with sigma
//     infinite (the published mean is 2,540,529). The method is compared with
//     its coefficients and by its order instead.
//   - test_scheduler_dpm_single: its midpoint is the next timestep of the
//     list; ours is the midpoint in lambda, as in k-diffusion.
//   - test_scheduler_dpm_multi with algorithm_type dpmsolver, solver orders 1
//     and 3: no published numbers.
//   - test_scheduler_dpm_multi_inverse: multistep inversion is not offered.
//   - test_scheduler_dpm_sde, _cosine_dpmsolver_multistep: their noise is
//     torchsde's Brownian tree.
//   - test_scheduler_vq_diffusion, _flow_map_euler, _helios, _piflow and the
//     token schedulers: samplers that are not offered.
//   - test_scheduler_flow_match_euler_discrete, _ltx_euler_ancestral_rf: no
//     published numbers.
//   - *_parallel's full loops, sasolver's full_loop_no_noise (in the versions
//     that seed torch's generator), *_device and test_switch: the same numbers
//     once more.
//   - *1DTest: the same arithmetic on fewer elements.
//   - Zero-SNR options and checks of shapes, types and saved configurations:
//     no published numbers.

// dummySample is dummy_sample_deter or, flipped, dummy_noise_deter.
func dummySample(flipped bool) []float32 {
	const count = 4 * 3 * 8 * 8
	x := make([]float32, count)
	for i := range x {
		b, k := i/192, i%192 // k runs over [C, H, W]
		v := k*4 + b
		if flipped {
			v = count - 1 - v
		}
		x[i] = float32(v) / count
	}
	return x
}

// dummyModel is dummy_model: sample·t/(t+1).
func dummyModel(_ context.Context, dst, x []float32, t float64) error {
	copy(dst, x)
	multiply(dst, t/(t+1))
	return nil
}

// given is noise that was drawn elsewhere.
type given []float32

func (g given) Normal(dst []float32) { copy(dst, g) }

type published struct {
	source    string // file and test
	sum, mean float64
	process   *Process
	sigmas    []float64
	predict   Prediction // epsilon if empty
	sample    Func       // with
	options   Options    // and
	clip      float64    // of the clean sample, if above 0
	threshold bool       // dynamic thresholding at 0.87 with top 0.5
	rounded   bool       // timesteps for the model
	start     int        // how: see below
	wrap      func(Denoiser, *Process) Denoiser
	loop      func(t *testing.T) ([]float32, error) // instead of all that
}

// How a loop starts: with a sample in the variance-preserving scale, with
// noise added to it, or as EulerDiscreteScheduler's tests do it.
const (
	startVP = iota
	startNoised
	startScaled
	startScaledNoised
)

// levelsAt gives the noise levels of timesteps, linear in sigma between the
// trained ones, and then last.
func levelsAt(p *Process, last float64, timesteps ...float64) []float64 {
	var sigmas []float64
	for _, t := range timesteps {
		k, f := math.Modf(t)
		lo, hi := p.levels[int(k)], p.levels[min(int(k)+1, len(p.levels)-1)]
		sigmas = append(sigmas, lo+f*(hi-lo))
	}
	return append(sigmas, last)
}

// falling gives n numbers from a to b.
func falling(a, b float64, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = a + (b-a)*float64(i)/float64(n-1)
	}
	return x
}

func discrete(t *testing.T, betaSchedule string, start, end float64, n int) *Process {
	alphas, err := NewAlphasCumprod(betaSchedule, start, end, n)
	require.NoError(t, err)
	p, err := NewDiscrete(alphas)
	require.NoError(t, err)
	return p
}

func publishedCases(t *testing.T) []published {
	ddpm := discrete(t, "linear", 0.0001, 0.02, 1000)
	steep := discrete(t, "linear", 0.01, 0.02, 1000)
	long := discrete(t, "linear", 0.0001, 0.02, 1100)
	latent := StableDiffusion()
	cosine := discrete(t, "squaredcos_cap_v2", 0, 0, 1000)

	full := DefaultOptions()
	still := full
	still.Eta = 0
	second, third := still, still
	second.Order, third.Order = 2, 3
	some := still
	some.Eta = 0.3
	measured := full
	measured.Process = ddpm
	inSteep := still
	inSteep.Process = steep

	leading := func(p *Process, last float64) []float64 { return levelsAt(p, last, falling(900, 0, 10)...) }
	leadingMin := func(p *Process) []float64 { return levelsAt(p, p.levels[0], falling(900, 100, 9)...) }
	all := levelsAt(ddpm, 0, falling(999, 0, 1000)...)
	linspace := levelsAt(long, 0, falling(1099, 0, 10)...)
	karras, err := KarrasRho(long.levels[0], long.levels[1099], 7, 10)
	require.NoError(t, err)
	// linspace of the multistep schedulers, which end at the lowest level.
	multi := levelsAt(ddpm, ddpm.levels[0], 999, 899, 799, 699, 599, 500, 400, 300, 200, 100)
	multiKarras, err := KarrasRho(ddpm.levels[0], ddpm.levels[999], 7, 10)
	require.NoError(t, err)
	multiKarras[10] = multiKarras[9] * (1 - 1e-9) // a last step of no length
	multiLu, err := Exponential(ddpm, 10)
	require.NoError(t, err)
	multiLu[10] = multiLu[9] * (1 - 1e-9)
	lcm, err := LCMTimesteps(latent, 10)
	require.NoError(t, err)
	lcm1, err := LCMTimesteps(latent, 1)
	require.NoError(t, err)
	ending := func(s []float64, last float64) []float64 {
		return append(append([]float64(nil), s[:len(s)-1]...), last)
	}
	var unclip []float64
	for _, at := range falling(999, 0, 25) {
		unclip = append(unclip, math.RoundToEven(at))
	}
	invert := func(ctx context.Context, d Denoiser, x []float32, s Sigmas, _ Noise, o Options) error {
		return Invert(ctx, d, x, s, o)
	}

	return []published{
		{source: "ddim: full_loop_no_noise", sum: 172.0067, mean: 0.223967, process: ddpm, sigmas: leading(ddpm, 0), sample: DDIM, options: still},
		{source: "ddim: full_loop_with_v_prediction", sum: 52.5302, mean: 0.0684, process: ddpm, sigmas: leading(ddpm, 0), predict: PredictV, sample: DDIM, options: still},
		{source: "ddim: full_loop_with_set_alpha_to_one", sum: 149.8295, mean: 0.1951, process: steep, sigmas: leading(steep, 0), sample: DDIM, options: still},
		{source: "ddim: full_loop_with_no_set_alpha_to_one", sum: 149.0784, mean: 0.1941, process: steep, sigmas: leadingMin(steep), sample: DDIM, options: still},
		{source: "ddim: full_loop_with_noise", sum: 354.5418, mean: 0.4616, process: ddpm, sigmas: levelsAt(ddpm, 0, 100, 0), sample: DDIM, options: still, start: startNoised},

		{source: "ddpm: full_loop_no_noise", sum: 258.9606, mean: 0.3372, process: ddpm, sigmas: all, sample: DDPM, options: full, clip: 1},
		{source: "ddpm: full_loop_with_v_prediction", sum: 202.0296, mean: 0.2631, process: ddpm, sigmas: all, predict: PredictV, sample: DDPM, options: full, clip: 1},
		{source: "ddpm: full_loop_with_noise", sum: 387.9466, mean: 0.5051, process: ddpm, sigmas: levelsAt(ddpm, 0, 1, 0), sample: DDPM, options: full, clip: 1, start: startNoised},
		{source: "not published: ddpm with fixed_large", process: ddpm, sigmas: all, sample: DDPMLarge, options: full, clip: 1},
		{source: "unclip: full_loop", sum: 252.2682495, mean: 0.3284743, process: cosine, sigmas: levelsAt(cosine, 0, falling(999, 0, 1000)...), sample: DDPM, options: full, clip: 1},
		{source: "unclip: full_loop_skip_timesteps", sum: 258.2044983, mean: 0.3362038, process: cosine, sigmas: levelsAt(cosine, 0, unclip...), sample: DDPM, options: full, clip: 1},

		{source: "euler: full_loop_no_noise", sum: 10.0807, mean: 0.0131, process: long, sigmas: linspace, sample: Euler, options: still, start: startScaled},
		{source: "euler: full_loop_with_v_prediction", sum: 0.0002, mean: 2.2676e-06, process: long, sigmas: linspace, predict: PredictV, sample: Euler, options: still, start: startScaled},
		{source: "euler: full_loop_device_karras_sigmas", sum: 124.52299499511719, mean: 0.16213932633399963, process: long, sigmas: karras, sample: Euler, options: still, start: startScaled},
		{source: "euler: full_loop_with_noise", sum: 57062.9297, mean: 74.3007, process: long, sigmas: linspace[8:], sample: Euler, options: still, start: startScaledNoised},
		{source: "euler_ancestral: full_loop_no_noise", sum: 152.3192, mean: 0.1983, process: long, sigmas: linspace, sample: EulerAncestral, options: full, start: startScaled},
		{source: "euler_ancestral: full_loop_with_v_prediction", sum: 108.4439, mean: 0.1412, process: long, sigmas: linspace, predict: PredictV, sample: EulerAncestral, options: full, start: startScaled},
		{source: "euler_ancestral: full_loop_with_noise", sum: 56163.0508, mean: 73.1290, process: long, sigmas: linspace[8:], sample: EulerAncestral, options: full, start: startScaledNoised},
		{source: "heun: full_loop_no_noise", sum: 0.1233, mean: 0.0002, process: long, sigmas: linspace, sample: Heun, options: still, start: startScaled},
		{source: "heun: full_loop_with_v_prediction", sum: 4.6934e-07, mean: 6.1112e-10, process: long, sigmas: linspace, predict: PredictV, sample: Heun, options: still, start: startScaled},
		{source: "heun: full_loop_device_karras_sigmas", sum: 0.00015, mean: 1.9869554535034695e-07, process: long, sigmas: karras, sample: Heun, options: still, start: startScaled},
		{source: "heun: full_loop_with_noise", sum: 75074.8906, mean: 97.7538, process: long, sigmas: linspace[8:], sample: Heun, options: still, start: startScaledNoised},
		{source: "lms: full_loop_no_noise", sum: 1006.388, mean: 1.31, process: long, sigmas: linspace, sample: LMS, options: still, start: startScaled},
		{source: "lms: full_loop_with_v_prediction", sum: 0.0017, mean: 2.2676e-06, process: long, sigmas: linspace, predict: PredictV, sample: LMS, options: still, start: startScaled},
		{source: "lms: full_loop_device_karras_sigmas", sum: 3812.9927, mean: 4.9648, process: long, sigmas: karras, sample: LMS, options: still, start: startScaled},
		{source: "kdpm2_discrete: full_loop_no_noise", sum: 20.4125, mean: 0.0266, process: long, sigmas: linspace, sample: DPM2, options: still, start: startScaled},
		{source: "kdpm2_discrete: full_loop_with_v_prediction", sum: 4.6934e-07, mean: 6.1112e-10, process: long, sigmas: linspace, predict: PredictV, sample: DPM2, options: still, start: startScaled},
		{source: "kdpm2_discrete: full_loop_with_noise", sum: 70408.4062, mean: 91.6776, process: long, sigmas: linspace[8:], sample: DPM2, options: still, start: startScaledNoised},
		{source: "kdpm2_ancestral: full_loop_no_noise", sum: 13979.9433, mean: 18.2030, process: long, sigmas: linspace, sample: DPM2Ancestral, options: full, start: startScaled},
		{source: "kdpm2_ancestral: full_loop_with_v_prediction", sum: 331.8133, mean: 0.4320, process: long, sigmas: linspace, predict: PredictV, sample: DPM2Ancestral, options: full, start: startScaled},
		{source: "kdpm2_ancestral: full_loop_with_noise", sum: 93087.3437, mean: 121.2074, process: long, sigmas: linspace[8:], sample: DPM2Ancestral, options: full, start: startScaledNoised},

		{source: "pndm: full_loop_no_noise", sum: 198.1318, mean: 0.2580, process: ddpm, sigmas: leadingMin(ddpm), sample: PNDM, options: measured},
		{source: "pndm: full_loop_with_set_alpha_to_one", sum: 230.0399, mean: 0.2995, process: steep, sigmas: leading(steep, 0), sample: PNDM, options: inSteep},
		{source: "pndm: full_loop_with_no_set_alpha_to_one", sum: 186.9482, mean: 0.2434, process: steep, sigmas: leadingMin(steep), sample: PNDM, options: inSteep},

		{source: "not published: pndm with skip_prk_steps", process: ddpm, sigmas: leadingMin(ddpm), sample: PLMS, options: still},

		{source: "dpm_multi: full_loop_no_noise", mean: 0.3301, process: ddpm, sigmas: multi, sample: DPMPP2M, options: still},
		{source: "dpm_multi: full_loop_no_noise_thres", mean: 1.1364, process: ddpm, sigmas: multi, sample: DPMPP2M, options: still, threshold: true},
		{source: "dpm_multi: full_loop_with_v_prediction", mean: 0.2251, process: ddpm, sigmas: multi, predict: PredictV, sample: DPMPP2M, options: still},
		{source: "dpm_multi: full_loop_with_karras_and_v_prediction", mean: 0.2096, process: ddpm, sigmas: multiKarras, predict: PredictV, sample: DPMPP2M, options: still, rounded: true},
		{source: "dpm_multi: full_loop_with_noise", sum: 318.4111, mean: 0.4146, process: ddpm, sigmas: multi[5:], sample: DPMPP2M, options: still, start: startNoised},

		{source: "dpm_multi: full_loop_with_lu_and_v_prediction", mean: 0.1554, process: ddpm, sigmas: multiLu, predict: PredictV, sample: DPMPP2M, options: still, rounded: true},
		{source: "not published: dpm_multi with sde-dpmsolver++", process: ddpm, sigmas: multi, sample: DPMPP2MSDE, options: full},

		{source: "unipc: full_loop_no_noise", mean: 0.2464, process: ddpm, sigmas: multi, sample: UniPCBH2, options: second},
		{source: "unipc: full_loop_with_karras", mean: 0.2925, process: ddpm, sigmas: multiKarras, sample: UniPCBH2, options: second, rounded: true},
		{source: "unipc: full_loop_with_v_prediction", mean: 0.1014, process: ddpm, sigmas: multi, predict: PredictV, sample: UniPCBH2, options: second},
		{source: "unipc: full_loop_with_karras_and_v_prediction", mean: 0.1966, process: ddpm, sigmas: multiKarras, predict: PredictV, sample: UniPCBH2, options: second, rounded: true},
		{source: "unipc: full_loop_with_noise", sum: 315.5757, mean: 0.4109, process: ddpm, sigmas: multi[8:], sample: UniPCBH2, options: second, start: startNoised},
		{source: "not published: unipc of order 3, bh1", process: ddpm, sigmas: multi, sample: UniPC, options: still},

		{source: "deis: full_loop_no_noise", mean: 0.23916, process: ddpm, sigmas: multi, sample: DEISLog, options: second},
		{source: "deis: full_loop_with_v_prediction", mean: 0.091, process: ddpm, sigmas: multi, predict: PredictV, sample: DEISLog, options: second},
		{source: "deis: full_loop_with_noise", sum: 315.3016, mean: 0.41054, process: ddpm, sigmas: multi[8:], sample: DEISLog, options: second, start: startNoised},
		{source: "not published: deis of order 3", process: ddpm, sigmas: multi, sample: DEISLog, options: third},

		{source: "lcm: full_loop_onestep", sum: 18.7097, mean: 0.0244, process: latent, sigmas: lcm1, sample: LCM, options: full, wrap: Consistency},
		{source: "lcm: full_loop_multistep", sum: 197.7616, mean: 0.2575, process: latent, sigmas: lcm, sample: LCM, options: full, wrap: Consistency},
		{source: "tcd: full_loop_onestep_deter", sum: 29.8715, mean: 0.0389, process: latent, sigmas: ending(lcm1, latent.levels[0]), sample: TCD, options: still},
		{source: "tcd: full_loop_multistep_deter", sum: 181.2040, mean: 0.2359, process: latent, sigmas: ending(lcm, latent.levels[0]), sample: TCD, options: still},
		{source: "not published: tcd with eta 0.3", process: latent, sigmas: ending(lcm, latent.levels[0]), sample: TCD, options: some},

		{source: "ddim_inverse: full_loop_no_noise", sum: 671.6816, mean: 0.8746, process: ddpm, sigmas: leading(ddpm, 0), sample: invert, options: still},
		{source: "ddim_inverse: full_loop_with_set_alpha_to_one", sum: 539.9622, mean: 0.7031, process: steep, sigmas: leading(steep, 0), sample: invert, options: still},
	}
}

// totals are the sum and the mean of absolute values.
type totals struct{ Sum, Mean float64 }

func total(x []float32) totals {
	var sum float64
	for _, v := range x {
		sum += math.Abs(float64(v))
	}
	return totals{sum, sum / float64(len(x))}
}

// near compares with the tolerances of the library's tests, 1e-2 for the sum
// and 1e-3 for the mean, but of large numbers with a relative one.
func (a totals) near(t *testing.T, b totals, what string) {
	t.Helper()
	if a.Sum != 0 && !(math.Abs(a.Sum-b.Sum) <= max(1e-2, 3e-6*a.Sum)) {
		t.Errorf("%s: sum %.6f, want %.6f", what, b.Sum, a.Sum)
	}
	if !(math.Abs(a.Mean-b.Mean) <= max(1e-3, 3e-6*a.Mean)) {
		t.Errorf("%s: mean %.8f, want %.8f", what, b.Mean, a.Mean)
	}
}

func TestPublishedResultsOfDiffusers(t *testing.T) {
	var library map[string]totals
	golden(t, "diffusers.json", &library)
	for _, c := range append(publishedCases(t), otherPublished()...) {
		t.Run(c.source, func(t *testing.T) {
			ran, ok := library[c.source]
			require.True(t, ok, "not in diffusers.json")
			delete(library, c.source)
			if c.mean != 0 {
				totals{c.sum, c.mean}.near(t, ran, "the library itself")
			}
			if exact, ok := library["float64 "+c.source]; ok {
				// The library's float32 is off by up to a thousandth here.
				require.InEpsilon(t, exact.Sum, ran.Sum, 1e-3)
				delete(library, "float64 "+c.source)
				ran = exact
			}
			run := c.run
			if c.loop != nil {
				run = c.loop
			}
			x, err := run(t)
			require.NoError(t, err)
			ran.near(t, total(x), "ours")
		})
	}
	require.Empty(t, library, "results that no case compares with")
}

// run makes the loop of a published test out of a sampler.
func (c *published) run(t *testing.T) ([]float32, error) {
	predict := c.predict
	if predict == "" {
		predict = PredictEpsilon
	}
	x := dummySample(false)
	first, last := c.sigmas[0], c.sigmas[len(c.sigmas)-1]
	o := c.options
	model := Model(dummyModel)
	if c.rounded {
		model = func(ctx context.Context, dst, x []float32, t float64) error {
			return dummyModel(ctx, dst, x, math.Round(t))
		}
	}
	denoise := denoiser(t, c.process, predict, model)
	switch c.start {
	case startVP:
		fromVP(x, first)
		if len(c.source) > 12 && c.source[:12] == "ddim_inverse" {
			x = dummySample(false)
			fromVP(x, last)
			last = first
		}
	case startNoised:
		addNoise(x, first, given(dummySample(true)))
	default:
		multiply(x, c.initSigma())
		if c.start == startScaledNoised {
			addNoise(x, first, given(dummySample(true)))
		}
		denoise = c.scaledLoop(t, predict, model, x, &o)
	}
	if c.clip > 0 {
		denoise = Clip(denoise, c.clip)
	}
	if c.threshold {
		denoise = DynamicThreshold(denoise, 0.87, 0.5, 4)
	}
	if c.wrap != nil {
		denoise = c.wrap(denoise, c.process)
	}
	err := c.sample(t.Context(), denoise, x, c.sigmas, NewTorch(0), o)
	if c.start <= startNoised {
		toVP(x, last)
	}
	return x, err
}

// initSigma is init_noise_sigma with linspace spacing: the highest sigma.
func (c *published) initSigma() float64 { return c.process.SigmaMax() }

// scaledLoop imitates that the tests of the k-diffusion-like schedulers store
// the scaled model input as the sample: each step begins with a sample that
// was divided by sqrt(sigma²+1), and the model sees that sample as it is.
func (c *published) scaledLoop(t *testing.T, predict Prediction, model Model, x []float32, o *Options) Denoiser {
	toVP(x, c.sigmas[0])
	o.OnStep = func(s Step) error {
		if s.SigmaNext > 0 {
			toVP(x, s.SigmaNext)
		}
		return nil
	}
	var input []float32
	return func(ctx context.Context, dst, y []float32, sigma float64) error {
		input = grow(input, len(y))
		copy(input, y)
		if &y[0] != &x[0] { // the second evaluation of a step: not yet scaled
			toVP(input, sigma)
		}
		if err := model(ctx, dst, input, c.process.SigmaToT(sigma)); err != nil {
			return err
		}
		cSkip, cOut, _ := precondition(t, c.process, predict).Scalings(sigma)
		// d = (sample - D)/sigma is computed with the scaled sample too.
		for i, v := range input {
			d := (float64(v) - (cSkip*float64(v) + cOut*float64(dst[i]))) / sigma
			dst[i] = float32(float64(y[i]) - sigma*d)
		}
		return nil
	}
}
