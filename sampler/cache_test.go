package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testdata/sampler/caches.py has which evaluations the published algorithms make in runs on
// a mixture of Gaussians, and where the runs end.
type cachesGolden struct {
	Scale float64
	Cases []struct {
		Model      string
		Sigmas     Sigmas
		Begin      []float32
		Cache      string
		Parameters map[string]float64
		Made       []bool
		End        []float32
	}
}

// single is the Gaussian of the script's unconditional prediction.
func single(dst, x []float32, alpha, sigma float64) {
	v := alpha*alpha*0.36 + sigma*sigma
	for i, xi := range x {
		dst[i] = float32(1 + alpha*0.36/v*(float64(xi)-alpha))
	}
}

// twoAnswers is a model of clean samples: of the mixture with the condition and of the
// Gaussian without. made receives the noise levels of its evaluations.
func twoAnswers(p *Preconditioning, made *[]float64) BatchDenoiser {
	return func(_ context.Context, dst [][]float32, x []float32, sigma float64) error {
		*made = append(*made, sigma)
		alpha := p.Process().Alpha(sigma)
		if dst[0] != nil {
			unequal{}.denoise(dst[0], x, alpha, sigma)
		}
		if dst[1] != nil {
			single(dst[1], x, alpha, sigma)
		}
		return nil
	}
}

func caching(t testing.TB, name string, parameters map[string]float64) Caching {
	t.Helper()
	c, err := LookupStepCache(name)
	require.NoError(t, err)
	with, err := c.With(parameters)
	require.NoError(t, err)
	return with
}

func TestStepCachesOfThePapers(t *testing.T) {
	var g cachesGolden
	golden(t, "caches.json", &g)
	tested := map[string]bool{}
	models := map[string]*Preconditioning{"epsilon": precondition(t, StableDiffusion(), PredictEpsilon), "flow": precondition(t, Flow(1), PredictFlow)}
	for _, c := range g.Cases {
		p, what := models[c.Model], fmt.Sprintf("%s, %s %v", c.Model, c.Cache, c.Parameters)
		tested[c.Cache] = true
		var levels []float64
		denoise, err := guidanceWith(t, "cfg", g.Scale, nil).Denoiser(GuidedModel{
			Denoise: twoAnswers(p, &levels), Preconditioning: p, Sigmas: c.Sigmas, Caching: caching(t, c.Cache, c.Parameters),
		})
		require.NoError(t, err)
		x := append([]float32{}, c.Begin...)
		require.NoError(t, Euler(t.Context(), denoise, x, c.Sigmas, nil, DefaultOptions()))
		made := make([]bool, len(c.Made))
		for i, sigma := range c.Sigmas[:len(made)] {
			for _, level := range levels {
				made[i] = made[i] || level == sigma
			}
		}
		require.Equal(t, c.Made, made, what)
		requireClose(t, c.End, x, 1e-6, what)
	}
	for _, c := range StepCaches() {
		require.True(t, tested[c.Name] || c.Inner, "%s has no reference numbers", c.Name)
	}
}

// A cache that leaves out nothing changes no bit, with any guidance, sampler and process.
func TestStepCachesThatLeaveOutNothing(t *testing.T) {
	nothing := map[string]Caching{"easy": caching(t, "easy", map[string]float64{"threshold": 0}), "taylor": caching(t, "taylor", map[string]float64{"every": 1}),
		"easy between no steps": caching(t, "easy", map[string]float64{"start": 0.5, "stop": 0.5, "threshold": 10})}
	for name, p := range trained(t) {
		for _, s := range []string{"euler", "heun", "dpm++2m", "euler_a", "dpm++2m_sde"} {
			sigmas, err := Karras(p.Process(), 8)
			if p.Process().Kind() == KindFlow {
				sigmas, err = build(8, func(i int) float64 { return 1 - float64(i)/8 })
			}
			require.NoError(t, err)
			draw := func(c Caching) []float32 {
				var made []float64
				denoise, err := guidanceWith(t, "cfg", 4, map[string]float64{"every": 2}).Denoiser(GuidedModel{
					Denoise: twoAnswers(p, &made), Preconditioning: p, Sigmas: sigmas, Caching: c})
				require.NoError(t, err)
				x := make([]float32, 16)
				noise := NewTorch(3)
				p.Process().InitialNoise(x, nil, sigmas[0], noise)
				o := lookup(t, s).Options
				o.Process = p.Process()
				require.NoError(t, lookup(t, s).Sample(t.Context(), denoise, x, sigmas, noise, o))
				return x
			}
			whole := draw(Caching{})
			for what, c := range nothing {
				require.Equal(t, whole, draw(c), "%s, %s: %s", name, s, what)
			}
		}
	}
}

