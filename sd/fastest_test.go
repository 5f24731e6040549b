package sd

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is filled in is what a request leaves open and what suits the rest of it; all that
// is filled in is in the picture's parameters, which draw it again.
func TestFastest(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	filled := func(r Request) Request {
		r.Cache, r.CacheOptions = "easy", map[string]float64{"threshold": 0.15}
		return r
	}
	guides := []Guide{{Kind: GuideColour, Colour: "#112233"}}
	for name, c := range map[string]struct{ r, want Request }{
		"nothing is said":                       {Request{}, filled(Request{})},
		"a cache is":                            {Request{Cache: "taylor"}, Request{Cache: "taylor"}},
		"a cache that leaves out nothing is":    {Request{Cache: "easy", CacheOptions: map[string]float64{"threshold": 0}}, Request{Cache: "easy", CacheOptions: map[string]float64{"threshold": 0}}},
		"a cache of the UNet's inner blocks is": {Request{DeepCache: 3}, Request{DeepCache: 3}},
		"guidance is":                           {Request{Guider: "apg"}, filled(Request{Guider: "apg"})},
		"there is no guidance":                  {Request{Guidance: Float(1)}, filled(Request{Guidance: Float(1)})},
		"guides need the model's derivative":    {Request{Guides: guides}, Request{Guides: guides}},
		"guides do without it":                  {Request{Guides: guides, GuideMethod: "mpgd"}, filled(Request{Guides: guides, GuideMethod: "mpgd"})},
		"the sampler estimates its own error":   {Request{Sampler: "dpm_adaptive"}, Request{Sampler: "dpm_adaptive"}},
		"what is wrong is left to be found":     {Request{Steps: -1}, filled(Request{Steps: -1})},
	} {
		require.Equal(t, c.want, Fastest(m, c.r), name)
		if c.r.Steps >= 0 {
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
	require.Contains(t, text(fast.Params), `, Step cache: "easy:threshold=0.15", `)
	again, _ := passes(fast.Params.Request)
	require.True(t, equalPix(fast.Image, again.Image))

	require.Equal(t, Request{}, Fastest(new(Model), Request{}))
}
