package sampler

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

type guidanceGolden struct {
	X, Cond, Uncond    []float32
	Sigma, Scale       float64
	Rescale            []float32
	ZeroStar           []float32 `json:"zero_star"`
	APG                [][]float32
	Threshold, Columns []float32
}

// pair answers with what it holds.
func (g *guidanceGolden) pair(_ context.Context, cond, uncond, _ []float32, _ float64) error {
	copy(cond, g.Cond)
	copy(uncond, g.Uncond)
	return nil
}

func TestGuidanceOfDiffusers(t *testing.T) {
	var g guidanceGolden
	golden(t, "guidance.json", &g)
	require.Len(t, g.X, 120)
	dst := make([]float32, len(g.X))

	require.NoError(t, CFGRescale(g.pair, PredictEpsilon, g.Scale, 0.7, 2)(t.Context(), dst, g.X, g.Sigma))
	requireClose(t, g.Rescale, dst, 2e-6, "rescale")

	require.NoError(t, CFGZeroStar(g.pair, PredictFlow, g.Scale, math.Inf(1), 2)(t.Context(), dst, g.X, g.Sigma))
	requireClose(t, g.ZeroStar, dst, 2e-6, "zero star")
	require.NoError(t, CFGZeroStar(g.pair, PredictFlow, g.Scale, 1, 2)(t.Context(), dst, g.X, g.Sigma))
	require.Equal(t, g.X, dst, "no velocity above the limit")

	apg := APG(g.pair, g.Scale, APGOptions{Momentum: -0.5, Threshold: 5, Parallel: 0.2}, 2)
	for _, want := range g.APG {
		require.NoError(t, apg(t.Context(), dst, g.X, g.Sigma))
		requireClose(t, want, dst, 2e-6, "apg")
	}

	double := func(_ context.Context, dst, _ []float32, _ float64) error {
		copy(dst, g.Cond)
		multiply(dst, 2)
		return nil
	}
	require.NoError(t, DynamicThreshold(double, 0.9, 1.5, 2)(t.Context(), dst, g.X, g.Sigma))
	requireClose(t, g.Threshold, dst, 2e-6, "threshold")

	part := make([]float32, len(g.Columns))
	SlerpColumns(part, g.Cond[:60], g.Uncond[:60], 0.3, 4, 5)
	requireClose(t, g.Columns, part, 2e-6, "columns")
}

// scalars is a pair that answers with constants, and counts what it is asked.
type scalars struct {
	cond, uncond         float32
	condCalls, uncondCal int
}

func (s *scalars) pair(_ context.Context, cond, uncond, _ []float32, _ float64) error {
	for i := range cond {
		cond[i] = s.cond
	}
	for i := range uncond {
		uncond[i] = s.uncond
	}
	if cond != nil {
		s.condCalls++
	}
	if uncond != nil {
		s.uncondCal++
	}
	return nil
}

func one(t *testing.T, d Denoiser, sigma float64) float64 {
	t.Helper()
	dst := make([]float32, 2)
	require.NoError(t, d(t.Context(), dst, []float32{0.5, 0.5}, sigma))
	require.Equal(t, dst[0], dst[1])
	return float64(dst[0])
}

func TestCFG(t *testing.T) {
	s := &scalars{cond: 3, uncond: 1}
	require.InDelta(t, 1+7.5*2, one(t, CFG(s.pair, 7.5), 1), 1e-6)
	require.InDelta(t, 1-0.5*2, one(t, CFG(s.pair, -0.5), 1), 1e-6)
	*s = scalars{cond: 3, uncond: 1}
	require.InDelta(t, 3, one(t, CFG(s.pair, 1), 1), 1e-6)
	require.Zero(t, s.uncondCal, "scale 1 needs no uncond")
	*s = scalars{cond: 3, uncond: 1}
	require.InDelta(t, 1, one(t, CFG(s.pair, 0), 1), 1e-6)
	require.Zero(t, s.condCalls, "scale 0 needs no cond")
}

