package sampler

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testdata/sampler/guiders.py has what the diffusers library's guiders give.
type guidersGolden struct {
	Sigmas []float64
	Steps  []struct{ X, Cond, Uncond, Perturbed []float32 }
	Cases  []struct {
		Guidance   string
		Scale      float64
		Parameters map[string]float64
		// For each step: either what the net predicts, or clean samples.
		Predictions, Clean [][]float32
	}
}

const goldenImages, goldenChannels = 2, 2

// guidanceWith makes guidance by name.
func guidanceWith(t testing.TB, name string, scale float64, parameters map[string]float64) Guidance {
	t.Helper()
	guider, err := LookupGuider(name)
	require.NoError(t, err)
	g, err := guider.With(scale, parameters)
	require.NoError(t, err)
	if guider.Repeats {
		g, err = g.Weighted(0.8, -0.3)
		require.NoError(t, err)
	}
	return g
}

// guiderModel answers with the numbers of the script, in the order that the
// guidance asks for them.
func (g *guidersGolden) model(guidance Guidance, step *int) BatchModel {
	return func(_ context.Context, dst [][]float32, _ []float32, _ float64) error {
		s := g.Steps[*step]
		of := map[Answer][]float32{AnswerCond: s.Cond, AnswerUncond: s.Uncond, AnswerPerturbed: s.Perturbed, AnswerImage: s.Perturbed}
		for i, d := range dst {
			if i >= len(guidance.Guider.Answers) {
				copy(d, s.Perturbed) // the second prompt of composable
				continue
			}
			copy(d, of[guidance.Guider.Answers[i]])
		}
		return nil
	}
}

func TestGuidersOfDiffusers(t *testing.T) {
	var g guidersGolden
	golden(t, "guiders.json", &g)
	tested := map[string]bool{}
	models := []*Preconditioning{
		precondition(t, StableDiffusion(), PredictEpsilon), precondition(t, StableDiffusion(), PredictV), precondition(t, EDM(0.002, 80, 0.5), PredictEDM),
	}
	for _, c := range g.Cases {
		guidance := guidanceWith(t, c.Guidance, c.Scale, c.Parameters)
		tested[guidance.Guider.Name] = true
		for _, p := range models {
			step := 0
			m := GuidedModel{Preconditioning: p, Sigmas: g.Sigmas, Images: goldenImages, Channels: goldenChannels}
			if c.Clean != nil {
				model := g.model(guidance, &step)
				m.Denoise = func(ctx context.Context, dst [][]float32, x []float32, sigma float64) error {
					return model(ctx, dst, x, sigma)
				}
			} else {
				m.Denoise = p.BatchDenoiser(g.model(guidance, &step))
			}
			denoise, err := guidance.Denoiser(m)
			require.NoError(t, err)
			got := make([]float32, len(g.Steps[0].X))
			for step = range g.Steps {
				x, sigma := g.Steps[step].X, g.Sigmas[step]
				require.NoError(t, denoise(t.Context(), got, x, sigma))
				what := fmt.Sprintf("%s %v, %s, step %d", c.Guidance, c.Parameters, p.Prediction(), step)
				if c.Clean != nil {
					requireClose(t, c.Clean[step], got, 1e-6, what)
					continue
				}
				p.Target(got, got, x, sigma) // back to what the net predicts
				requireClose(t, c.Predictions[step], got, 1e-6, what)
			}
		}
	}
	for _, guider := range Guiders() {
		require.True(t, tested[guider.Name], "%s has no reference numbers", guider.Name)
	}
}

// everyGuidance runs a test for each kind of guidance, with its usual numbers.
func everyGuidance(t *testing.T, f func(t *testing.T, g Guidance)) {
	for _, guider := range Guiders() {
		t.Run(guider.Name, func(t *testing.T) { f(t, guidanceWith(t, guider.Name, guider.Scale.Default, nil)) })
	}
}

