package sampler

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// moments gives the mean, the variance and the fourth standardized moment.
func moments(x []float32) (mean, variance, kurtosis float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		d := float64(v) - mean
		variance += d * d / float64(len(x))
		kurtosis += d * d * d * d / float64(len(x))
	}
	return mean, variance, kurtosis / (variance * variance)
}

func TestNoiseIsNormal(t *testing.T) {
	const n = 1 << 16
	brownian := NewBrownian(9)
	for name, draw := range map[string]func(x []float32){
		"torch":       NewTorch(9).Normal,
		"torch pairs": func(x []float32) { inParts(x, 15, NewTorch(9).Normal) },
		"philox":      NewPhilox(9).Normal,
		"brownian":    func(x []float32) { brownian.Interval(x, 3, 2.5) },
		"far":         func(x []float32) { brownian.Interval(x, 900, 0.1) },
		"close":       func(x []float32) { brownian.Interval(x, 0.0301, 0.03) },
		"path":        func(x []float32) { newPath(NewTorch(9), len(x)).Interval(x, 3, 2.5) },
		"beyond":      func(x []float32) { brownian.Interval(x, 5000, 2) },
	} {
		x := make([]float32, n)
		draw(x)
		mean, variance, kurtosis := moments(x)
		// four standard errors
		require.InDelta(t, 0, mean, 4/math.Sqrt(n), name)
		require.InDelta(t, 1, variance, 4*math.Sqrt(2.0/n), name)
		require.InDelta(t, 3, kurtosis, 4*math.Sqrt(24.0/n), name)
	}
}

func inParts(x []float32, size int, draw func([]float32)) {
	for len(x) > 0 {
		k := min(size, len(x))
		draw(x[:k])
		x = x[k:]
	}
}

func TestBrownianIsOnePath(t *testing.T) {
	const n = 1000
	interval := func(seed uint64, a, b float64) []float32 {
		x := make([]float32, n)
		NewBrownian(seed).Interval(x, a, b)
		return x
	}
	// The increments of two parts add up to that of the whole.
	whole, first, second := interval(4, 10, 2), interval(4, 10, 7), interval(4, 7, 2)
	for i := range whole {
		sum := math.Sqrt(3)*float64(first[i]) + math.Sqrt(5)*float64(second[i])
		require.InDelta(t, math.Sqrt(8)*float64(whole[i]), sum, 2e-4)
	}
	require.InDelta(t, 0, dot(first, second)/n, 4/math.Sqrt(n), "parts are independent")
	require.InDelta(t, 0, dot(first, interval(5, 10, 7))/n, 4/math.Sqrt(n), "so are seeds")
	// Backwards it has the other sign.
	back := interval(4, 7, 10)
	for i := range first {
		require.InDelta(t, -first[i], back[i], 1e-6)
	}
	// What was asked before does not matter.
	walked, x := NewBrownian(4), make([]float32, n)
	for _, ab := range [][2]float64{{14, 10}, {0.5, 0.1}, {10, 7}} {
		walked.Interval(x, ab[0], ab[1])
	}
	require.Equal(t, first, x)
	// Nor does the number of other pictures.
	batch := NewBatch(3, 2, NewBrownian)
	both := make([]float32, 2*n)
	batch.(IntervalNoise).Interval(both, 10, 7)
	require.Equal(t, first, both[n:])
}

