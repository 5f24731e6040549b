package sampler

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// semanticRun is guidance with edits of a model whose epsilon is known: the first answers are
// cfg's, and what the net predicts without a condition is 0.
func semanticRun(t *testing.T, s SemanticGuidance, scale float64, predict func(answer, i int) float64) func(sigma float64) []float64 {
	t.Helper()
	p := precondition(t, StableDiffusion(), PredictEpsilon)
	sigmas := Sigmas{8, 4, 2, 1, 0.5, 0}
	model := func(_ context.Context, dst [][]float32, _ []float32, _ float64) error {
		for a, d := range dst {
			for i := range d {
				d[i] = float32(predict(a, i))
			}
		}
		return nil
	}
	denoise, err := s.Denoiser(guidanceWith(t, "cfg", scale, nil), GuidedModel{Denoise: p.BatchDenoiser(model), Preconditioning: p, Sigmas: sigmas, Channels: 2})
	require.NoError(t, err)
	return func(sigma float64) []float64 {
		x, d := make([]float32, 8), make([]float32, 8)
		for i := range x {
			x[i] = float32(i) - 3
		}
		require.NoError(t, denoise(t.Context(), d, x, sigma))
		eps := make([]float64, len(d))
		for i := range d {
			eps[i] = (float64(x[i]) - float64(d[i])) / sigma
		}
		return eps
	}
}

func TestSemanticGuidanceInClosedForm(t *testing.T) {
	predict := func(answer, i int) float64 { return []float64{0.5, 0, 0.1 * float64(i%4+1), -0.3}[answer] }
	near := func(want, got []float64) {
		t.Helper()
		for i := range want {
			require.InDelta(t, want[i], got[i], 2e-5)
		}
	}
	// Without threshold, warm-up and momentum it is composable guidance.
	one := Edit{Scale: 5, Weight: 1}
	other := Edit{Scale: 2, Weight: 0.5, Away: true}
	want := make([]float64, 8)
	for i := range want {
		want[i] = 3*0.5 + 5*predict(2, i) - 0.5*2*-0.3
	}
	near(want, semanticRun(t, SemanticGuidance{Edits: []Edit{one, other}, Beta: 0.4}, 3, predict)(8))
	// Guidance of scale 1 has no answer without a condition of its own.
	for i := range want {
		want[i] += 0.5 - 1.5
	}
	near(want, semanticRun(t, SemanticGuidance{Edits: []Edit{one, other}}, 1, predict)(8))

	// The threshold keeps 1 of 4 elements of each channel, 2 at a quantile that is one of them.
	one.Threshold = 0.9
	near([]float64{1.5, 1.5, 1.5, 3.5, 1.5, 1.5, 1.5, 3.5}, semanticRun(t, SemanticGuidance{Edits: []Edit{one}}, 3, predict)(8))
	one.Threshold = 2.0 / 3
	near([]float64{1.5, 1.5, 3, 3.5, 1.5, 1.5, 3, 3.5}, semanticRun(t, SemanticGuidance{Edits: []Edit{one}}, 3, predict)(8))
	one.Away, one.Threshold = true, 1
	near([]float64{1.5, 1.5, 1.5, -0.5, 1.5, 1.5, 1.5, -0.5}, semanticRun(t, SemanticGuidance{Edits: []Edit{one}}, 3, predict)(8))
}

