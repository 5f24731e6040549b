package pipeline

import (
	"context"
	"fmt"
	"image"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/request"
)

// What guidance takes for the answer to a composed prompt, guided, is what the sampler's
// composable guidance makes of the same answers.
func TestComposedAnswersAreComposable(t *testing.T) {
	network := map[string][]float32{"uncond": {1, -2}, "a": {3, 0.5}, "b": {-4, 7}}
	weights := []float64{0.7, -1.5}
	const scale = 6.0
	m := &composed{shares: append([]float64{withoutCondition(weights)}, weights...), first: []int{0, 2}, sums: []bool{true, false}, without: 2,
		asked: make([]answer, 3), memory: make([][]float32, 3)}
	m.model = func(_ context.Context, dst [][]float32, _ []float32, _ float64) error {
		for i, name := range []string{"a", "b", "uncond"} {
			if dst[i] != nil {
				copy(dst[i], network[name])
			}
		}
		return nil
	}
	dst := [][]float32{make([]float32, 2), make([]float32, 2)}
	require.NoError(t, m.answer(t.Context(), dst, make([]float32, 2), 0))
	require.Equal(t, network["uncond"], dst[1])

	guider, err := sampler.LookupGuider("composable")
	require.NoError(t, err)
	g, err := guider.With(scale, nil)
	require.NoError(t, err)
	g, err = g.Weighted(weights...)
	require.NoError(t, err)
	denoise, err := g.Denoiser(sampler.GuidedModel{Preconditioning: &sampler.Preconditioning{}, Denoise: func(_ context.Context, dst [][]float32, _ []float32, _ float64) error {
		for i, name := range []string{"uncond", "a", "b"} {
			copy(dst[i], network[name])
		}
		return nil
	}})
	require.NoError(t, err)
	want := make([]float32, 2)
	require.NoError(t, denoise(t.Context(), want, make([]float32, 2), 1))
	for i := range want {
		require.InDelta(t, want[i], network["uncond"][i]+scale*(dst[0][i]-network["uncond"][i]), 1e-4)
	}

	// Where guidance asks for the prompt alone, as at scale 1, the answer without one is
	// still part of it; where the weights leave nothing of it, it is not asked for.
	alone := make([]float32, 2)
	require.NoError(t, m.answer(t.Context(), [][]float32{alone, nil}, make([]float32, 2), 0))
	require.Equal(t, dst[0], alone)
	m.shares = []float64{withoutCondition([]float64{0.7, 0.3}), 0.7, 0.3}
	inner := m.model
	m.model = func(ctx context.Context, dst [][]float32, x []float32, t2 float64) error {
		require.Nil(t, dst[2])
		return inner(ctx, dst, x, t2)
	}
	require.NoError(t, m.answer(t.Context(), [][]float32{alone, nil}, make([]float32, 2), 0))
	require.InDeltaSlice(t, []float32{0.9, 2.45}, alone, 1e-6)
}

// Conditions of several prompts get the rows of the longest, their last one again; what
// they are made of stays as it is.
func TestAlike(t *testing.T) {
	one := func(rows int, values ...float32) *Condition {
		return &Condition{[]engine.Named{{Name: "context", Shape: []int{rows, len(values) / rows}, Data: values}, {Name: "y", Shape: []int{1}, Data: values[:1]}}}
	}
	short, long := one(1, 1, 2), one(3, 1, 2, 3, 4, 5, 6)
	all := []Weighted{{short, 1}, {long, 1}}
	alike(all)
	require.Equal(t, []float32{1, 2, 1, 2, 1, 2}, all[0].Condition.Inputs[0].Data)
	require.True(t, sameShapes(*all[0].Condition, *all[1].Condition))
	require.Equal(t, one(1, 1, 2), short)
	require.Same(t, long, all[1].Condition)
}

// lines is a text whose chunks are its words.
type lines struct{ Text }

func (lines) Check(*request.Resolved, *request.Error) {}
func (lines) Chunks(string, Extras) (int, error)      { return 1, nil }
func (lines) Idle()                                   {}
func (lines) Encode(_ context.Context, text string, negative bool, _ *request.Resolved, _ Extras, _ Memo) (Condition, error) {
	name := "cond"
	if negative {
		name = "uncond"
	}
	return Condition{[]engine.Named{{Name: name + " " + text, Shape: []int{1, 1}, Data: []float32{0}}}}, nil
}

// phases are what a request's prompts become in one pass.
func phases(t *testing.T, q request.Resolved, needs Needs) (until []int, texts [][]string) {
	t.Helper()
	all, err := Prompts{lines{}}.Conditions(t.Context(), &q, Extras{}, Steps{0, 1 << 30}, needs, nil)
	require.NoError(t, err)
	for _, p := range all {
		var names []string
		c := p.Conditions()
		for _, w := range c.And {
			names = append(names, w.Condition.Inputs[0].Name)
		}
		if len(names) == 0 {
			names = append(names, c.Cond.Inputs[0].Name)
		}
		if c.Uncond != nil {
			names = append(names, c.Uncond.Inputs[0].Name)
		}
		until, texts = append(until, p.Until), append(texts, names)
	}
	return until, texts
}