// More steps on the same path refine the same sample.
func TestBrownianKeepsThePicture(t *testing.T) {
	run := func(n int, noise Noise) []float32 {
		sigmas := karras(t, n)
		x := begun(256, sigmas[0], NewTorch(1))
		require.NoError(t, DPMPP2MSDE(t.Context(), mixture, x, sigmas, noise, DefaultOptions()))
		return x
	}
	far := func(a, b []float32) float64 {
		d := append([]float32(nil), a...)
		add(d, -1, b)
		return math.Sqrt(dot(d, d) / float64(len(d)))
	}
	path := far(run(40, NewBrownian(2)), run(80, NewBrownian(2)))
	fresh := far(run(40, NewTorch(2)), run(80, NewTorch(2)))
	require.Less(t, path, fresh/2)
	own := far(run(40, newPath(NewTorch(2), 256)), run(80, newPath(NewTorch(2), 256)))
	require.Less(t, own, fresh/2)
	require.Greater(t, far(run(40, newPath(NewTorch(2), 256)), run(40, newPath(NewTorch(3), 256))), fresh/2)
}

func TestSlerp(t *testing.T) {
	a, b := begun(4096, 1, NewTorch(1)), begun(4096, 1, NewTorch(2))
	x := make([]float32, len(a))
	Slerp(x, a, b, 0)
	requireClose(t, a, x, 1e-6, "start")
	Slerp(x, a, b, 1)
	requireClose(t, b, x, 1e-6, "end")
	Slerp(x, a, b, 0.5)
	require.InDelta(t, 1, deviation(x), 0.03, "a straight line would have 0.7")
	Slerp(x, a, a, 0.3)
	requireClose(t, a, x, 1e-6, "no arc")
	Slerp(x, make([]float32, len(a)), b, 0.5)
	require.Negative(t, nonFinite(x))
	SlerpColumns(x, a, b, 0.5, 0, 7) // no such shape
	require.InDelta(t, 1, deviation(x), 0.03)
}

func TestInversionComesBack(t *testing.T) {
	data := gaussians{0.6}
	sigmas := karras(t, 400)
	want := make([]float32, 64)
	for i := range want {
		want[i] = float32(i-32) / 16
	}
	x := append([]float32(nil), want...)
	steps := 0
	o := DefaultOptions()
	o.Eta = 0
	o.OnStep = func(s Step) error { steps++; require.Greater(t, s.SigmaNext, s.Sigma); return nil }
	require.NoError(t, Invert(t.Context(), data.denoise, x, sigmas, o))
	require.Equal(t, 400, steps)
	for i, v := range x {
		noise := data.follow(float64(want[i]), 0, sigmas[0])
		require.InDelta(t, noise, v, 0.01*math.Abs(noise)+1e-6)
	}
	o.OnStep = nil
	require.NoError(t, DDIM(t.Context(), data.denoise, x, sigmas, nil, o))
	requireClose(t, want, x, 0.03, "there and back")
}

func TestForwardProcesses(t *testing.T) {
	const n = 1 << 14
	x := make([]float32, n)
	for i := range x {
		x[i] = 2
	}
	addNoise(x, 3, NewTorch(1))
	require.InDelta(t, 3, deviation(x), 0.1)

	y := begun(n, 0, NewTorch(1))
	initialNoise(y, nil, 2, NewTorch(4))
	want := begun(n, 2, NewTorch(4))
	require.Equal(t, want, y)
	initialNoise(y, x, 2, NewTorch(4))
	add(want, 1, x)
	require.Equal(t, want, y)

	flow := Flow(1)
	copy(y, x)
	flow.AddNoise(y, 0, NewTorch(1))
	require.Equal(t, x, y)
	flow.AddNoise(y, 1, NewTorch(1))
	requireClose(t, begun(n, 1, NewTorch(1)), y, 1e-6, "all noise")
	flow.InitialNoise(y, x, 0.75, NewTorch(4))
	want = begun(n, 0.75, NewTorch(4))
	add(want, 0.25, x)
	require.Equal(t, want, y)
	flow.InitialNoise(y, x, 2, NewTorch(4))
	require.Equal(t, begun(n, 2, NewTorch(4)), y, "beyond a flow's levels")
}

