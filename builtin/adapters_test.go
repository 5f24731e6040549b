package builtin_test

import (
	"image"
	"image/png"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	_ "github.com/sdgo/sdgo/builtin"
	"github.com/sdgo/sdgo/sd"
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