// Warm-ups, cool-downs and the momentum of an edit that is 1 everywhere.
func TestSemanticGuidanceByStep(t *testing.T) {
	flat := func(answer, _ int) float64 { return []float64{0, 0, 1, 2}[answer] }
	sigmas := []float64{8, 4, 2, 1, 0.5}
	all := func(s SemanticGuidance) (out []float64) {
		run := semanticRun(t, s, 1, flat)
		for _, sigma := range sigmas {
			eps := run(sigma)
			for _, e := range eps {
				require.InDelta(t, eps[0], e, 1e-5)
			}
			out = append(out, math.Round(eps[0]*1e4)/1e4)
		}
		return out
	}
	a, b := Edit{Scale: 1, Weight: 1}, Edit{Scale: 1, Weight: 3}
	a.WarmUp, a.CoolDown = 2, 4
	require.Equal(t, []float64{0, 0, 1, 1, 0}, all(SemanticGuidance{Edits: []Edit{a}}))
	// The weighted mean of those that act, until all do; and the sum then.
	b.WarmUp = 3
	require.Equal(t, []float64{0, 0, 1, 7, 6}, all(SemanticGuidance{Edits: []Edit{a, b}}))
	// The momentum builds up in the warm-up, and goes on after the end.
	c := Edit{Scale: 1, Weight: 1, WarmUp: 1, CoolDown: 2}
	nu, want := 0.0, []float64(nil)
	for step := range sigmas {
		gamma := 0.5 * nu
		if step < 2 {
			gamma++
		}
		nu = 0.75*nu + 0.25*gamma
		if want = append(want, math.Round(gamma*1e4)/1e4); step == 0 {
			want[0] = 0
		}
	}
	require.Equal(t, want, all(SemanticGuidance{Edits: []Edit{c}, Momentum: 0.5, Beta: 0.75}))
}

// What is not needed is not asked for.
func TestSemanticGuidanceAsksForLittle(t *testing.T) {
	p := precondition(t, StableDiffusion(), PredictEpsilon)
	var asked []bool
	model := func(_ context.Context, dst [][]float32, _ []float32, _ float64) error {
		asked = nil
		for _, d := range dst {
			asked = append(asked, d != nil)
			clear(d)
		}
		return nil
	}
	m := GuidedModel{Denoise: p.BatchDenoiser(model), Preconditioning: p, Sigmas: Sigmas{4, 2, 1, 0}}
	s := SemanticGuidance{Edits: []Edit{{Scale: 1, Weight: 1, WarmUp: 1, CoolDown: 2}}}
	at := func(sigma float64) []bool {
		denoise, err := s.Denoiser(guidanceWith(t, "cfg", 1, nil), m)
		require.NoError(t, err)
		require.NoError(t, denoise(t.Context(), make([]float32, 4), make([]float32, 4), sigma))
		return asked
	}
	require.Equal(t, []bool{true, false, false}, at(4))
	require.Equal(t, []bool{true, true, true}, at(2))
	require.Equal(t, []bool{true, false, false}, at(1))
	s.Momentum = 0.1
	require.Equal(t, []bool{true, true, true}, at(4))
}

func TestSemanticGuidanceRefuses(t *testing.T) {
	p := precondition(t, StableDiffusion(), PredictEpsilon)
	m := GuidedModel{Denoise: p.BatchDenoiser(varied), Preconditioning: p, Sigmas: Sigmas{2, 1, 0}}
	g := guidanceWith(t, "cfg", 3, nil)
	refused := func(s SemanticGuidance, m GuidedModel, want string) {
		t.Helper()
		_, err := s.Denoiser(g, m)
		require.EqualError(t, err, want)
	}
	usual := SemanticGuidance{Edits: []Edit{{Scale: 5, Threshold: 0.9, Weight: 1}}, Momentum: 0.1, Beta: 0.4}
	_, err := usual.Denoiser(g, m)
	require.NoError(t, err)
	refused(SemanticGuidance{}, m, "semantic guidance must have at least one edit, got none")
	bad := usual
	bad.Momentum = math.NaN()
	refused(bad, m, "Momentum must be 0 to 1, got NaN")
	bad = SemanticGuidance{Edits: []Edit{{Scale: -1, Threshold: 2, WarmUp: -3}}}
	refused(bad, m, "Edits[0].Scale must be 0 to 1000, got -1\nEdits[0].Threshold must be 0 to 1, got 2\nEdits[0].WarmUp must be 0 to 1e+06, got -3")
	m.Sigmas = nil
	refused(usual, m, "semantic guidance must know the noise levels of the run")
}