// A net that knows the answer, in each parameterization, gives the same
// denoiser.
func TestPredictionsDenoise(t *testing.T) {
	data := gaussians{0.3}
	x := begun(32, 3, NewTorch(1))
	const sigma = 3
	want := make([]float32, 32)
	require.NoError(t, data.denoise(t.Context(), want, x, sigma))
	for _, c := range []struct {
		process *Process
		predict Prediction
		input   float64 // what the net's input is multiplied by
		target  func(x0, eps float64) float64
	}{
		{StableDiffusion(), PredictEpsilon, math.Sqrt(10), func(_, eps float64) float64 { return eps }},
		{StableDiffusion(), PredictV, math.Sqrt(10), func(x0, eps float64) float64 { return (eps - 3*x0) / math.Sqrt(10) }},
		{VPSDE(), PredictSample, math.Sqrt(10), func(x0, _ float64) float64 { return x0 }},
		{EDM(0.002, 80, 1), PredictEDM, math.Sqrt(10), func(x0, eps float64) float64 { return (3*x0 - eps) / math.Sqrt(10) }},
		{EDM(0.002, 80, 1), PredictV, math.Sqrt(10), func(x0, eps float64) float64 { return (eps - 3*x0) / math.Sqrt(10) }},
		{VESDE(0.01, 50), PredictScore, 1, func(_, eps float64) float64 { return -eps / 3 }},
		{VESDE(0.01, 50), PredictScaledScore, 1, func(_, eps float64) float64 { return -eps }},
		{VESDE(0.01, 50), PredictEpsilon, 1, func(_, eps float64) float64 { return eps }},
		{SubVPSDE(), PredictEpsilon, (3 + math.Sqrt(13)) / 2, func(_, eps float64) float64 { return eps }},
		// x0 = skip·x + gain·F, with sigma_min 1 and sigma 3: skip 1/5, gain 2/sqrt(10).
		{EDM(1, 80, 1), PredictConsistency, math.Sqrt(10), func(x0, eps float64) float64 { return (x0 - (x0+3*eps)/5) * math.Sqrt(10) / 2 }},
	} {
		p := precondition(t, c.process, c.predict)
		require.Same(t, c.process, p.Process())
		require.Equal(t, c.predict, p.Prediction())
		net := func(_ context.Context, dst, scaled []float32, at float64) error {
			require.InDelta(t, c.process.SigmaToT(sigma), at, 1e-9)
			requireClose(t, x, scaledBy(scaled, c.input), 1e-6, "input")
			for i, x0 := range want {
				dst[i] = float32(c.target(float64(x0), float64(x[i]-x0)/sigma))
			}
			target := make([]float32, len(dst))
			p.Target(target, want, x, sigma)
			requireClose(t, dst, target, 1e-6, "target")
			return nil
		}
		what := string(c.process.Kind()) + " " + string(c.predict)
		got := make([]float32, 32)
		require.NoError(t, p.Denoiser(net)(t.Context(), got, x, sigma))
		requireClose(t, want, got, 1e-5, what)
		require.NoError(t, p.BatchDenoiser(func(ctx context.Context, dst [][]float32, x []float32, at float64) error {
			require.Nil(t, dst[1])
			return net(ctx, dst[0], x, at)
		})(t.Context(), [][]float32{got, nil}, x, sigma))
		requireClose(t, want, got, 1e-5, what)
	}
}

func TestPreconditionRefusesOtherPredictions(t *testing.T) {
	for _, c := range []struct {
		process *Process
		predict Prediction
		message string
	}{
		{StableDiffusion(), PredictFlow, "prediction of a process of kind vp must be epsilon or v or sample, got flow"},
		{Flow(3), PredictEpsilon, "prediction of a process of kind flow must be flow or sample, got epsilon"},
		{EDM(0.002, 80, 0.5), PredictEpsilon, "prediction of a process of kind edm must be edm or v or consistency, got epsilon"},
		{VESDE(0.01, 50), PredictV, "prediction of a process of kind ve must be score or scaled_score or epsilon, got v"},
		{StableDiffusion(), "epsilom", `prediction must be epsilon, v, sample, edm, score, flow, scaled_score or consistency, got "epsilom"`},
		{nil, PredictV, "a prediction must have a process, got nil"},
	} {
		_, err := Precondition(c.process, c.predict)
		require.EqualError(t, err, c.message)
	}
}