func TestCFGPPKeepsTheUnguidedPrediction(t *testing.T) {
	s := &scalars{cond: 3, uncond: 1}
	uncond := make([]float32, 2)
	require.InDelta(t, 1+0.8*2, one(t, CFGPP(s.pair, 0.8, uncond), 1), 1e-6)
	require.Equal(t, []float32{1, 1}, uncond)
	require.InDelta(t, 3, one(t, CFGPP(s.pair, 1, uncond), 1), 1e-6)
	require.Equal(t, 2, s.uncondCal, "at scale 1, too")

	var e *LengthError
	require.ErrorAs(t, CFGPP(s.pair, 1, uncond[:1])(t.Context(), uncond, uncond, 1), &e)
	every(t, func(t *testing.T, s Sampler) {
		o := s.Options
		o.Uncond = make([]float32, 5)
		require.ErrorAs(t, s.Sample(t.Context(), mixture, make([]float32, 24), karras(t, 20), NewTorch(1), o), &e)
		require.Contains(t, e.Error(), "Options.Uncond has 5 values, 24 wanted")
	})
}

// Without guidance each sampler of CFG++ is the one whose name it bears.
func TestCFGPPWithoutGuidance(t *testing.T) {
	for name, plain := range map[string]string{
		"euler_cfg++": "euler", "euler_a_cfg++": "euler_a", "dpm++2m_cfg++": "dpm++2m", "dpm++2s_a_cfg++": "dpm++2s_a",
		"res_multistep_cfg++": "res_multistep", "res_multistep_a_cfg++": "res_multistep_ancestral",
		"gradient_estimation_cfg++": "gradient_estimation",
	} {
		sigmas := karras(t, 20)
		run := func(name string) []float32 {
			s, err := Lookup(name)
			require.NoError(t, err)
			noise := NewTorch(1)
			x := begun(24, sigmas[0], noise)
			require.NoError(t, s.Sample(t.Context(), mixture, x, sigmas, noise, s.Options))
			return x
		}
		requireClose(t, run(plain), run(name), 1e-5, name)
	}
}

func constant(v float32) Denoiser {
	return func(_ context.Context, dst, _ []float32, _ float64) error {
		for i := range dst {
			dst[i] = v
		}
		return nil
	}
}

func TestIntervalAndSteps(t *testing.T) {
	d := Interval(1, 5, constant(1), constant(2))
	require.Equal(t, 2.0, one(t, d, 6))
	require.Equal(t, 1.0, one(t, d, 5))
	require.Equal(t, 1.0, one(t, d, 1.1))
	require.Equal(t, 2.0, one(t, d, 1))

	sigmas := []float64{10, 5, 2, 0}
	at := Steps(sigmas, func(step int) Denoiser { return constant(float32(step)) })
	for sigma, step := range map[float64]float64{12: 0, 10: 0, 7: 0, 5: 1, 3: 1, 2: 2, 0.1: 2} {
		require.Equal(t, step, one(t, at, sigma), "sigma %g", sigma)
	}
}

func TestPromptSchedules(t *testing.T) {
	// [a:b:0.4] of 10 steps changes after four, [a:b:7] after seven.
	for step := range 10 {
		require.Equal(t, step >= 4, PromptSwitch(0.4, step, 10), step)
		require.Equal(t, step >= 7, PromptSwitch(7, step, 10), step)
		require.Equal(t, step%3, PromptTurn(3, step))
	}
	require.True(t, PromptSwitch(0, 0, 10), "[a:b:0] is b")
	require.False(t, PromptSwitch(50, 9, 10), "[a:b:50] never comes")
	require.False(t, PromptSwitch(1e300, 9, 10))
	require.Zero(t, PromptTurn(0, 3))
}

func TestComposableAndPerturbed(t *testing.T) {
	many := func(values ...float32) Many {
		return func(_ context.Context, dst [][]float32, _ []float32, _ float64) error {
			for i, d := range dst {
				for k := range d {
					d[k] = values[i]
				}
			}
			return nil
		}
	}
	require.InDelta(t, 1+2*(0.5*(3-1)-0.25*(5-1)), one(t, Composable(many(1, 3, 5), []float64{0.5, -0.25}, 2), 1), 1e-6)
	require.InDelta(t, 1+2*(3-1)+4*(3-0.5), one(t, Perturbed(many(1, 3, 0.5), 2, 4), 1), 1e-6)
}