// Pictures of one sample decide for themselves: each has the bits that it has alone.
func TestStepCachesDecideForEachPicture(t *testing.T) {
	p := precondition(t, StableDiffusion(), PredictV)
	sigmas, err := Karras(p.Process(), 20)
	require.NoError(t, err)
	const size = 12
	for _, c := range []Caching{caching(t, "easy", map[string]float64{"threshold": 0.1}), caching(t, "taylor", map[string]float64{"every": 3, "order": 2})} {
		draw := func(x []float32, images int) (evaluations int) {
			var made []float64
			denoise, err := guidanceWith(t, "cfg", 4, nil).Denoiser(GuidedModel{Denoise: twoAnswers(p, &made), Preconditioning: p, Sigmas: sigmas, Images: images, Caching: c})
			require.NoError(t, err)
			require.NoError(t, DPMPP2M(t.Context(), denoise, x, sigmas, nil, DefaultOptions()))
			return len(made)
		}
		both := make([]float32, 2*size)
		NewTorch(1).Normal(both)
		multiply(both[:size], sigmas[0])
		multiply(both[size:], 0.1*sigmas[0]) // another way to go
		alone := append([]float32{}, both...)
		first, second := draw(alone[:size], 1), draw(alone[size:], 1)
		together := draw(both, 2)
		require.Equal(t, alone, both, c.Cache.Name)
		t.Logf("%s: %d and %d evaluations, together %d", c.Cache.Name, first, second, together)
		if c.Cache.Name == "easy" {
			require.NotEqual(t, first, second, "the pictures decide alike, which shows nothing")
		}
		require.GreaterOrEqual(t, together, max(first, second))
		require.Less(t, first, 20)
	}
}

// What one answer is combined with is of the same evaluation, whatever guidance asks for.
func TestStepCachesKeepAnswersTogether(t *testing.T) {
	p := precondition(t, StableDiffusion(), PredictEpsilon)
	sigmas, err := Karras(p.Process(), 12)
	require.NoError(t, err)
	evaluations := 0
	model := func(_ context.Context, dst [][]float32, x []float32, sigma float64) error {
		evaluations++
		for k, d := range dst {
			for i := range d {
				d[i] = x[i] - float32(sigma)*float32(10*evaluations+k) // eps is 10·evaluation + answer
			}
		}
		return nil
	}
	m := GuidedModel{Denoise: model, Preconditioning: p, Sigmas: sigmas, Caching: caching(t, "taylor", map[string]float64{"every": 4, "order": 0, "start": 0})}
	denoise, err := m.Caching.denoiser(m)
	require.NoError(t, err)
	x, cond, uncond := []float32{1, 2}, make([]float32, 2), make([]float32, 2)
	eps := func(d []float32, sigma float64) float64 { return math.Round(float64(x[0]-d[0]) / sigma) }
	for i, sigma := range sigmas[:12] {
		dst := [][]float32{cond, nil}
		if i%3 == 1 || i == 0 {
			dst[1] = uncond
		}
		require.NoError(t, denoise(t.Context(), dst, x, sigma))
		if dst[1] != nil {
			require.InDelta(t, 1, eps(uncond, sigma)-eps(cond, sigma), 1e-6, "evaluation %d", i)
		}
	}
	require.Less(t, evaluations, 12)

	// Where the model has come to answer otherwise nothing is reused.
	changes := 0
	m.Changed = func() bool { changes++; return true }
	denoise, err = m.Caching.denoiser(m)
	require.NoError(t, err)
	evaluations = 0
	for _, sigma := range sigmas[:12] {
		require.NoError(t, denoise(t.Context(), [][]float32{cond, uncond}, x, sigma))
	}
	require.Equal(t, 12, evaluations)
	require.Equal(t, 12, changes)
}