func scaledBy(x []float32, k float64) []float32 {
	y := append([]float32(nil), x...)
	multiply(y, k)
	return y
}

// flowOf is the velocity of a mixture's flow: eps - x0 expected at (1-s)·x0 +
// s·eps.
func flowOf(data gaussians) Model {
	return func(ctx context.Context, dst, x []float32, t float64) error {
		s := t / 1000
		if s == 1 { // nothing is known: x is eps, and the data's mean is 0
			copy(dst, x)
			return nil
		}
		scaled := scaledBy(x, 1/(1-s))
		if err := data.denoise(ctx, dst, scaled, s/(1-s)); err != nil {
			return err
		}
		sum2(dst, -1/s, dst, 1/s, x) // x = x0 + s·(eps - x0)
		return nil
	}
}

func TestFlows(t *testing.T) {
	data := gaussians{0.3}
	for _, shift := range []float64{1, 3} {
		p := Flow(shift)
		denoise := denoiser(t, p, PredictFlow, flowOf(data))
		sigmas, err := Linear(p, 200)
		require.NoError(t, err)
		require.Equal(t, 1.0, sigmas[0])
		start := begun(64, 1, NewTorch(1))
		for name, sample := range map[string]Func{"euler": Euler, "heun": Heun, "lms": LMS} {
			x := append([]float32(nil), start...)
			require.NoError(t, sample(t.Context(), denoise, x, sigmas, nil, DefaultOptions()))
			for i, v := range x {
				// At sigma 1 the sample is noise of deviation 1 alone.
				u := 0.5 * math.Erfc(-float64(start[i])/math.Sqrt2)
				require.InDelta(t, u, data.cumulative(float64(v), 0), 0.02, "%s, shift %g", name, shift)
			}
		}
	}
}

// Every sampler takes noise to the data of a flow, but for those that need
// another model (lcm), or are no method of an order on steps as uneven as these.
func TestEverySamplerFollowsAFlow(t *testing.T) {
	every(t, func(t *testing.T, s Sampler) {
		n := 80
		switch s.Name {
		case "lcm", "consistency", "dpm++2mv2", "cfg++_ud10_ab":
			return
		case "tcd":
			s.Options.Eta = 0
		case "ddpm", "ddpm_small", "ddpm_large", "pc":
			n = 400
		case "dpm_adaptive":
			s.Options.RTol, s.Options.ATol = 0.005, 0.001
		}
		followFlow(t, s, n, 0.004)
	})
	// So do those that can add noise, and with few steps.
	for _, name := range []string{"euler", "heun", "heun++", "dpm2"} {
		churned, err := lookup(t, name).With(map[string]float64{"s_churn": 20})
		require.NoError(t, err)
		t.Run(name+" s_churn", func(t *testing.T) { followFlow(t, churned, 80, 0.004) })
	}
	for _, name := range []string{"ddim", "res_2s", "res_multistep", "exp_heun", "euler_cfg++", "dpm_fast"} {
		noisy, err := lookup(t, name).With(map[string]float64{"eta": 0.7})
		require.NoError(t, err)
		t.Run(name+" eta", func(t *testing.T) { followFlow(t, noisy, 80, 0.004) })
	}
	for _, name := range []string{"dpm2_a", "dpm++2s_a", "dpm++2m_sde", "restart", "seeds_2", "res_multistep_ancestral"} {
		t.Run(name+" few", func(t *testing.T) { followFlow(t, lookup(t, name), 20, 0.04) })
	}
}