// The classifier's gradient turns the denoiser of one Gaussian into that of
// its product with another.
func TestClassifierGuidanceIsBayes(t *testing.T) {
	const sigma = 1.7
	v := 1 + sigma*sigma // of x when x0 ~ N(0, 1)
	prior := func(_ context.Context, dst, x []float32, sigma float64) error {
		sum2(dst, 1/(1+sigma*sigma), x, 0, x)
		return nil
	}
	// y = x0 + N(0, 1) was seen as 2: p(y|x) = N(2; x/v, 1 + sigma²/v).
	grad := func(_ context.Context, dst, x, _ []float32, sigma float64) error {
		for i, xi := range x {
			dst[i] = float32((2 - float64(xi)/v) / (1 + sigma*sigma/v) / v)
		}
		return nil
	}
	// The posterior of x0 given x = 0.5 and y.
	precision := 1 + 1/(sigma*sigma) + 1
	want := (0.5/(sigma*sigma) + 2) / precision
	require.InDelta(t, want, one(t, Classifier(prior, grad, 1), sigma), 1e-6)
}

func TestLossGuidance(t *testing.T) {
	grad := func(_ context.Context, dst, _, denoised []float32, _ float64) error {
		for i, d := range denoised {
			dst[i] = 2 * (d - 1)
		}
		return nil
	}
	d := Loss(constant(3), grad, func(sigma float64) float64 { return 0.1 * sigma })
	require.InDelta(t, 3-0.2*4, one(t, d, 2), 1e-6)
}

func TestClip(t *testing.T) {
	require.Equal(t, 1.0, one(t, Clip(constant(3), 1), 1))
	require.Equal(t, -1.0, one(t, Clip(constant(-3), 1), 1))
	require.Equal(t, 0.25, one(t, Clip(constant(0.25), 1), 1))
}

func TestGuidanceSurvivesOddArguments(t *testing.T) {
	s := &scalars{cond: 3, uncond: 1}
	x, dst := make([]float32, 10), make([]float32, 10)
	for _, images := range []int{-1, 0, 3, 100} {
		for _, odd := range []float64{-1, 0, 2, math.NaN(), math.Inf(1)} {
			for _, d := range []Denoiser{
				CFG(s.pair, odd), CFGPP(s.pair, odd, make([]float32, 10)),
				CFGRescale(s.pair, PredictEpsilon, odd, odd, images), CFGZeroStar(s.pair, PredictFlow, odd, odd, images),
				APG(s.pair, odd, APGOptions{odd, odd, odd}, images), DynamicThreshold(constant(2), odd, odd, images),
				Clip(constant(1), odd), Interval(odd, odd, constant(1), constant(2)), Composable(func(context.Context, [][]float32, []float32, float64) error { return nil }, nil, odd),
			} {
				require.NoError(t, d(t.Context(), dst, x, 0.9))
			}
		}
	}
}

func TestGuidanceDoesNotAllocate(t *testing.T) {
	s := &scalars{cond: 3, uncond: 1}
	many := func(_ context.Context, dst [][]float32, _ []float32, _ float64) error { return nil }
	x, dst := make([]float32, 64), make([]float32, 64)
	for name, d := range map[string]Denoiser{
		"cfg": CFG(s.pair, 7), "cfg++": CFGPP(s.pair, 7, make([]float32, 64)),
		"rescale": CFGRescale(s.pair, PredictV, 7, 0.7, 2), "zero": CFGZeroStar(s.pair, PredictFlow, 7, 1, 2),
		"apg": APG(s.pair, 7, APGOptions{Threshold: 1}, 2), "threshold": DynamicThreshold(constant(2), 0.9, 2, 2),
		"composable": Composable(many, []float64{1, 2}, 7),
		"denoiser":   NewDenoiser(PredictV, StableDiffusion(), dummyModel),
	} {
		require.NoError(t, d(t.Context(), dst, x, 0.9))
		require.Zero(t, testing.AllocsPerRun(5, func() { _ = d(t.Context(), dst, x, 0.9) }), name)
	}
}
