package sampler

import (
	"context"
	"math"
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
	// Nor does the number of pictures beside.
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
	AddNoise(x, 3, NewTorch(1))
	require.InDelta(t, 3, deviation(x), 0.1)
	Renoise(x, 3, 5, NewTorch(2))
	require.InDelta(t, 5, deviation(x), 0.15)
	Renoise(x, 5, 4, NewTorch(3)) // there is no way down
	require.InDelta(t, 5, deviation(x), 0.15)
	ToVP(x, 5)
	require.InDelta(t, 5/math.Sqrt(26), deviation(x), 0.03)
	FromVP(x, 5)
	require.InDelta(t, 5, deviation(x), 0.15)

	y := begun(n, 0, NewTorch(1))
	Start(y, nil, 2, NewTorch(4))
	want := begun(n, 2, NewTorch(4))
	require.Equal(t, want, y)
	Start(y, []float32(x), 2, NewTorch(4))
	add(want, 1, x)
	require.Equal(t, want, y)

	copy(y, x)
	FlowNoise(y, 0, NewTorch(1))
	require.Equal(t, x, y)
	FlowNoise(y, 1, NewTorch(1))
	requireClose(t, begun(n, 1, NewTorch(1)), y, 1e-6, "all noise")
}

func TestPredictionsConvert(t *testing.T) {
	const sigma = 1.7
	x0, eps := begun(32, 1, NewTorch(1)), begun(32, 1, NewTorch(2))
	x := append([]float32(nil), x0...)
	add(x, sigma, eps)
	v, flow := make([]float32, 32), make([]float32, 32)
	k := 1 / math.Sqrt(1+sigma*sigma)
	sum2(v, k, eps, -sigma*k, x0)
	sum2(flow, 1, eps, -1, x0)
	edm := make([]float32, 32)
	sum2(edm, -1, v, 0, v)
	of := map[Prediction][]float32{PredictEpsilon: eps, PredictSample: x0, PredictV: v, PredictFlow: flow, PredictEDM: edm}
	for from, a := range of {
		require.NoError(t, from.Check())
		for to, b := range of {
			got := make([]float32, 32)
			from.Convert(to, got, a, x, sigma)
			requireClose(t, b, got, 2e-6, string(from)+" to "+string(to))
		}
	}
	require.ErrorContains(t, Prediction("epsilom").Check(), "epsilon, v, sample, edm or flow wanted")
}

// A net that knows the answer, in each parameterisation, gives the same
// denoiser.
func TestPredictionsDenoise(t *testing.T) {
	data := gaussians{0.3}
	p := StableDiffusion()
	x := begun(32, 3, NewTorch(1))
	const sigma = 3
	want := make([]float32, 32)
	require.NoError(t, data.denoise(t.Context(), want, x, sigma))
	for _, predict := range []Prediction{PredictEpsilon, PredictV, PredictSample, PredictEDM} {
		net := func(_ context.Context, dst, scaled []float32, at float64) error {
			require.InDelta(t, p.SigmaToT(sigma), at, 1e-9)
			requireClose(t, x, scaledBy(scaled, math.Sqrt(1+sigma*sigma)), 1e-6, "input")
			PredictSample.Convert(predict, dst, want, x, sigma)
			return nil
		}
		got := make([]float32, 32)
		require.NoError(t, NewDenoiser(predict, p, net)(t.Context(), got, x, sigma))
		requireClose(t, want, got, 1e-5, string(predict))
		require.NoError(t, NewPair(predict, p, func(ctx context.Context, cond, uncond, x []float32, at float64) error {
			require.Nil(t, uncond)
			return net(ctx, cond, x, at)
		})(t.Context(), got, nil, x, sigma))
		requireClose(t, want, got, 1e-5, string(predict))
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
		denoise := NewDenoiser(PredictFlow, p, flowOf(data))
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
		FlowSigmas(sigmas)
		require.NoError(t, CheckSigmas(sigmas))
		x := make([]float32, 64)
		Start(x, nil, sigmas[0], NewTorch(1))
		o := DefaultOptions()
		o.Eta = 0
		require.NoError(t, DPMPP2M(t.Context(), FlowAsVE(denoise), x, sigmas, nil, o))
		for i, v := range x {
			u := 0.5 * math.Erfc(-float64(start[i])/math.Sqrt2)
			require.InDelta(t, u, data.cumulative(float64(v), 0), 0.02, "shift %g", shift)
		}
	}
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