// varied is a model whose answers differ.
func varied(_ context.Context, dst [][]float32, x []float32, sigma float64) error {
	for i, d := range dst {
		for k := range d {
			d[k] = x[k]*float32(0.3+0.1*float64(i)) + float32(math.Sin(float64(k*(i+1))))
		}
	}
	return nil
}

func TestGuidersAreConsistent(t *testing.T) {
	seen := map[string]string{}
	for _, g := range Guiders() {
		for _, name := range append([]string{g.Name}, g.Aliases...) {
			require.NotContains(t, seen, fold(name), "%s of %s", name, g.Name)
			seen[fold(name)] = g.Name
			found, err := LookupGuider(strings.ToUpper(name))
			require.NoError(t, err)
			require.Equal(t, g.Name, found.Name)
		}
		require.NotEmpty(t, g.Description)
		require.NotContains(t, g.Description, "\n")
		require.Contains(t, g.Answers, AnswerCond)
		require.NotNil(t, g.New)
		var names []string
		for _, p := range append([]Parameter{g.Scale}, g.Parameters...) {
			require.NotContains(t, names, p.Name, g.Name)
			names = append(names, p.Name)
			require.NotEmpty(t, p.Help)
			require.NoError(t, p.check(g.Name, p.Default))
			require.NoError(t, p.check(g.Name, p.Min))
			require.Error(t, p.check(g.Name, math.Nextafter(p.Min, -10)))
		}
		require.Subset(t, names, []string{"start", "stop", "sigma_min", "sigma_max"})
	}
	_, err := LookupGuider("agp")
	require.EqualError(t, err, `unknown guidance "agp"; did you mean "apg"? There are cfg, cfg_rescale, apg, cfg_zero_star, dynamic_thresholding, mimic, pag, composable and instruct_pix2pix`)
}

func TestGuidanceRefuses(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		guider     string
		scale      float64
		parameters map[string]float64
		message    string
	}{
		{"cfg", -1, nil, "scale must be 0 to 1000 with cfg, got -1"},
		{"cfg", math.NaN(), nil, "scale must be 0 to 1000 with cfg, got NaN"},
		{"cfg", 7, map[string]float64{"phi": 1}, "cfg takes no phi; it takes channels, every, start, stop, sigma_min and sigma_max"},
		{"cfg_rescale", 7, map[string]float64{"phi": 2}, "phi must be 0 to 1 with cfg_rescale, got 2"},
		{"apg", 7, map[string]float64{"momentum": -2}, "momentum must be -1 to 1 with apg, got -2"},
		{"apg", 7, map[string]float64{"norm_threshold": inf}, "norm_threshold must be finite with apg, got +Inf"},
		{"cfg_zero_star", 7, map[string]float64{"zero_steps": 1.5}, "zero_steps must be a whole number, 0 to 1000000 with cfg_zero_star, got 1.5"},
		{"dynamic_thresholding", 7, map[string]float64{"max_value": 0.5}, "max_value must be 1 or more with dynamic_thresholding, got 0.5"},
		{"cfg", 7, map[string]float64{"start": 0.6, "stop": 0.5}, "start must be at most stop, 0.5, with cfg, got 0.6"},
		{"pag", 7, map[string]float64{"sigma_min": 3, "sigma_max": 2}, "sigma_min must be at most sigma_max, 2, with pag, got 3"},
		{"pag", 7, map[string]float64{"pag_start": 1, "pag_stop": 0}, "pag_start must be at most pag_stop, 0, with pag, got 1"},
		{"pag", 2000, map[string]float64{"pag_scale": -1}, "scale must be 0 to 1000 with pag, got 2000\npag_scale must be 0 to 100 with pag, got -1"},
	} {
		guider, err := LookupGuider(c.guider)
		require.NoError(t, err)
		_, err = guider.With(c.scale, c.parameters)
		require.EqualError(t, err, c.message)
	}
}

