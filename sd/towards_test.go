package sd

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The way from one picture to another begins and ends with them, with any
// sampler without noise of its own, and has other pictures in between.
func TestTowards(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	for _, model := range []string{"sd1.safetensors", "sd2.safetensors"} {
		m := openTiny(t, model, Options{})
		picture := func(change func(*Request)) []byte {
			r := pipelineRequest(ref)
			r.Steps = 3
			change(&r)
			result, err := m.Generate(context.Background(), r)
			require.NoError(t, err)
			return result.Images[len(result.Images)-1].Image.Pix
		}
		other, seed := ref.file.Metadata["long"], int64(7) // of two chunks
		way := func(at float64) []byte {
			return picture(func(r *Request) { r.Interpolate = &Interpolation{Prompt: &other, Seed: &seed, At: at} })
		}
		first := picture(func(*Request) {})
		last := picture(func(r *Request) { r.Prompt, r.Seed = other, seed })
		require.Equal(t, first, way(0))
		require.Equal(t, last, way(1))
		require.NotEqual(t, first, way(0.5))
		require.NotEqual(t, way(0.4), way(0.5))

		// The second picture goes to the second seed.
		second := picture(func(r *Request) { r.Prompt, r.Seed = other, seed+1 })
		require.Equal(t, second, picture(func(r *Request) { r.Count, r.Interpolate = 2, &Interpolation{Prompt: &other, Seed: &seed, At: 1} }))

		// Prompts that change at different steps, and a guidance that leaves one out.
		changing := "[a red apple:a table:2]"
		picture(func(r *Request) {
			r.Prompt, r.Guidance, r.Interpolate = "[a bird:a house:1]", Float(1), &Interpolation{Prompt: &changing, At: 0.5}
		})
		picture(func(r *Request) { r.Guidance, r.Interpolate = Float(0), &Interpolation{Prompt: &other, At: 0.5} })
	}
}

func TestTowardsProblems(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	empty, weight, tag, seed := "", "(a:"+strings.Repeat("9", 400)+")", "<lora:x:1>", int64(-1)
	for want, towards := range map[string]Interpolation{
		"Interpolate.At: must be 0 to 1, got NaN": {Prompt: &empty, At: nan()},
		"Interpolate.At: must be 0 to 1, got -1":  {Prompt: &empty, At: -1},
		"Interpolate: needs a Prompt or a Seed":   {},
		"Interpolate.Seed: must be 0 to":          {Seed: &seed},
		"Interpolate.Prompt: prompt: weight ":     {Prompt: &weight},
		"Interpolate.Prompt: <lora:x:1>: extra ":  {Prompt: &tag},
	} {
		_, err := m.Generate(context.Background(), Request{Width: 8, Height: 8, Steps: 1, Interpolate: &towards})
		var e *RequestError
		require.ErrorAs(t, err, &e, want)
		require.ErrorContains(t, err, want)
	}
}
