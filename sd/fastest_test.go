package sd

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is filled in is what a request leaves open and what suits the rest of it; all that
// is filled in is in the picture's parameters, which draw it again.
func TestFastest(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	every := map[string]float64{"every": 2}
	numbers := map[string]float64{"threshold": 0.2}
	for name, c := range map[string]struct{ r, want Request }{
		"nothing is said":                        {Request{}, Request{Cache: "easy", CacheOptions: numbers, GuiderOptions: every}},
		"a cache is":                             {Request{Cache: "taylor"}, Request{Cache: "taylor", GuiderOptions: every}},
		"a cache of the UNet's inner blocks is":  {Request{DeepCache: 3}, Request{DeepCache: 3, GuiderOptions: every}},
		"guidance is":                            {Request{Guider: "apg"}, Request{Guider: "apg", Cache: "easy", CacheOptions: numbers}},
		"a number of guidance is":                {Request{GuiderOptions: map[string]float64{"stop": 0.5}}, Request{GuiderOptions: map[string]float64{"stop": 0.5}, Cache: "easy", CacheOptions: numbers}},
		"there is no guidance":                   {Request{Guidance: Float(1)}, Request{Guidance: Float(1), Cache: "easy", CacheOptions: numbers}},
		"edits need the unconditional answer":    {Request{Edits: []Edit{{Prompt: "a hat"}}}, Request{Edits: []Edit{{Prompt: "a hat"}}, Cache: "easy", CacheOptions: numbers}},
		"guides need the model's derivative":     {Request{Guides: []Guide{{Kind: GuideColour, Colour: "#112233"}}}, Request{Guides: []Guide{{Kind: GuideColour, Colour: "#112233"}}}},
		"the sampler estimates its own error":    {Request{Sampler: "dpm_adaptive"}, Request{Sampler: "dpm_adaptive", GuiderOptions: every}},
		"another kind of guidance is the usual":  {Request{ZeroSNR: true}, Request{ZeroSNR: true, Guider: "cfg_rescale", GuiderOptions: every, Cache: "easy", CacheOptions: numbers}},
		"what is wrong is left to be found, too": {Request{Sampler: "none", Guider: "x"}, Request{Sampler: "none", Guider: "x", Cache: "easy", CacheOptions: numbers}},
	} {
		require.Equal(t, c.want, Fastest(m, c.r), name)
		if c.r.Guider != "x" && !c.r.ZeroSNR {
			require.NoError(t, m.Check(Fastest(m, c.r)), name)
		}
	}

	r := Request{Prompt: "a red apple", Width: 24, Height: 16, Steps: 12, Sampler: "euler", Seed: 5}
	passes := func(r Request) (Image, uint64) {
		before := m.Passes()
		return generateAll(t, m, []Request{r})[0], m.Passes() - before
	}
	_, all := passes(r)
	fast, fewer := passes(Fastest(m, r))
	require.Less(t, fewer, all)
	require.Contains(t, text(fast.Params), `, Guidance options: every=2, Step cache: "easy:threshold=0.2", `)
	again, _ := passes(fast.Params.Request)
	require.True(t, equalPix(fast.Image, again.Image))

	lcm := openFile(t, unusualFile(t, "lcm", unusualUNets(t, "lcm")["lcm"].original), Options{})
	r = Fastest(lcm, Request{Prompt: "a", Sampler: "lcm", Steps: 2})
	require.Empty(t, r.GuiderOptions, "the guidance scale is an input")
	require.NoError(t, lcm.Check(r))
	require.Equal(t, Request{}, Fastest(new(Model), Request{}))
}
