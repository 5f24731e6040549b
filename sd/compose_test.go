package sd

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Pictures of composed prompts: AND is composable diffusion, whatever the guidance.
func TestAndComposes(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	draw := func(r Request) []uint8 {
		r.Width, r.Height, r.Sampler = 32, 32, "euler"
		if r.Steps == 0 {
			r.Steps = 3
		}
		result, err := m.Generate(t.Context(), r)
		require.NoError(t, err)
		return result.Images[0].Image.Pix
	}
	apart := func(a, b []uint8) (worst int) {
		for i := range a {
			worst = max(worst, int(math.Abs(float64(a[i])-float64(b[i]))))
		}
		return worst
	}
	for _, guidance := range []float64{7, 1, 30} {
		one := func(prompt string) []uint8 {
			return draw(Request{Prompt: prompt, Guidance: &guidance, NegativePrompt: "table"})
		}
		require.Equal(t, one("zebra"), one("zebra :1"), "a weight of 1 is the prompt itself")
		require.LessOrEqual(t, apart(one("zebra AND quark"), one("quark AND zebra")), 2)
		require.LessOrEqual(t, apart(one("zebra"), one("zebra :0.25 AND zebra:.75")), 2)
		require.LessOrEqual(t, apart(one("zebra"), one("zebra AND quark:0")), 2)
		require.NotEqual(t, one("zebra"), one("zebra AND quark"))
		require.NotEqual(t, one("zebra and quark"), one("zebra AND quark"))
	}
	// cond = uncond + w·(cond - uncond): a weight is a factor of the scale.
	require.LessOrEqual(t, apart(draw(Request{Prompt: "zebra :2", Guidance: Float(3)}), draw(Request{Prompt: "zebra", Guidance: Float(6)})), 2)
	require.LessOrEqual(t, apart(draw(Request{Prompt: "zebra AND zebra", Guidance: Float(3)}), draw(Request{Prompt: "zebra", Guidance: Float(6)})), 2)
	require.LessOrEqual(t, apart(draw(Request{Prompt: "zebra :0.5"}), draw(Request{Prompt: "zebra", Guidance: Float(3.5)})), 2)

	// With other guidance, samplers of CFG++, several pictures at once, and prompts of several chunks.
	long := strings.Repeat("word ", 90)
	for _, r := range []Request{
		{Prompt: "zebra AND " + long, Guider: "apg", Count: 2, Guidance: Float(5)},
		{Prompt: "zebra AND [quark:" + long + ":1]", Sampler: "euler_cfg++", Guidance: Float(1)},
		{Prompt: "zebra AND quark", Guider: "pag", Guidance: Float(4)},
	} {
		r.Width, r.Height, r.Steps = 32, 32, 3
		swapped := r
		parts := strings.Split(r.Prompt, " AND ")
		slices.Reverse(parts)
		swapped.Prompt = strings.Join(parts, " AND ")
		a, err := m.Generate(t.Context(), r)
		require.NoError(t, err)
		b, err := m.Generate(t.Context(), swapped)
		require.NoError(t, err)
		for i := range a.Images {
			require.LessOrEqual(t, apart(a.Images[i].Image.Pix, b.Images[i].Image.Pix), 2, r.Prompt)
		}
	}
}

// The comma at a chunk's border, BREAK, and changes in img2img and hires passes, in pictures.
func TestPromptsAsInA1111(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Threads: 2})
	start := slopes(32, 32)
	draw := func(r Request) []uint8 {
		r.Width, r.Height, r.Guidance = 32, 32, Float(30)
		result, err := m.Generate(t.Context(), r)
		require.NoError(t, err)
		return result.Images[0].Image.Pix
	}
	words := strings.Repeat("x ", 70)
	require.Equal(t, draw(Request{Prompt: words + ", BREAK y y y y y y y y", Steps: 3}), draw(Request{Prompt: words + ", y y y y y y y y", Steps: 3}))
	require.NotEqual(t, draw(Request{Prompt: "y", Steps: 3}), draw(Request{Prompt: "BREAK y", Steps: 3}), "the first chunk is empty")

	img2img := func(prompt string) []uint8 {
		return draw(Request{Prompt: prompt, Image: start, Strength: Float(0.5), Steps: 20})
	}
	require.Equal(t, img2img("[zebra:quark:10]"), img2img("[zebra:quark:0.5]"))
	require.Equal(t, img2img("zebra"), img2img("[zebra:quark:0.6]"), "step 12 is not reached")
	require.NotEqual(t, img2img("zebra"), img2img("[zebra:quark:0.5]"))

	hires := func(prompt string) []uint8 {
		return draw(Request{Prompt: prompt, Steps: 4, Hires: []HiresPass{{Scale: 1, Steps: 2, Strength: Float(1)}}})
	}
	require.Equal(t, hires("[zebra:quark:5]"), hires("[zebra:quark:1.5]"))
	require.NotEqual(t, hires("[zebra:quark:1.0]"), hires("[zebra:quark:1.5]"))
}
