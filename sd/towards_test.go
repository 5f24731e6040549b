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
			return picture(func(r *Request) { r.Towards = &Towards{Prompt: &other, Seed: &seed, At: at} })
		}
		first := picture(func(*Request) {})
		last := picture(func(r *Request) { r.Prompt, r.Seed = other, seed })
		require.Equal(t, first, way(0))
		require.Equal(t, last, way(1))
		require.NotEqual(t, first, way(0.5))
		require.NotEqual(t, way(0.4), way(0.5))

		// The second picture goes to the second seed.
		second := picture(func(r *Request) { r.Prompt, r.Seed = other, seed+1 })
		require.Equal(t, second, picture(func(r *Request) { r.Count, r.Towards = 2, &Towards{Prompt: &other, Seed: &seed, At: 1} }))

		// Prompts that change at different steps, and a guidance that leaves one out.
		changing := "[a red apple:a table:2]"
		picture(func(r *Request) {
			r.Prompt, r.Guidance, r.Towards = "[a bird:a house:1]", Scale(1), &Towards{Prompt: &changing, At: 0.5}
		})
		picture(func(r *Request) { r.Guidance, r.Towards = Scale(0), &Towards{Prompt: &other, At: 0.5} })
	}
}

func TestPhasesBetween(t *testing.T) {
	one := func(v float32) embedding { return embedding{data: []float32{v}, length: 1, dim: 1} }
	a := []phase{{until: 2, cond: one(0)}, {until: 6, cond: one(1)}}
	b := []phase{{until: 3, cond: embedding{data: []float32{4, 8}, length: 2, dim: 1}}, {until: 6, cond: one(9)}}
	all := between(a, b, one(-1), 0.25)
	var until []int
	var values [][]float32
	for _, p := range all {
		until, values = append(until, p.until), append(values, p.condition().data)
	}
	require.Equal(t, []int{2, 3, 6}, until)
	require.Equal(t, [][]float32{{1, 1.25}, {1.75, 1.25}, {3}}, values)
	require.Equal(t, []float32{0}, a[0].cond.data)
}

func TestTowardsProblems(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	empty, weight, tag, seed := "", "(a:"+strings.Repeat("9", 400)+")", "<lora:x:1>", int64(-1)
	for want, towards := range map[string]Towards{
		"Towards.At: NaN, 0 to 1 wanted":   {Prompt: &empty, At: nan()},
		"Towards.At: -1, 0 to 1 wanted":    {Prompt: &empty, At: -1},
		"Towards: neither a Prompt nor":    {},
		"Towards.Seed: -1, 0 to":           {Seed: &seed},
		"Towards.Prompt: prompt: weight ":  {Prompt: &weight},
		"Towards.Prompt: <lora:x>: extra ": {Prompt: &tag},
	} {
		_, err := m.Generate(context.Background(), Request{Width: 8, Height: 8, Steps: 1, Towards: &towards})
		var e *RequestError
		require.ErrorAs(t, err, &e, want)
		require.ErrorContains(t, err, want)
	}
}