// With every=2 the unconditional prediction is computed in every second evaluation of those
// that are made, and edits act in each evaluation.
func TestStepCachesBesideOtherSavings(t *testing.T) {
	p := precondition(t, StableDiffusion(), PredictEpsilon)
	sigmas, err := Karras(p.Process(), 12)
	require.NoError(t, err)
	var asked []bool
	var made []float64
	two := twoAnswers(p, &made)
	model := func(ctx context.Context, dst [][]float32, x []float32, sigma float64) error {
		asked = append(asked, dst[1] != nil)
		for _, d := range dst[2:] {
			if d != nil {
				single(d, x, 1, 2*sigma)
			}
		}
		return two(ctx, dst[:2], x, sigma)
	}
	m := GuidedModel{Denoise: model, Preconditioning: p, Sigmas: sigmas, Caching: caching(t, "taylor", map[string]float64{"every": 3, "start": 0})}
	guidance := guidanceWith(t, "cfg", 4, map[string]float64{"every": 2})
	denoise, err := guidance.Denoiser(m)
	require.NoError(t, err)
	x := []float32{3, -2, 5, 1}
	run := func(denoise Denoiser) []float32 {
		x := append([]float32{}, x...)
		require.NoError(t, Euler(t.Context(), denoise, x, sigmas, nil, DefaultOptions()))
		return x
	}
	run(denoise)
	require.Equal(t, []bool{true, false, true, false, true}, asked) // steps 1, 4, 7, 10 and the last

	guidance = guidanceWith(t, "cfg", 4, nil)
	edit := SemanticGuidance{Edits: []Edit{{Scale: 2, Weight: 1}}, Momentum: 0.1, Beta: 0.4}
	edited := func(c Caching) []float32 {
		m := m
		m.Caching = c
		asked = nil
		denoise, err := edit.Denoiser(guidance, m)
		require.NoError(t, err)
		return run(denoise)
	}
	whole, cached := edited(Caching{}), edited(m.Caching)
	require.Len(t, asked, 5)
	guided, err := guidance.Denoiser(m)
	require.NoError(t, err)
	without := run(guided)
	for i := range whole {
		apart := math.Abs(float64(cached[i] - whole[i]))
		require.Less(t, apart, 0.35*math.Abs(float64(cached[i]-without[i])), "the edit is lost: %v, %v, without %v", whole, cached, without)
	}

	m.Images = 2
	_, err = guidanceWith(t, "cfg", 4, map[string]float64{"every": 2}).Denoiser(m)
	require.ErrorContains(t, err, "one picture at a time")
}

func TestStepCacheErrors(t *testing.T) {
	for _, c := range []struct {
		name, want string
		parameters map[string]float64
	}{
		{"easy", "threshold must be 0 to 10 with easy, got -1", map[string]float64{"threshold": -1}},
		{"easy", "threshold must be 0 to 10 with easy, got NaN", map[string]float64{"threshold": math.NaN()}},
		{"EasyCache", "easy takes no every; it takes threshold, start and stop", map[string]float64{"every": 2}},
		{"taylor", "every must be a whole number, 1 to 100 with taylor, got 1.5", map[string]float64{"every": 1.5}},
		{"TaylorSeer", "order must be a whole number, 0 to 2 with taylor, got 3", map[string]float64{"order": 3}},
		{"easy", "start must be at most stop, 0.5, with easy, got 0.6", map[string]float64{"start": 0.6, "stop": 0.5}},
	} {
		cache, err := LookupStepCache(c.name)
		require.NoError(t, err)
		_, err = cache.With(c.parameters)
		require.ErrorContains(t, err, c.want)
	}
	_, err := LookupStepCache("eazy")
	var unknown *UnknownError
	require.True(t, errors.As(err, &unknown))
	require.EqualError(t, err, `unknown step cache "eazy"; did you mean "easy"? There are easy, taylor and first_block`)

	p := precondition(t, StableDiffusion(), PredictEpsilon)
	m := GuidedModel{Denoise: answering([]float32{1}, []float32{1}), Preconditioning: p, Caching: caching(t, "easy", nil)}
	_, err = guidanceWith(t, "cfg", 4, nil).Denoiser(m)
	require.ErrorContains(t, err, "must know the noise levels of the run")
	m.Sigmas, m.Caching = Sigmas{1, 0}, Caching{Cache: StepCache{Name: "easy"}}
	_, err = guidanceWith(t, "cfg", 4, nil).Denoiser(m)
	require.ErrorContains(t, err, "must be made by StepCache.With")
	m.Caching = caching(t, "fbcache", nil)
	_, err = guidanceWith(t, "cfg", 4, nil).Denoiser(m)
	require.ErrorContains(t, err, "step cache first_block sees the network's blocks, which guidance does not")
	for made, want := range []bool{false, false, true, true, false} {
		require.Equal(t, want, caching(t, "easy", map[string]float64{"start": 0.4}).Allows(made, 5), "after %d steps", made)
	}
	for _, c := range StepCaches() {
		require.NotContains(t, c.Description, "\n")
		require.NotEmpty(t, c.Description)
		for _, p := range c.Parameters {
			require.NotEmpty(t, p.Help)
			require.NoError(t, p.check(c.Name, p.Default))
		}
		require.Equal(t, strings.ToLower(c.Name), c.Name)
	}
}