// Prompts that change count all steps of the request, of which a picture to begin with
// leaves out the first; a hires pass goes on counting.
func TestPhasesAsInA1111(t *testing.T) {
	resolved := func(r request.Request, pass int) request.Resolved {
		if r.Strength != nil {
			r.Image = image.NewNRGBA(image.Rect(0, 0, 64, 64))
		}
		q, err := r.Resolve(request.Defaults{Side: 64, Align: 8})
		require.NoError(t, err)
		if pass > 0 {
			return q.Hires[pass-1].Request
		}
		return q
	}
	hires := []request.HiresPass{{Scale: 2, Steps: 10}, {Scale: 2, Strength: request.Float(0.5)}}
	for _, c := range []struct {
		name  string
		q     request.Resolved
		until []int
		texts [][]string
	}{
		{"txt2img", resolved(request.Request{Prompt: "[a:b:0.5]", Steps: 20}, 0), []int{10, 20}, [][]string{{"cond a"}, {"cond b"}}},
		{"img2img", resolved(request.Request{Prompt: "[a:b:0.5]", Steps: 20, Strength: request.Float(0.5)}, 0), []int{10, 20}, [][]string{{"cond a"}, {"cond b"}}},
		{"img2img, not reached", resolved(request.Request{Prompt: "[a:b:0.6]", Steps: 20, Strength: request.Float(0.5)}, 0), []int{20}, [][]string{{"cond a"}}},
		{"a hires pass", resolved(request.Request{Prompt: "[a:b:0.5]", Steps: 20, Hires: hires}, 1), []int{10}, [][]string{{"cond b"}}},
		{"in the hires pass", resolved(request.Request{Prompt: "[a:b:1.5]", Steps: 20, Hires: hires}, 1), []int{5, 10}, [][]string{{"cond a"}, {"cond b"}}},
		{"a step of the hires pass", resolved(request.Request{Prompt: "[a:b:24]", Steps: 20, Hires: hires}, 1), []int{4, 10}, [][]string{{"cond a"}, {"cond b"}}},
		{"a step of the next one", resolved(request.Request{Prompt: "[a:b:34]", Steps: 20, Hires: hires}, 2), []int{4, 20}, [][]string{{"cond a"}, {"cond b"}}},
		{"alternation", resolved(request.Request{Prompt: "[a|b]", Steps: 3}, 0), []int{1, 2, 3}, [][]string{{"cond a"}, {"cond b"}, {"cond a"}}},
		{"AND", resolved(request.Request{Prompt: "[a:b:1] AND c :0.5 AND [d:2]", NegativePrompt: "x AND y", Steps: 3}, 0), []int{1, 2, 3},
			[][]string{{"cond a ", "cond  c", "cond  ", "uncond x AND y"}, {"cond b ", "cond  c", "cond  ", "uncond x AND y"}, {"cond b ", "cond  c", "cond  d", "uncond x AND y"}}},
		{"a weight", resolved(request.Request{Prompt: "a :0.5", Steps: 3}, 0), []int{3}, [][]string{{"cond a", "uncond "}}},
		{"weights that leave nothing", resolved(request.Request{Prompt: "a :0.5 AND b :0.5", Steps: 3}, 0), []int{3}, [][]string{{"cond a", "cond  b"}}},
		{"AND of one", resolved(request.Request{Prompt: "a :1", Steps: 3}, 0), []int{3}, [][]string{{"cond a"}}},
	} {
		until, texts := phases(t, c.q, Needs{Cond: true})
		require.Equal(t, c.until, until, c.name)
		require.Equal(t, c.texts, texts, c.name)
	}
}

// On the way from one composed prompt to another all weights and conditions are in
// between, and both ends are the prompts themselves.
func TestBetweenComposedPrompts(t *testing.T) {
	one := func(values ...float32) *Condition {
		return &Condition{Inputs: []engine.Named{{Name: "context", Shape: []int{len(values), 1}, Data: values}}}
	}
	a := []encoded{{until: 6, cond: one(0), and: []Weighted{{one(0), 0.5}, {one(8), 2}}, uncond: one(7)}}
	b := []encoded{{until: 3, cond: one(4, 8)}, {until: 6, cond: one(9)}}
	for at, want := range map[float32][]string{
		0:    {"0.5 [0]", "2 [8]"},
		0.25: {"0.625 [1 1.25]", "1.5 [5.75 5.75]"},
		1:    {"1 [4 8]"},
	} {
		phases := between(a, b, *one(-1), at)
		require.Len(t, phases, 2)
		c := phases[0].Conditions()
		var got []string
		for _, w := range c.And {
			got = append(got, fmt.Sprint(w.Weight, " ", w.Condition.Inputs[0].Data))
		}
		require.Equal(t, want, got, at)
		require.NotNil(t, c.Uncond)
	}
	to := "b"
	q, err := request.Request{Prompt: "a :1 AND c :0", Interpolate: &request.Interpolation{Prompt: &to, At: 0.5}}.Resolve(request.Defaults{Side: 64, Align: 8})
	require.NoError(t, err)
	all, err := Prompts{lines{}}.Conditions(t.Context(), &q, Extras{}, Steps{0, 20}, Needs{Cond: true}, nil)
	require.NoError(t, err)
	require.NotNil(t, all[0].Conditions().Uncond)
}

// What AND cannot be is refused by name.
func TestAndIsRefused(t *testing.T) {
	q := func(r request.Request) *request.Resolved {
		q, err := r.Resolve(request.Defaults{Side: 64, Align: 8})
		require.NoError(t, err)
		return &q
	}
	many := strings.Repeat("a AND ", 40)
	for want, r := range map[string]request.Request{
		"Prompt: prompt: 33 prompts joined by AND; at most 32 are supported":             {Prompt: many},
		"Interpolate.Prompt: prompt: 33 prompts joined by AND; at most 32 are supported": {Interpolate: &request.Interpolation{Prompt: &many}},
	} {
		var e request.Error
		Prompts{lines{}}.Check(q(r), Extras{}, &e)
		require.ErrorContains(t, e.Err(), want)
	}
	var e request.Error
	checkEditing(q(request.Request{Prompt: "a AND c"}), &e)
	checkEditing(q(request.Request{Prompt: "a"}), &e)
	require.Len(t, e.Problems, 1)
}