// followFlow compares what a sampler makes with the data's distribution.
func followFlow(t *testing.T, s Sampler, n int, tolerance float64) {
	const count = 8_000
	data, process := gaussians{0.3}, Flow(3)
	sigmas, err := Linear(process, n)
	require.NoError(t, err)
	noise, x := NewTorch(11), make([]float32, count)
	process.InitialNoise(x, nil, sigmas[0], noise)
	var last Step
	o := s.Options
	o.Process = process
	o.OnStep = func(s Step) error {
		if last.Index == 0 {
			require.Equal(t, 1.0, s.Sigma)
		}
		require.Less(t, s.SigmaNext, s.Sigma)
		last = s
		return nil
	}
	require.NoError(t, s.Sample(t.Context(), denoiser(t, process, PredictFlow, flowOf(data)), x, sigmas, noise, o))
	requireClose(t, x, last.X, 1e-6, "the last step's sample")
	slices.Sort(x)
	var worst float64
	for i, v := range x {
		alpha := 1 - last.SigmaNext // dpm_fast and dpm_adaptive end above 0
		f := data.cumulative(float64(v)/alpha, last.SigmaNext/alpha)
		worst = max(worst, math.Abs(f-float64(i)/count), math.Abs(f-float64(i+1)/count))
	}
	if limit := 1.95/math.Sqrt(count) + tolerance; !(worst <= limit) {
		t.Errorf("off by %.4f, must be at most %.4f", worst, limit)
	}
}

// A flow's level is at most 1, and its first one may be as near to it as steps
// get.
func TestFlowLevels(t *testing.T) {
	s := lookup(t, "euler_a")
	s.Options.Process = Flow(1)
	still := func(_ context.Context, dst, _ []float32, _ float64) error { clear(dst); return nil }
	x := make([]float32, 4)
	var e *SigmasError
	require.ErrorAs(t, s.Sample(t.Context(), still, x, []float64{2, 1, 0}, NewTorch(1), s.Options), &e)
	require.EqualError(t, e, "sigma 0 is 2, must be at most 1 in a flow")
	require.NoError(t, s.Sample(t.Context(), still, x, []float64{1, 0.99999, 0.99998, 0.5, 0}, NewTorch(1), s.Options))
	require.Equal(t, make([]float32, 4), x)
}

// A learned variance of -1 is the posterior's, and of 1 the forward process's.
func TestLearnedVariance(t *testing.T) {
	sigmas := karras(t, 30)
	run := func(f Func, d Denoiser) []float32 {
		noise := NewTorch(2)
		x := begun(32, sigmas[0], noise)
		require.NoError(t, f(t.Context(), d, x, sigmas, noise, DefaultOptions()))
		return x
	}
	learned := func(level float32) []float32 {
		return run(DDPMLearned(func(ctx context.Context, dst, v, x []float32, sigma float64) error {
			for i := range v {
				v[i] = level
			}
			return mixture(ctx, dst, x, sigma)
		}), nil)
	}
	requireClose(t, run(DDPM, mixture), learned(-1), 1e-5, "small")
	requireClose(t, run(DDPMLarge, mixture), learned(1), 1e-5, "large")
	require.NotEqual(t, learned(-1), learned(1))
}

func TestAdaptiveSamplersSayWhenTheyAreStuck(t *testing.T) {
	calls := 0
	rough := func(_ context.Context, dst, x []float32, sigma float64) error {
		calls++
		for i := range dst {
			dst[i] = float32(1e6 * float64(calls%7-3) * float64(i+1))
		}
		return nil
	}
	for name, f := range map[string]Func{"dpm_adaptive": DPMAdaptive, "ode": ODE} {
		x := begun(8, 10, NewTorch(1))
		o := DefaultOptions()
		o.Eta, o.RTol, o.ATol = 0, 0, 1e-9
		require.ErrorIs(t, f(t.Context(), rough, x, []float64{10, 1, 0}, nil, o), ErrStuck, name)
	}
}
