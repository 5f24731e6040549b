package sd

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
)

// cachesOf are requests of all sorts, of twelve steps, in which a step cache leaves out
// evaluations.
func cachesOf(t *testing.T, ref reference) map[string]Request {
	start, mask := startPicture(ref)
	base := func(r Request) Request {
		r.Prompt, r.NegativePrompt, r.Width, r.Height, r.Steps, r.Seed = "a red apple", "a table", 32, 24, 12, 3
		if r.Sampler == "" {
			r.Sampler = "euler"
		}
		return r
	}
	all := map[string]Request{
		"euler": base(Request{}), "stochastic": base(Request{Sampler: "euler_a"}), "multi-step": base(Request{Sampler: "dpm++2m", Schedule: "karras"}),
		"two evaluations": base(Request{Sampler: "heun"}), "sde": base(Request{Sampler: "dpm++2m_sde"}), "cfg++": base(Request{Sampler: "euler_cfg++", Guidance: Float(1)}),
		"without guidance": base(Request{Guidance: Float(1)}), "apg": base(Request{Guider: "apg", GuiderOptions: map[string]float64{"every": 2}}), "pag": base(Request{Guider: "pag"}),
		"interval": base(Request{GuiderOptions: map[string]float64{"start": 0.2, "stop": 0.7}}), "img2img": base(Request{Image: start, Strength: Float(0.9)}),
		"inpainting": base(Request{Image: start, Mask: mask, Strength: Float(1)}), "hires": base(Request{Hires: []HiresPass{{Scale: 2, Steps: 8}}}),
		"deep cache": base(Request{DeepCache: 2}), "edits": base(Request{Edits: []Edit{{Prompt: "a hat", WarmUp: Int(2)}}}),
	}
	r := base(Request{})
	r.Prompt = "a [red apple:table:0.5] AND a bird :0.5"
	all["prompts that change, AND"] = r
	return all
}

// A step cache at which nothing is left out is off to the bit; one that leaves out
// evaluations makes fewer passes, and a picture near that in full, the same alone, in a
// batch and in a queue.
func TestStepCaches(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	one, many := openTiny(t, "sd1.safetensors", Options{}), openTiny(t, "sd1.safetensors", Options{Batch: 4})
	for name, r := range cachesOf(t, ref) {
		draw := func(cache string, options map[string]float64) (Image, uint64) {
			r.Cache, r.CacheOptions, r.Count = cache, options, 1
			before := one.Passes()
			return generateAll(t, one, []Request{r})[0], one.Passes() - before
		}
		whole, all := draw("", nil)
		require.NotContains(t, text(whole.Params), "Step cache")
		same, _ := draw("easy", map[string]float64{"threshold": 0})
		require.True(t, equalPix(whole.Image, same.Image), "%s: easy with threshold 0", name)
		if r.DeepCache == 0 {
			same, _ = draw("first_block", map[string]float64{"threshold": 0})
			require.True(t, equalPix(whole.Image, same.Image), "%s: first_block with threshold 0", name)
		}
		same, _ = draw("TaylorSeer", map[string]float64{"every": 1})
		require.True(t, equalPix(whole.Image, same.Image), "%s: taylor with every 1", name)
		require.Contains(t, text(same.Params), `, Step cache: "taylor:every=1", `)
		for cache, options := range map[string]map[string]float64{"easy": {"threshold": 0.3}, "taylor": {"every": 2, "order": 1}, "first_block": {"threshold": 0.3}} {
			if r.DeepCache > 0 && cache == "first_block" {
				continue
			}
			got, passes := draw(cache, options)
			loss := psnr(whole.Image, got.Image)
			t.Logf("%s: %s makes %d of %d passes, %.1f dB", name, cache, passes, all, loss)
			require.True(t, passes < all || cache == "first_block", "%s: %s", name, cache) // which computes a part of each
			require.NotEqual(t, whole.Image.Pix, got.Image.Pix, "%s: %s", name, cache)
			require.GreaterOrEqual(t, loss, map[string]float64{"easy": 36, "taylor": 19, "first_block": 31}[cache], "%s: %s", name, cache)
			r.Count = 3
			together := generateAll(t, many, []Request{r})
			require.True(t, equalPix(got.Image, together[0].Image), "%s: %s in a batch", name, cache)
			r.Seed, r.Count = r.Seed+2, 1
			require.True(t, equalPix(generateAll(t, one, []Request{r})[0].Image, together[2].Image), "%s: %s, the last of a batch", name, cache)
			r.Seed -= 2
		}
	}
}