func TestGuidanceRefusesWeightsAndModels(t *testing.T) {
	composable, err := LookupGuider("composable")
	require.NoError(t, err)
	several, err := composable.With(7, nil)
	require.NoError(t, err)
	_, err = several.Weighted()
	require.EqualError(t, err, "composable must have at least one weight, got none")
	_, err = several.Weighted(1, math.NaN())
	require.EqualError(t, err, "weight 2 of composable must be finite, got NaN")
	_, err = guidanceWith(t, "cfg", 7, nil).Weighted(1)
	require.EqualError(t, err, "cfg takes no weights")

	model := GuidedModel{Denoise: varied, Preconditioning: precondition(t, StableDiffusion(), PredictEpsilon)}
	for _, c := range []struct {
		guidance Guidance
		model    GuidedModel
		message  string
	}{
		{Guidance{}, model, "guidance must be made by Guider.With"},
		{Guidance{Guider: guidanceWith(t, "cfg", 7, nil).Guider, Scale: 7}, model, "guidance must be made by Guider.With"},
		{several, model, "composable must have at least one weight, got none"},
		{guidanceWith(t, "cfg", 7, nil), GuidedModel{}, "guidance cfg must have a model and its preconditioning"},
		{guidanceWith(t, "cfg", 7, map[string]float64{"start": 0.5}), model, "start is 0.5, for which guidance must know the noise levels of the run"},
		{guidanceWith(t, "pag", 7, map[string]float64{"pag_stop": 0.5}), model, "pag_stop is 0.5, for which guidance must know the noise levels of the run"},
	} {
		_, err := c.guidance.Denoiser(c.model)
		require.EqualError(t, err, c.message)
	}
	model.Uncond = make([]float32, 4)
	_, err = guidanceWith(t, "instruct_pix2pix", 7, nil).Denoiser(model)
	require.EqualError(t, err, "guidance instruct_pix2pix does not go with samplers of CFG++")
	model.Sigmas = []float64{3, 2, 1, 0}
	_, err = guidanceWith(t, "cfg_zero_star", 7, map[string]float64{"zero_steps": 3}).Denoiser(model)
	require.EqualError(t, err, "zero_steps must be less than the 3 steps with cfg_zero_star, got 3")
	model.Sigmas = []float64{1, 2}
	var e *SigmasError
	_, err = guidanceWith(t, "cfg", 7, nil).Denoiser(model)
	require.ErrorAs(t, err, &e)
}

// What guidance says that it needs is what it asks for.
func TestGuidanceAsksForWhatItNeeds(t *testing.T) {
	sigmas := []float64{8, 4, 2, 1, 0}
	for _, c := range []struct {
		guider     string
		scale      float64
		parameters map[string]float64
		cfgpp      bool
		needs      []Answer
	}{
		{"cfg", 7, nil, false, []Answer{"cond", "uncond"}},
		{"cfg", 1, nil, false, []Answer{"cond"}},
		{"cfg", 0, nil, false, []Answer{"uncond"}},
		{"cfg", 1, nil, true, []Answer{"cond", "uncond"}},
		{"cfg", 0, nil, true, []Answer{"cond", "uncond"}},
		{"cfg", 0, map[string]float64{"stop": 0.5}, false, []Answer{"cond", "uncond"}},
		{"cfg_rescale", 1, nil, false, []Answer{"cond"}},
		{"apg", 1, nil, false, []Answer{"cond"}},
		{"cfg_zero_star", 1, nil, false, []Answer{"cond"}},
		{"dynamic_thresholding", 1, nil, false, []Answer{"cond"}},
		{"mimic", 1, nil, false, []Answer{"cond", "uncond"}},
		{"pag", 7, nil, false, []Answer{"cond", "uncond", "perturbed"}},
		{"pag", 1, nil, false, []Answer{"cond", "perturbed"}},
		{"pag", 1, nil, true, []Answer{"cond", "uncond", "perturbed"}},
		{"pag", 7, map[string]float64{"pag_scale": 0}, false, []Answer{"cond", "uncond"}},
		{"pag", 1, map[string]float64{"pag_scale": 0}, false, []Answer{"cond"}},
		{"composable", 1, nil, false, []Answer{"uncond", "cond"}},
		{"instruct_pix2pix", 7, nil, false, []Answer{"uncond", "image", "cond"}},
	} {
		g := guidanceWith(t, c.guider, c.scale, c.parameters)
		what := fmt.Sprintf("%s at %g, %v", c.guider, c.scale, c.parameters)
		require.Equal(t, c.needs, g.Needs(c.cfgpp), what)
		asked := map[Answer]bool{}
		m := GuidedModel{Preconditioning: precondition(t, StableDiffusion(), PredictV), Sigmas: sigmas}
		m.Denoise = func(ctx context.Context, dst [][]float32, x []float32, sigma float64) error {
			for i, d := range dst {
				if d != nil {
					asked[g.Guider.Answers[min(i, len(g.Guider.Answers)-1)]] = true
				}
			}
			return varied(ctx, dst, x, sigma)
		}
		x, dst := make([]float32, 8), make([]float32, 8)
		if c.cfgpp {
			m.Uncond = make([]float32, 8)
		}
		d, err := g.Denoiser(m)
		require.NoError(t, err)
		for _, sigma := range sigmas[:4] {
			require.NoError(t, d(t.Context(), dst, x, sigma))
		}
		require.Len(t, asked, len(c.needs), what)
		for _, a := range c.needs {
			require.True(t, asked[a], what)
		}
	}
}

