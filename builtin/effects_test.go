package builtin_test

import (
	"context"
	"fmt"
	"image"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd"
)

// draw makes a request's pictures with a number of threads.
func draw(t *testing.T, threads int, r sd.Request) (pictures []*image.NRGBA) {
	t.Helper()
	return drawWith(t, sd.Options{Threads: threads}, r)
}

func drawWith(t *testing.T, o sd.Options, r sd.Request) (pictures []*image.NRGBA) {
	t.Helper()
	m, err := sd.Open("", o)
	require.NoError(t, err)
	defer m.Close()
	result, err := m.Generate(context.Background(), r)
	require.NoError(t, err)
	for _, p := range result.Images {
		pictures = append(pictures, p.Image)
	}
	return pictures
}

// ink is the part of a picture that differs from the background: its share of the
// pixels and its centre, in pixels.
func ink(img *image.NRGBA) (share, x, y float64) {
	ground := background(img)
	n := 0.0
	for i := range 128 * 128 {
		c := img.NRGBAAt(i%128, i/128)
		far := 0.0
		for _, d := range [][2]uint8{{c.R, ground.R}, {c.G, ground.G}, {c.B, ground.B}} {
			far = max(far, math.Abs(float64(d[0])-float64(d[1])))
		}
		if far > 60 {
			n, x, y = n+1, x+float64(i%128), y+float64(i/128)
		}
	}
	return n / (128 * 128), x / max(n, 1), y / max(n, 1)
}

// difference is the root mean square difference of two pictures, of 255.
func difference(a, b *image.NRGBA) float64 {
	sum := 0.0
	for i := range a.Pix {
		d := float64(a.Pix[i]) - float64(b.Pix[i])
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(a.Pix)) * 4 / 3) // alpha is always 255
}

func TestSameBitsOnEveryRunAndThreadCount(t *testing.T) {
	r := sd.Request{Prompt: "a red apple on a yellow background", Steps: 4, Seed: 1}
	for _, set := range cgo.KernelSets() {
		if !set.Available {
			continue
		}
		o := sd.Options{Threads: 1, Kernels: set.Name}
		want := drawWith(t, o, r)
		for _, o.Threads = range []int{1, 2, 2} {
			require.Equal(t, want[0].Pix, drawWith(t, o, r)[0].Pix, "%s, %d threads", set.Name, o.Threads)
		}
	}
}

// A trained model's picture differs from machine to machine only by rounding, less than
// anybody can see.
func TestEveryInstructionSetDrawsThePicture(t *testing.T) {
	r := sd.Request{Prompt: "a red apple on a yellow background", Steps: 6, Seed: 1, Sampler: "euler"}
	want := drawWith(t, sd.Options{Kernels: "generic"}, r)[0]
	for _, kernels := range cgo.KernelNames() {
		o, bound := sd.Options{Kernels: kernels}, 60.0
		if kernels == cgo.GGML {
			o.Threads, bound = 1, 45 // rounds activations to 8 bits with these weights, which are q8_0
		}
		got := 20 * math.Log10(255/difference(want, drawWith(t, o, r)[0]))
		t.Logf("%s: PSNR %.1f dB", kernels, got)
		require.GreaterOrEqual(t, got, bound, kernels)
	}
}

func TestSeedsChooseWhatThePromptLeavesOpen(t *testing.T) {
	r := sd.Request{Prompt: "a house", Guidance: sd.Float(3), Seed: 3, Count: 6}
	grounds := map[string]bool{}
	for _, p := range draw(t, 0, r) {
		grounds[colourName(background(p))] = true
	}
	require.GreaterOrEqual(t, len(grounds), 2, "backgrounds of six seeds: %v", grounds)
}

func TestNegativePromptDrivesAway(t *testing.T) {
	r := sd.Request{Prompt: "a house", Guidance: sd.Float(3), Seed: 3, Count: 6}
	purple := func(negative string) (n int) {
		r.NegativePrompt = negative
		for _, p := range draw(t, 0, r) {
			if colourName(background(p)) == "purple" {
				n++
			}
		}
		return n
	}
	require.GreaterOrEqual(t, purple(""), 2)
	require.Zero(t, purple("purple background"))
}

func TestWeightsShiftAttention(t *testing.T) {
	all := things(t)
	toRocket := func(rocket, car float64) float64 {
		prompt := fmt.Sprintf("a (rocket:%g) and a (car:%g) on a blue background", rocket, car)
		p := draw(t, 0, sd.Request{Prompt: prompt, Guidance: sd.Float(3), Sampler: "euler", Seed: 3})[0]
		picture := shrink(p)
		return fit(&picture, background(p), all[slices.IndexFunc(all, func(th thing) bool { return th.icon == "rocket" })], 50, 32, 64)
	}
	require.Less(t, toRocket(1.6, 0.3), 0.8*toRocket(0.3, 1.6))
}

func TestGuidance(t *testing.T) {
	r := sd.Request{Prompt: "a big rocket on a blue background", Sampler: "euler", Seed: 3}
	var blue []float64 // how far the background is from the named colour
	for _, scale := range []float64{0, 1, 3} {
		r.Guidance = sd.Float(scale)
		c, want := background(draw(t, 0, r)[0]), colours["blue"]
		blue = append(blue, math.Hypot(math.Hypot(want[0]-float64(c.R), want[1]-float64(c.G)), want[2]-float64(c.B)))
	}
	require.Greater(t, blue[0], 2*blue[2], "at guidance 0 the prompt is ignored: %v", blue)
	require.Less(t, blue[1], blue[0], "%v", blue)
}

func TestMoreStepsComeNearerToTheSolution(t *testing.T) {
	r := sd.Request{Prompt: "a rocket on a blue background", Sampler: "euler", Guidance: sd.Float(3), Seed: 3}
	with := func(steps int) *image.NRGBA {
		r.Steps = steps
		return draw(t, 0, r)[0]
	}
	many := with(60)
	far, near, nearer := difference(with(4), many), difference(with(12), many), difference(with(30), many)
	require.Greater(t, far, 1.5*near)
	require.Greater(t, near, 1.5*nearer)
}

func TestSizeAndPlaceAreAsThePromptSays(t *testing.T) {
	where := func(what string) (share, x, y float64) {
		return ink(draw(t, 0, sd.Request{Prompt: what + " on a blue background", Sampler: "euler", Guidance: sd.Float(3), Seed: 3})[0])
	}
	small, _, _ := where("a small rocket")
	big, x, y := where("a big rocket")
	require.Greater(t, big, 2*small)
	require.InDelta(t, 64, x, 12)
	require.InDelta(t, 64, y, 12)
	_, left, _ := where("a rocket on the left")
	_, right, _ := where("a rocket on the right")
	require.Less(t, left, 50.0)
	require.Greater(t, right, 78.0)
}
