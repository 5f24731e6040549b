package builtin_test

import (
	"context"
	"image"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd"
)

// What leaves out evaluations makes so many of the passes, and a picture so near that in
// full. SDGO_PROMPTS=500 measures on all prompts of the list, of which docs/performance.md
// tells; the bounds are below what the few here give.
func TestFewerPasses(t *testing.T) {
	count := 3
	if n, err := strconv.Atoi(os.Getenv("SDGO_PROMPTS")); err == nil {
		count = n
	}
	lines := fileLines(t, "../training/prompts.txt")
	m, err := sd.Open("", sd.Options{})
	require.NoError(t, err)
	defer m.Close()
	draw := func(change func(sd.Request) sd.Request) (all []*image.NRGBA, passes uint64) {
		before := m.Passes()
		for _, line := range lines[:min(count, len(lines))] {
			prompt, _, _ := strings.Cut(line, "\t")
			r, err := m.Generate(context.Background(), change(sd.Request{Prompt: prompt, Sampler: "euler", Steps: 20, Seed: 1}))
			require.NoError(t, err)
			all = append(all, r.Images[0].Image)
		}
		return all, m.Passes() - before
	}
	whole, most := draw(func(r sd.Request) sd.Request { return r })
	cache := func(name string, numbers map[string]float64) func(sd.Request) sd.Request {
		return func(r sd.Request) sd.Request {
			r.Cache, r.CacheOptions = name, numbers
			return r
		}
	}
	for _, c := range []struct {
		name      string
		change    func(sd.Request) sd.Request
		share, dB float64 // at most, at least
	}{
		{"fastest", func(r sd.Request) sd.Request { return sd.Fastest(m, r) }, 0.55, 34},
		{"easy:threshold=0.1", cache("easy", map[string]float64{"threshold": 0.1}), 0.7, 38},
		{"easy:threshold=0.2", cache("easy", map[string]float64{"threshold": 0.2}), 0.55, 30},
		{"taylor:every=2", cache("taylor", map[string]float64{"every": 2}), 0.61, 46},
		{"taylor:every=3,start=0.05", cache("taylor", map[string]float64{"every": 3, "start": 0.05}), 0.46, 37},
	} {
		pictures, passes := draw(c.change)
		mean, worst := 0.0, math.Inf(1)
		for i, img := range pictures {
			var sum float64
			for k, v := range img.Pix {
				d := float64(v) - float64(whole[i].Pix[k])
				sum += d * d
			}
			dB := 10 * math.Log10(255*255*float64(len(img.Pix))/4*3/sum) // alpha is the same
			mean, worst = mean+dB/float64(len(pictures)), min(worst, dB)
		}
		share := float64(passes) / float64(most)
		t.Logf("%s: %.2f of the passes, mean %.1f dB, worst %.1f dB", c.name, share, mean, worst)
		require.LessOrEqual(t, share, c.share, c.name)
		require.GreaterOrEqual(t, mean, c.dB, c.name)
	}
}