// Outside of the interval there is the conditional model alone, and inside what
// there would be without one.
func TestEveryGuidanceInAnInterval(t *testing.T) {
	sigmas := []float64{8, 4, 2, 1, 0}
	p := precondition(t, StableDiffusion(), PredictEpsilon)
	x := begun(16, 3, NewTorch(1))
	run := func(g Guidance, uncond []float32) (out [][]float32) {
		d, err := g.Denoiser(GuidedModel{Denoise: varied, Preconditioning: p, Sigmas: sigmas, Uncond: uncond})
		require.NoError(t, err)
		for _, sigma := range sigmas[:4] {
			dst := make([]float32, len(x))
			require.NoError(t, d(t.Context(), dst, x, sigma))
			out = append(out, dst)
		}
		return out
	}
	everyGuidance(t, func(t *testing.T, g Guidance) {
		name := g.Guider.Name
		alone := make([][]float32, len(g.Guider.Answers)+1)
		for i := range alone {
			alone[i] = make([]float32, len(x))
		}
		require.NoError(t, varied(t.Context(), alone, x, 1))
		cond := alone[slices.Index(g.Guider.Answers, AnswerCond)]
		if g.Guider.Repeats { // at scale 1
			cond = make([]float32, len(x))
			for i, k := range []float64{1 - 0.8 + 0.3, 0.8, -0.3} {
				add(cond, k, alone[i])
			}
		}
		if name == "apg" { // which remembers the steps that it was used in
			g = guidanceWith(t, name, 7, map[string]float64{"momentum": 0})
		}
		whole := run(g, nil)
		for _, limits := range []map[string]float64{
			{"start": 0.25, "stop": 0.75}, {"sigma_min": 1, "sigma_max": 4}, {"start": 0.25, "sigma_min": 1.5}, {"stop": 0.75, "sigma_max": 5},
		} {
			if name == "apg" {
				limits["momentum"] = 0
			}
			part := run(guidanceWith(t, name, 7, limits), nil)
			require.Equal(t, whole[1:3], part[1:3], "%v", limits)
			for _, outside := range [][]float32{part[0], part[3]} {
				requireClose(t, cond, outside, 1e-6, fmt.Sprint(limits))
				require.NotEqual(t, whole[0], outside)
			}
		}
		if g.Guider.CFGPP { // the prediction itself where there is no guidance
			uncond := make([]float32, len(x))
			part := run(guidanceWith(t, name, 7, map[string]float64{"stop": 0.5}), uncond)
			if !g.Guider.Repeats {
				require.Equal(t, part[3], uncond)
			}
		}
	})
}

