package sampler

import (
	"context"
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

// guided makes guidance by name, of a model for epsilon unless the process says
// otherwise.
func guided(t testing.TB, name string, scale float64, parameters map[string]float64, m GuidedModel) Denoiser {
	t.Helper()
	g, err := LookupGuider(name)
	require.NoError(t, err)
	with, err := g.With(scale, parameters)
	require.NoError(t, err)
	if m.Preconditioning == nil {
		m.Preconditioning = precondition(t, StableDiffusion(), PredictEpsilon)
	}
	d, err := with.Denoiser(m)
	require.NoError(t, err)
	return d
}

func TestGuidanceOfDiffusers(t *testing.T) {
	var g guidanceGolden
	golden(t, "guidance.json", &g)
	require.Len(t, g.X, 120)
	dst := make([]float32, len(g.X))
	m := GuidedModel{Denoise: answering(g.Cond, g.Uncond), Images: 2}

	require.NoError(t, guided(t, "cfg_rescale", g.Scale, nil, m)(t.Context(), dst, g.X, g.Sigma))
	requireClose(t, g.Rescale, dst, 2e-6, "rescale")

	flow := m
	flow.Preconditioning = precondition(t, Flow(1), PredictFlow)
	require.NoError(t, guided(t, "cfg_zero_star", g.Scale, nil, flow)(t.Context(), dst, g.X, g.Sigma))
	requireClose(t, g.ZeroStar, dst, 2e-6, "zero star")
	flow.Sigmas = []float64{g.Sigma, 1, 0}
	require.NoError(t, guided(t, "cfg_zero_star", g.Scale, map[string]float64{"zero_steps": 1}, flow)(t.Context(), dst, g.X, g.Sigma))
	require.Equal(t, g.X, dst, "no velocity in the first step")

	apg := guided(t, "apg", g.Scale, map[string]float64{"momentum": -0.5, "norm_threshold": 5, "parallel": 0.2}, m)
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

// scalars is a model that answers with constants, and counts what it is asked.
type scalars struct {
	answers []float32
	calls   []int
}

func constants(answers ...float32) *scalars { return &scalars{answers, make([]int, len(answers))} }

func (s *scalars) denoise(_ context.Context, dst [][]float32, _ []float32, _ float64) error {
	for i, d := range dst {
		for k := range d {
			d[k] = s.answers[i]
		}
		if d != nil {
			s.calls[i]++
		}
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
	for scale, want := range map[float64]float64{7.5: 1 + 7.5*2, -0.5: 1 - 0.5*2, 1: 3, 0: 1} {
		s := constants(3, 1)
		require.InDelta(t, want, one(t, CFG(s.denoise, scale), 1), 1e-6)
		switch scale {
		case 1:
			require.Equal(t, []int{1, 0}, s.calls, "scale 1 needs no uncond")
		case 0:
			require.Equal(t, []int{0, 1}, s.calls, "scale 0 needs no cond")
		default:
			require.Equal(t, []int{1, 1}, s.calls)
		}
		if scale >= 0 {
			require.InDelta(t, want, one(t, guided(t, "cfg", scale, nil, GuidedModel{Denoise: s.denoise}), 1), 1e-6)
		}
	}
}

func TestCFGPPKeepsTheUnguidedPrediction(t *testing.T) {
	s := constants(3, 1)
	uncond := make([]float32, 2)
	plus := func(scale float64, uncond []float32) Denoiser {
		return guided(t, "cfg", scale, nil, GuidedModel{Denoise: s.denoise, Uncond: uncond})
	}
	require.InDelta(t, 1+0.8*2, one(t, plus(0.8, uncond), 1), 1e-6)
	require.Equal(t, []float32{1, 1}, uncond)
	require.InDelta(t, 3, one(t, plus(1, uncond), 1), 1e-6)
	require.Equal(t, []int{2, 2}, s.calls, "at scale 1, too")

	var e *LengthError
	require.ErrorAs(t, plus(1, uncond[:1])(t.Context(), uncond, uncond, 1), &e)
	every(t, func(t *testing.T, s Sampler) {
		o := s.Options
		o.Uncond = make([]float32, 5)
		require.ErrorAs(t, s.Sample(t.Context(), mixture, make([]float32, 24), karras(t, 20), NewTorch(1), o), &e)
		require.Contains(t, e.Error(), "Options.Uncond must have 24 values, got 5")
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

func TestInterval(t *testing.T) {
	d := Interval(1, 5, constant(1), constant(2))
	require.Equal(t, 2.0, one(t, d, 6))
	require.Equal(t, 1.0, one(t, d, 5))
	require.Equal(t, 1.0, one(t, d, 1.1))
	require.Equal(t, 2.0, one(t, d, 1))
}

// An evaluation belongs to the step at whose noise level it is, although some
// samplers compute that again.
func TestIntervalOfStepsRounds(t *testing.T) {
	sigmas := Sigmas{8, 4, 2, 1, 0}
	m := GuidedModel{Denoise: constants(3, 1).denoise, Sigmas: sigmas}
	late := guided(t, "cfg", 2, map[string]float64{"start": 0.5}, m)
	early := guided(t, "cfg", 2, map[string]float64{"stop": 0.5}, m)
	for step, sigma := range sigmas[:4] {
		for _, rounded := range []float64{sigma * (1 - 1e-12), sigma, sigma * (1 + 1e-12)} {
			require.Equal(t, step >= 2, one(t, late, rounded) == 5, "step %d", step)
			require.Equal(t, step < 2, one(t, early, rounded) == 5, "step %d", step)
		}
	}
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

// Three of four channels are guided, each picture on its own; the last is the
// conditional prediction.
func TestCFGOfSomeChannels(t *testing.T) {
	cond, uncond := make([]float32, 24), make([]float32, 24)
	for i := range cond {
		cond[i], uncond[i] = float32(i), 1
	}
	for scale, want := range map[float64]func(i int) float32{
		4: func(i int) float32 { return 4*float32(i) - 3 },
		0: func(int) float32 { return 1 },
	} {
		m := GuidedModel{Denoise: answering(cond, uncond), Images: 2, Channels: 4}
		d := guided(t, "cfg", scale, map[string]float64{"channels": 3}, m)
		got := make([]float32, 24)
		require.NoError(t, d(t.Context(), got, make([]float32, 24), 1))
		for i, v := range got {
			if i%12 >= 9 {
				require.Equal(t, float32(i), v)
				continue
			}
			require.Equal(t, want(i), v)
		}
	}
}
