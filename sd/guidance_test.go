package sd

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
)

// Every kind of guidance draws a picture of its own, the same alone and in a batch;
// cfg is the one without a name.
func TestGuiders(t *testing.T) {
	one, many := openTiny(t, "sd1.safetensors", Options{}), openTiny(t, "sd1.safetensors", Options{Batch: 3})
	base := Request{Prompt: "[a red apple:a bird:2]", NegativePrompt: "a table", Width: 16, Height: 24, Steps: 4, Sampler: "dpm++2m", Seed: 3, Count: 3}
	plain := generateAll(t, one, []Request{base})
	seen := map[string]string{string(plain[0].Image.Pix): "cfg"}
	for _, g := range sampler.Guiders() {
		r := base
		r.Guider = g.Name
		switch g.Name {
		case "composable", "instruct_pix2pix":
			require.ErrorContains(t, one.Check(r), "Guider: "+g.Name)
			continue
		case "cfg":
			require.Equal(t, plain[0].Image.Pix, generateAll(t, one, []Request{r})[0].Image.Pix)
			continue
		case "cfg_norm":
			r.GuiderOptions = map[string]float64{"patch": 1}
		case "mimic":
			r.GuiderOptions = map[string]float64{"mimic_scale": 3}
		case "cfg_zero_star":
			r.GuiderOptions = map[string]float64{"zero_steps": 1}
		}
		alone, together := generateAll(t, one, []Request{r}), generateAll(t, many, []Request{r})
		for i := range alone {
			require.True(t, equalPix(alone[i].Image, together[i].Image), "%s, picture %d", g.Name, i)
		}
		pix := string(alone[0].Image.Pix)
		require.Empty(t, seen[pix], g.Name)
		seen[pix] = g.Name
		require.Equal(t, g.Name, alone[0].Params.Guider)
		r.GuiderOptions = map[string]float64{"stop": 0}
		without := base
		without.Guidance = Float(1)
		require.Equal(t, generateAll(t, one, []Request{without})[0].Image.Pix, generateAll(t, one, []Request{r})[0].Image.Pix, "%s that never starts", g.Name)
	}
	require.Greater(t, len(seen), 5)
}

// The sampler's own numbers change the picture, where it takes them.
func TestSamplerOptions(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	draw := func(name string, options map[string]float64) []byte {
		r := Request{Prompt: "a red apple", Width: 16, Height: 16, Steps: 4, Sampler: name, Seed: 3, SamplerOptions: options}
		return generateAll(t, m, []Request{r})[0].Image.Pix
	}
	require.Equal(t, draw("euler_a", nil), draw("euler_a", map[string]float64{"eta": 1, "s_noise": 1}))
	require.Equal(t, draw("euler", nil), draw("euler_a", map[string]float64{"eta": 0}))
	require.NotEqual(t, draw("euler", nil), draw("euler", map[string]float64{"s_churn": 2}))
	require.NotEqual(t, draw("ddim", nil), draw("ddim", map[string]float64{"eta": 1}))
	for want, r := range map[string]Request{
		`SamplerOptions: `:                  {Sampler: "euler", SamplerOptions: map[string]float64{"eta": 1}},
		`SamplerOptions: eta`:               {Sampler: "euler_a", SamplerOptions: map[string]float64{"eta": -1}},
		`Guider: unknown guidance "cgf"`:    {Guider: "cgf"},
		`GuiderOptions: `:                   {Guider: "cfg_rescale", GuiderOptions: map[string]float64{"phi": 2}},
		`Schedule: schedule flux is for `:   {Schedule: "flux"},
		`Hires[0].Schedule: schedule flux `: {Hires: []HiresPass{{Schedule: "flux"}}},
	} {
		err := m.Check(r)
		require.Error(t, err, want)
		require.ErrorContains(t, err, want)
	}
}
