package builtin_test

import (
	"image"
	paint "image/draw"
	"image/png"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/builtin"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/preprocess"
)

const adapters = "../examples/adapters/"

// newThings are those of training/adapters/things.txt, after the model's own.
func newThings(t *testing.T) []thing {
	f, err := os.Open("testdata/new-things.png")
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	all := things(t)
	for _, line := range fileLines(t, "../training/adapters/things.txt") {
		if icon, _, ok := strings.Cut(line, "\t"); ok && !strings.HasPrefix(line, "#") {
			at := image.Pt((len(all)-len(things(t)))*32, 0)
			all = append(all, thing{icon, img.(*image.NRGBA).SubImage(image.Rectangle{at, at.Add(image.Pt(32, 32))})})
		}
	}
	return all
}

// adapted opens the model of the box with the adapters of examples/adapters.
func adapted(t *testing.T) *sd.Model {
	m, err := sd.Open("", sd.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	a, err := sd.OpenAdapter(adapters + "things.safetensors")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	require.NoError(t, m.Attach(a))
	e, err := sd.OpenEmbedding(adapters + "sdgo-llama.safetensors")
	require.NoError(t, err)
	require.NoError(t, m.Attach(e))
	return m
}

// The adapters in examples/adapters are small, and the LoRA makes the model draw things that
// it does not know, on backgrounds that they never had in its training.
func TestNewThings(t *testing.T) {
	files, err := os.ReadDir(adapters)
	require.NoError(t, err)
	for _, f := range files {
		info, err := f.Info()
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(1<<20), f.Name())
	}
	m, all := adapted(t), newThings(t)
	right := map[bool]int{}
	lines := fileLines(t, "../training/adapters/prompts.txt")
	require.Len(t, lines, 20)
	for i, line := range lines {
		prompt, icon, _ := strings.Cut(line, "\t")
		for _, with := range []bool{false, true} {
			q := sd.Request{Prompt: prompt, Seed: int64(100 + i), Steps: 20}
			if with {
				q.Adapters = []sd.RequestAdapter{{Name: "things"}}
			} else if i%2 == 1 {
				continue // half of them are enough to see that it doesn't know them
			}
			r, err := m.Generate(t.Context(), q)
			require.NoError(t, err)
			if got := nearest(all, r.Images[0].Image, prompt); got == icon {
				right[with]++
			} else if with {
				t.Logf("%s: %s", prompt, got)
			}
		}
	}
	t.Logf("right: %d of 10 without, %d of 20 with", right[false], right[true])
	require.LessOrEqual(t, right[false], 1)
	require.GreaterOrEqual(t, right[true], 15)
}

// The word is a llama, which no prompt of the model's own words makes.
func TestWord(t *testing.T) {
	m, all := adapted(t), newThings(t)
	llama := all[len(things(t))]
	require.Equal(t, "llama", llama.icon)
	far := func(prompt string) float64 {
		r, err := m.Generate(t.Context(), sd.Request{Prompt: prompt, Seed: 1, Steps: 20})
		require.NoError(t, err)
		img := r.Images[0].Image
		picture := shrink(img)
		return math.Sqrt(fit(&picture, background(img), llama, 88, 64, 64))
	}
	for _, colour := range []string{"green", "purple"} {
		without, with := far("a llama on a "+colour+" background"), far("sdgo-llama on a "+colour+" background")
		t.Logf("%s: %.0f without, %.0f with", colour, without, with)
		require.Less(t, with, 0.8*without)
	}
}

// outlines are the Canny edges of a picture.
func outlines(t *testing.T, img image.Image) *image.Gray {
	p, err := preprocess.Lookup("canny")
	require.NoError(t, err)
	lines, err := p.Apply(img, 0)
	require.NoError(t, err)
	grey := image.NewGray(lines.Bounds())
	paint.Draw(grey, grey.Rect, lines, lines.Bounds().Min, paint.Src)
	return grey
}

// share is how many of a's edges are at most one pixel from one of b's.
func share(a, b *image.Gray) float64 {
	hits, all := 0, 0
	for y := range a.Rect.Dy() {
		for x := range a.Rect.Dx() {
			if a.GrayAt(x, y).Y < 128 {
				continue
			}
			all++
			for k := range 9 {
				if b.GrayAt(x+k%3-1, y+k/3-1).Y >= 128 {
					hits++
					break
				}
			}
		}
	}
	return float64(hits) / max(float64(all), 1)
}

// The ControlNet makes the model draw along edges of things that are at places, of sizes and turned
// as their prompts don't say, and as it never saw them on these backgrounds. Without it, and with
// edges of other things, pictures have few edges in common with those.
func TestEdges(t *testing.T) {
	m, err := sd.Open("", sd.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()
	for base, why := range map[string]string{
		"": "the model must be named", sd.BuiltinPrefix + "x": "no built-in model", sd.BuiltinPrefix + builtin.Emoji: "has no such layer in its UNet",
	} {
		_, err := sd.OpenControl(adapters+"edges.safetensors", sd.Options{ControlBase: base})
		require.ErrorContains(t, err, why)
	}
	c, err := sd.OpenControl(adapters+"edges.safetensors", sd.Options{ControlBase: sd.BuiltinPrefix + builtin.Name})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	require.NoError(t, m.Attach(c))
	f, err := os.Open("testdata/edges.png")
	require.NoError(t, err)
	defer f.Close()
	sheet, err := png.Decode(f)
	require.NoError(t, err)
	prompts := fileLines(t, "testdata/edges.txt")
	require.Len(t, prompts, sheet.Bounds().Dx()/128)
	given := make([]*image.Gray, len(prompts))
	for i := range given {
		given[i] = image.NewGray(image.Rect(0, 0, 128, 128))
		paint.Draw(given[i], given[i].Rect, sheet, image.Pt(128*i, 0), paint.Src)
	}
	var with, without, other float64
	for i, prompt := range prompts {
		q := sd.Request{Prompt: prompt, Seed: int64(500 + i), Steps: 20}
		drawn := func() *image.Gray {
			r, err := m.Generate(t.Context(), q)
			require.NoError(t, err)
			return outlines(t, r.Images[0].Image)
		}
		f1 := func(a, b *image.Gray) float64 {
			hits, found := share(a, b), share(b, a)
			return 2 * hits * found / max(hits+found, 1e-9) / float64(len(prompts))
		}
		without += f1(drawn(), given[i])
		q.Controls = []sd.RequestControl{{Name: "edges", Image: given[i]}}
		lines := drawn()
		with += f1(lines, given[i])
		other += f1(lines, given[(i+1)%len(given)])
	}
	t.Logf("F1 of edges: %.3f with, %.3f without, %.3f of other things", with, without, other)
	require.Greater(t, with, without+0.25)
	require.Greater(t, with, other+0.25)
}