// A cache is a picture's alone: drawn at once, again, or after one that was cancelled, a
// picture stays what it is.
func TestStepCachesShareNothing(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Batch: 3})
	request := func(i int) Request {
		return Request{Prompt: []string{"a red apple", "a table", "a bird"}[i%3], Width: 16, Height: 16, Steps: 10, Sampler: "euler", Seed: int64(i % 3), Cache: "easy", CacheOptions: map[string]float64{"threshold": 0.2}}
	}
	var want []Image
	for i := range 3 {
		want = append(want, generateAll(t, m, []Request{request(i)})...)
	}
	stop := errors.New("stop")
	r := request(1)
	r.OnEvent = func(e Event) error {
		if e.Stage == StageSample && e.Index == 6 {
			return stop
		}
		return nil
	}
	_, err := m.Generate(context.Background(), r)
	require.ErrorIs(t, err, stop)
	forks := []*Model{m.Fork(), m.Fork()}
	var all sync.WaitGroup
	for i := range 9 {
		all.Go(func() {
			got, err := forks[i%2].Submit(t.Context(), request(i), 0)
			if err != nil || !equalPix(got.Images[0].Image, want[i%3].Image) {
				t.Error("another picture than alone", err)
			}
		})
	}
	all.Wait()
}

// The refiner begins with a cache of its own: its first evaluations are made.
func TestStepCacheOfARefiner(t *testing.T) {
	base, refiner := openXL(t, "base", Options{}), openXL(t, "refiner", Options{})
	r := Request{Prompt: "a fox", Width: 32, Height: 32, Steps: 10, Sampler: "euler", Seed: 1, Refiner: attach(t, base, refiner), RefinerAt: Float(0.5), Guidance: Float(1)}
	passes := func(cache string) (of [2]uint64) {
		r.Cache, r.CacheOptions = cache, nil
		if cache != "" {
			r.CacheOptions = map[string]float64{"every": 100, "order": 0, "start": 0}
		}
		before := [2]uint64{base.Passes(), refiner.Passes()}
		generateAll(t, base, []Request{r})
		return [2]uint64{base.Passes() - before[0], refiner.Passes() - before[1]}
	}
	require.Equal(t, [2]uint64{5, 5}, passes(""))
	require.Equal(t, [2]uint64{1, 2}, passes("taylor"), "the first evaluation of each, and the last one")
}

func TestStepCacheRefusals(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	for want, r := range map[string]Request{
		`Cache: unknown step cache "quick"; did you mean "easy"? There are easy, taylor and first_block`: {Cache: "quick"},
		"CacheOptions: every must be a whole number, 1 to 100 with taylor, got 0":                        {Cache: "taylor", CacheOptions: map[string]float64{"every": 0}},
		"Cache: must name the step cache that CacheOptions are about":                                    {CacheOptions: map[string]float64{"every": 2}},
		"GuideMethod: moments does not go with a step cache: mpgd does":                                  {Cache: "easy", Guides: []Guide{{Kind: GuideColour, Colour: "#112233"}}},
		"Cache: first_block does not go with DeepCache, which reuses the same blocks":                    {Cache: "first_block", DeepCache: 2},
	} {
		require.ErrorContains(t, m.Check(r), want)
	}
	require.NoError(t, m.Check(Request{Cache: "easy", GuideMethod: "mpgd", Guides: []Guide{{Kind: GuideColour, Colour: "#112233"}}}))
	for _, c := range sampler.StepCaches() { // by what others call them
		for _, name := range append([]string{c.Name, strings.ToUpper(c.Name)}, c.Aliases...) {
			require.NoError(t, m.Check(Request{Cache: name}))
		}
	}
}

// Where a ControlNet begins or ends, and where the prompt changes, an evaluation is made: of
// what was computed before nothing is reused.
func TestStepCachesSeeChanges(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	m := withControls(t, Options{})
	passes := func(prompt string, control *RequestControl) uint64 {
		r := controlRequest(ref)
		if control != nil {
			r = controlRequest(ref, *control)
		}
		r.Prompt, r.Steps, r.Sampler, r.Guidance = prompt, 12, "euler", Float(1)
		r.Cache, r.CacheOptions = "taylor", map[string]float64{"every": 100, "start": 0}
		before := m.Passes()
		draw(t, m, r)
		return m.Passes() - before
	}
	require.EqualValues(t, 2, passes("a red apple", nil), "the first step and the last")
	require.EqualValues(t, 3, passes("a [red apple:table:0.5]", nil))
	of := RequestControl{Name: "sd1", Image: controlPicture(t, ref, 0)}
	require.EqualValues(t, 2, passes("a red apple", &of))
	of.Start, of.End = Float(0.25), Float(0.75)
	require.EqualValues(t, 4, passes("a red apple", &of))

	seen := openIPAdapter(t, "basic", Options{})
	require.NoError(t, m.Attach(seen))
	r := controlRequest(ref, RequestControl{Name: seen.Name(), Image: seenPicture(ref)})
	r.Cache = "first_block"
	require.ErrorContains(t, m.Check(r), "Cache: first_block does not go with IP-Adapters, which the first block sees")
	r.Cache = "easy"
	require.NoError(t, m.Check(r))
}
