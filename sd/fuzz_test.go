package sd

import (
	"image"
	"image/color"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/mutate"
	"github.com/sdgo/sdgo/sampler"
)

// Bits of FuzzRequest's argument that says which parts a request has.
const (
	fuzzImage = 1 << iota
	fuzzMask
	fuzzOnlyMasked
	fuzzStage
	fuzzSecondStage
	fuzzTowards
	fuzzScales
)

// FuzzRequest checks requests of every kind: each is refused, with the fields that
// are wrong, or has what can be drawn. (Names of samplers have a target of their own.)
func FuzzRequest(f *testing.F) {
	path := filepath.Join(f.TempDir(), "model.safetensors")
	require.NoError(f, os.WriteFile(path, mutableModel(515, 32).Safetensors(mutate.NewScript(nil)), 0o666))
	m, err := Open(path, Options{Threads: 1})
	require.NoError(f, err)
	f.Cleanup(func() { m.Close() })
	f.Add("a [b|(c:1.2)]", "BREAK d", uint8(0), uint8(0), "torch", uint8(0), 64, 64, 20, 1, int64(-1), 0, 7.5, 0.75)
	f.Add("a [b:c:0.5]", "", uint8(7), uint8(2), "philox", uint8(fuzzImage|fuzzMask|fuzzOnlyMasked|fuzzScales), 0, 0, 0, 0, int64(1), 2, 0.0, 1.0)
	f.Add("(a:1.2.3)", "[[[", uint8(3), uint8(3), "", uint8(fuzzStage|fuzzSecondStage), 8192, 8, 1000, 1024, int64(1)<<62, -1, 1e300, -0.5)
	f.Add("", "", uint8(255), uint8(255), "", uint8(fuzzImage|fuzzStage|fuzzTowards), 16, 24, 3, 2, int64(5), 1, 1.0, 0.0)
	samplers, schedules, upscalers := []string{"", "no sampler"}, []string{"", "no schedule"}, append(Upscalers(), "")
	for _, x := range sampler.Samplers() {
		samplers = append(samplers, x.Name)
	}
	for _, x := range sampler.Schedules() {
		schedules = append(schedules, x.Name)
	}
	img, mask := image.NewNRGBA(image.Rect(0, 0, 24, 16)), image.NewGray(image.Rect(0, 0, 24, 16))
	mask.Set(5, 5, color.White)
	f.Fuzz(func(t *testing.T, prompt, negative string, samplerAt, scheduleAt uint8, rng string, parts uint8, width, height, steps, count int, seed int64, small int, guidance, strength float64) {
		sampler, schedule := samplers[int(samplerAt)%len(samplers)], schedules[int(scheduleAt)%len(schedules)]
		r := Request{Prompt: prompt, NegativePrompt: negative, Sampler: sampler, Schedule: schedule, RNG: RNG(rng), Width: width, Height: height,
			Steps: steps, Count: count, Seed: seed, UnsignedSeed: parts&fuzzStage != 0, ClipSkip: small, DeepCache: small, PreviewEvery: small}
		if parts&fuzzImage != 0 {
			r.Image = img
		}
		if parts&fuzzMask != 0 {
			r.Mask, r.OnlyMasked, r.MaskFeather = mask, parts&fuzzOnlyMasked != 0, &small
			if r.OnlyMasked {
				r.MaskPadding = &small
			}
		}
		if parts&fuzzScales != 0 {
			r.Guidance, r.ImageGuidance, r.Strength, r.RefinerAt = &guidance, &strength, &strength, &strength
		}
		if parts&fuzzStage != 0 {
			r.Hires = append(r.Hires, HiresPass{Scale: guidance, Strength: &strength, Upscaler: upscalers[int(scheduleAt)%len(upscalers)], Steps: small})
		}
		if parts&fuzzSecondStage != 0 {
			r.Hires = append(r.Hires, HiresPass{Width: height, Height: width, Sampler: sampler, Schedule: schedule, Guidance: &guidance})
		}
		if parts&fuzzTowards != 0 {
			r.Interpolate = &Interpolation{Prompt: &negative, Seed: &seed, UnsignedSeed: parts&fuzzScales != 0, At: strength}
		}
		requireResolved(t, m, r)
	})
}

func requireResolved(t *testing.T, m *Model, r Request) {
	q, err := m.resolved(r)
	if err != nil {
		var e *RequestError
		require.ErrorAs(t, err, &e)
		for _, p := range e.Problems {
			require.NotEmpty(t, p.Field)
			require.NotEmpty(t, p.Text)
			require.LessOrEqual(t, len(p.Text), 2000+len("…"))
		}
		return
	}
	for _, side := range []int{q.Width, q.Height} {
		require.True(t, side >= 8 && side <= MaxSide && side%8 == 0, "%dx%d", q.Width, q.Height)
	}
	require.True(t, q.Steps >= 1 && q.Steps <= MaxSteps && q.Count >= 1 && q.Count <= MaxCount)
	require.True(t, q.StepsToMake() >= 0 && q.StepsToMake() <= q.Steps)
	require.True(t, q.Guidance >= 0 && q.Guidance <= 1000 && q.Strength >= 0 && q.Strength <= 1)
	require.NotNil(t, q.Schedule.Sigmas)
	require.True(t, q.Seed >= 0 || q.UnsignedSeed)
	for _, h := range q.Hires {
		require.True(t, h.Request.Width >= 8 && h.Request.Width <= MaxSide && h.Request.Height >= 8 && h.Request.Height <= MaxSide, "%dx%d", h.Request.Width, h.Request.Height)
	}
}
