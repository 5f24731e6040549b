package builtin_test

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd"
)

// score is how much more a picture looks like one thing than like another: 1 is the
// first, -1 the other.
func score(all []thing, img *image.NRGBA, prompt, icon, other string) float64 {
	picture, ground := shrink(img), background(img)
	size, x, y := layout(prompt)
	var d [2]float64
	for _, th := range all {
		for k, name := range []string{icon, other} {
			if th.icon == name {
				d[k] = fit(&picture, ground, th, size, x, y)
			}
		}
	}
	return (d[1] - d[0]) / (d[0] + d[1])
}

// pairs are prompts of one layout, with the things that they name.
var pairs = []struct{ prompt, icon, to, other string }{
	{"a skateboard on a black background", "skateboard", "a basketball on a black background", "basketball"},
	{"a waffle on a blue background", "waffle", "a bus on a blue background", "bus"},
	{"a megaphone on a purple background", "megaphone", "a red apple on a purple background", "red-apple"},
}

// From one prompt to another the picture changes from one thing to the other, almost
// monotonically: a step back is less than a seventh of the way.
func TestPromptsInterpolate(t *testing.T) {
	const frames = 7
	all := things(t)
	m, err := sd.Open("", sd.Options{})
	require.NoError(t, err)
	defer m.Close()
	for _, p := range pairs {
		var scores []float64
		for i := range frames {
			r, err := m.Generate(context.Background(), sd.Request{Prompt: p.prompt, Sampler: "euler", Steps: 12, Guidance: sd.Float(5), Seed: 1,
				Interpolate: &sd.Interpolation{Prompt: &p.to, At: float64(i) / (frames - 1)}})
			require.NoError(t, err)
			scores = append(scores, score(all, r.Images[0].Image, p.to, p.other, p.icon))
		}
		t.Logf("%s to %s: %.2f", p.icon, p.other, scores)
		require.Negative(t, scores[0])
		require.Positive(t, scores[frames-1])
		way := scores[frames-1] - scores[0]
		for i := 1; i < frames; i++ {
			require.Greater(t, scores[i]-scores[i-1], -way/7, "frame %d", i)
		}
	}
}

// The ends of an interpolation are the pictures themselves.
func TestInterpolationEnds(t *testing.T) {
	seed, to := int64(2), "a bus on a blue background"
	ask := func(prompt string, seed int64, towards *sd.Interpolation) *image.NRGBA {
		return draw(t, 0, sd.Request{Prompt: prompt, Seed: seed, Steps: 3, Sampler: "euler", Guidance: sd.Float(5), Interpolate: towards})[0]
	}
	const from = "a waffle on a blue background, which is a very long sentence for such a small thing on a blue background that goes on and on " +
		"until there are more than seventy-five tokens in it, so that it takes two chunks where the other prompt takes one, and then a little more, and more"
	both := func(at float64) *sd.Interpolation { return &sd.Interpolation{Prompt: &to, Seed: &seed, At: at} }
	require.Equal(t, ask(from, 1, nil).Pix, ask(from, 1, both(0)).Pix)
	require.LessOrEqual(t, difference(ask(to, 2, nil), ask(from, 1, both(1))), 0.01)
	require.Greater(t, difference(ask(from, 1, nil), ask(from, 1, both(0.5))), 1.0)
}

// The higher the denoising strength, the less of the picture remains: at a low
// strength it keeps its thing and place, at a high one it becomes what the prompt
// says. (With more guidance that happens earlier: at guidance 5, by 0.1.)
func TestStrengthKeepsOrChanges(t *testing.T) {
	all := things(t)
	for _, p := range pairs {
		first := draw(t, 0, sd.Request{Prompt: p.prompt, Sampler: "euler", Steps: 12, Guidance: sd.Float(5), Seed: 1})[0]
		last, changed := 1.0, 0.0
		for _, strength := range []float64{0, 0.1, 0.3, 0.7} {
			img := draw(t, 0, sd.Request{Prompt: p.to, Image: first, Strength: &strength, Sampler: "euler", Steps: 20, Guidance: sd.Float(1.5), Seed: 2})[0]
			like, far := score(all, img, p.prompt, p.icon, p.other), difference(first, img)
			t.Logf("%s to %s at %g: %.2f, %.1f levels", p.icon, p.other, strength, like, far)
			require.Less(t, like, last)
			require.Greater(t, far, changed)
			last, changed = like, far
			switch strength {
			case 0:
				require.Less(t, far, 12.0, "hardly another picture")
			case 0.1:
				require.Greater(t, like, 0.3, "still the thing, at its place")
			case 0.7:
				require.Less(t, like, -0.3, "the other thing")
			}
		}
	}
}

// Outside the mask no pixel changes.
func TestInpaintingTouchesTheMaskAlone(t *testing.T) {
	first := draw(t, 0, sd.Request{Prompt: pairs[0].prompt, Sampler: "euler", Steps: 8, Guidance: sd.Float(5), Seed: 1})[0]
	mask := image.NewGray(first.Rect)
	for y := 30; y < 101; y++ {
		for x := 25; x < 90; x++ {
			mask.SetGray(x, y, color.Gray{255})
		}
	}
	painted := draw(t, 0, sd.Request{Prompt: pairs[0].to, Image: first, Mask: mask, Strength: sd.Float(1), Sampler: "euler", Steps: 8, Guidance: sd.Float(5), Seed: 2})[0]
	inside := 0.0
	for y := range 128 {
		for x := range 128 {
			a, b := first.NRGBAAt(x, y), painted.NRGBAAt(x, y)
			if mask.GrayAt(x, y).Y == 0 {
				require.Equal(t, a, b, fmt.Sprintf("pixel %d,%d", x, y))
			}
			inside += math.Abs(float64(a.G) - float64(b.G))
		}
	}
	require.Greater(t, inside/(65*71), 5.0)
}