// Pictures of a batch are guided as they are alone.
func TestGuidanceMeasuresPicturesOneByOne(t *testing.T) {
	const size, images, channels = 24, 3, 4
	noise := NewTorch(3)
	var answers [][]float32
	for range 4 {
		answers = append(answers, begun(size*images, 2, noise))
	}
	x := begun(size*images, 2, noise)
	p := precondition(t, StableDiffusion(), PredictV)
	everyGuidance(t, func(t *testing.T, g Guidance) {
		together, err := g.Denoiser(GuidedModel{Denoise: answering(answers...), Preconditioning: p, Images: images, Channels: channels})
		require.NoError(t, err)
		dst := make([]float32, len(x))
		require.NoError(t, together(t.Context(), dst, x, 2))
		for i := range images {
			var own [][]float32
			for _, a := range answers {
				own = append(own, part(a, i, images))
			}
			alone, err := g.Denoiser(GuidedModel{Denoise: answering(own...), Preconditioning: p, Channels: channels})
			require.NoError(t, err)
			one := make([]float32, size)
			require.NoError(t, alone(t.Context(), one, part(x, i, images), 2))
			require.Equal(t, one, part(dst, i, images))
		}
	})
}

// Samplers of CFG++ find the unconditional prediction of each kind.
func TestGuidanceFillsUncond(t *testing.T) {
	x := begun(16, 2, NewTorch(1))
	everyGuidance(t, func(t *testing.T, g Guidance) {
		if !g.Guider.CFGPP {
			return
		}
		answers := make([][]float32, 4)
		for i := range answers {
			answers[i] = make([]float32, len(x))
		}
		require.NoError(t, varied(t.Context(), answers, x, 2))
		uncond := make([]float32, len(x))
		d, err := g.Denoiser(GuidedModel{Denoise: varied, Preconditioning: precondition(t, StableDiffusion(), PredictV), Uncond: uncond})
		require.NoError(t, err)
		require.NoError(t, d(t.Context(), make([]float32, len(x)), x, 2))
		require.Equal(t, answers[slices.Index(g.Guider.Answers, AnswerUncond)], uncond)
	})
}

func TestGuidanceDoesNotAllocate(t *testing.T) {
	x, dst := make([]float32, 64), make([]float32, 64)
	nothing := func(context.Context, [][]float32, []float32, float64) error { return nil }
	model := precondition(t, StableDiffusion(), PredictV)
	everyGuidance(t, func(t *testing.T, g Guidance) {
		d, err := g.Denoiser(GuidedModel{Denoise: nothing, Preconditioning: model, Images: 2, Channels: 4})
		require.NoError(t, err)
		require.NoError(t, d(t.Context(), dst, x, 0.9))
		require.Zero(t, testing.AllocsPerRun(5, func() { _ = d(t.Context(), dst, x, 0.9) }))
	})
	for name, d := range map[string]Denoiser{
		"cfg": CFG(nothing, 7), "threshold": DynamicThreshold(constant(2), 0.9, 2, 2), "denoiser": model.Denoiser(dummyModel),
	} {
		require.NoError(t, d(t.Context(), dst, x, 0.9))
		require.Zero(t, testing.AllocsPerRun(5, func() { _ = d(t.Context(), dst, x, 0.9) }), name)
	}
}

// Whatever a model answers and however large its samples are, guidance gives
// an answer.
func TestGuidanceSurvivesOddModels(t *testing.T) {
	everyGuidance(t, func(t *testing.T, g Guidance) {
		for _, v := range []float32{0, 1, float32(math.NaN()), float32(math.Inf(1)), math.MaxFloat32} {
			for _, images := range []int{-1, 0, 3, 100} {
				for _, size := range []int{1, 10} {
					m := GuidedModel{Denoise: constants(v, v, 0, v).denoise, Preconditioning: precondition(t, Flow(1), PredictFlow), Images: images, Channels: images}
					d, err := g.Denoiser(m)
					require.NoError(t, err)
					require.NoError(t, d(t.Context(), make([]float32, size), make([]float32, size), 0.9))
				}
			}
		}
	})
}
