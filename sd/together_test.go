package sd

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
	"github.com/sdgo/sdgo/sampler"
)

// generateAll collects what GenerateAll gives.
func generateAll(t *testing.T, m *Model, requests []Request) (all []Image) {
	t.Helper()
	at := 0
	err := m.GenerateAll(context.Background(), requests, func(i int, r *Result, err error) error {
		require.NoError(t, err)
		require.Equal(t, at, i, "in their order")
		at++
		all = append(all, r.Images...)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, len(requests), at)
	return all
}

// mixed are requests that differ in everything that pictures drawn together may
// differ in.
func mixed(start image.Image, mask image.Image) []Request {
	long := ""
	for range 90 {
		long += "word "
	}
	small := func(r Request) Request {
		r.Width, r.Height = 32, 24
		return r
	}
	return []Request{
		small(Request{Prompt: "a red apple", Steps: 2, Sampler: "euler_a", Seed: 1, Count: 3}),
		small(Request{Prompt: long, Steps: 1, Sampler: "dpm++2m", Schedule: "karras", Seed: 5}),
		small(Request{Prompt: "a [red apple:table:1]", NegativePrompt: "blurry", Steps: 2, Sampler: "heun", Seed: 2, RNG: PhiloxRNG}),
		small(Request{Prompt: "no guidance", Guidance: Float(1), Steps: 2, Sampler: "lcm", Seed: 3}),
		small(Request{Image: start, Strength: Float(0.6), Steps: 3, Sampler: "euler", Seed: 6}),
		small(Request{Image: start, Mask: mask, Strength: Float(1), Steps: 2, Sampler: "euler", Seed: 7}),
		{Prompt: "another size", Width: 64, Height: 16, Steps: 1, Sampler: "euler", Seed: 8, Count: 2},
	}
}

// Pictures drawn together are, to the bit, those drawn one by one: with every
// type of weights and every set of kernels.
func TestTogetherIsTheSame(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	start, mask := startPicture(ref)
	requests := mixed(start, mask)
	all := []Options{{Threads: 1}, {Type: "f32"}}
	for _, kernels := range checked.Few(cgo.KernelNames()) {
		threads := 2
		if kernels == cgo.GGML {
			threads = 1 // several wait in loops
		}
		all = append(all, Options{Kernels: kernels, Threads: threads}, Options{Kernels: kernels, Threads: threads, Type: "q8_0"})
	}
	for _, o := range all {
		t.Run(fmt.Sprint(o.Type, o.Kernels, o.Threads), func(t *testing.T) {
			o.Batch = 1
			want := generateAll(t, openTiny(t, "sd1.safetensors", o), requests)
			require.Len(t, want, 10)
			o.Batch = 8
			got := generateAll(t, openTiny(t, "sd1.safetensors", o), requests)
			require.Len(t, got, len(want))
			for i := range want {
				require.Equal(t, want[i].Params, got[i].Params)
				if !equalPix(want[i].Image, got[i].Image) {
					t.Errorf("picture %d: PSNR %.1f", i, psnr(want[i].Image, got[i].Image))
				}
			}
		})
	}
}

func equalPix(a, b *image.NRGBA) bool { return string(a.Pix) == string(b.Pix) }

func psnr(a, b *image.NRGBA) float64 {
	var sum float64
	for i := range a.Pix {
		d := float64(a.Pix[i]) - float64(b.Pix[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(a.Pix))/sum)
}

// As many as there may be, and samplers of all kinds.
func TestEverySamplerTogether(t *testing.T) {
	one, many := openTiny(t, "sd1.safetensors", Options{Batch: 1}), openTiny(t, "sd1.safetensors", Options{Batch: 3})
	most := openTiny(t, "sd1.safetensors", Options{Batch: MaxBatch})
	twenty := []Request{{Prompt: "a", Width: 8, Height: 16, Steps: 1, Sampler: "euler", Seed: 7, Count: 20}}
	want, got := generateAll(t, one, twenty), generateAll(t, most, twenty)
	for i := range want {
		require.True(t, equalPix(want[i].Image, got[i].Image), "picture %d of 20", i)
	}
	for _, s := range sampler.Samplers() {
		r := []Request{{Prompt: "a", Width: 8, Height: 16, Steps: 3, Sampler: s.Name, Seed: 7, Count: 3}}
		want, got := generateAll(t, one, r), generateAll(t, many, r)
		for i := range want {
			require.True(t, equalPix(want[i].Image, got[i].Image), "%s, picture %d", s.Name, i)
		}
	}
}

// SDXL with its refiner: the passes of two networks, each in batches.
func TestXLTogether(t *testing.T) {
	var pictures [2][]Image
	for i, batch := range []int{1, 4} {
		o := Options{Batch: batch}
		base, refiner := openXL(t, "base", o), openXL(t, "refiner", o)
		pictures[i] = generateAll(t, base, []Request{
			{Prompt: "a red apple", Steps: 4, Sampler: "euler", Seed: 1, Count: 2, Refiner: attach(t, base, refiner), RefinerAt: Float(0.5)},
			{Prompt: "a table", NegativePrompt: "b", Steps: 4, Sampler: "euler", Seed: 1, OriginalSize: image.Pt(32, 32)},
		})
	}
	for i := range pictures[0] {
		require.True(t, equalPix(pictures[0][i].Image, pictures[1][i].Image), "picture %d", i)
	}
}

// Events come from the caller's goroutine, pictures in their order, whichever
// ends first.
func TestEventsTogether(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Batch: 4})
	var pictures []string
	steps := map[string]int{}
	requests := make([]Request, 3)
	for i, n := range []int{6, 2, 1} {
		requests[i] = Request{Prompt: "a", Width: 16, Height: 16, Steps: n, Count: 2, Sampler: "euler", OnEvent: func(e Event) error {
			name := fmt.Sprint(i, " ", e.Picture)
			switch e.Stage {
			case StageSample:
				steps[name]++
				require.Equal(t, steps[name], e.Index)
				require.Equal(t, n, e.Of)
			case StageImage:
				pictures = append(pictures, name)
			}
			return nil
		}}
	}
	require.Len(t, generateAll(t, m, requests), 6)
	require.Equal(t, []string{"0 0", "0 1", "1 0", "1 1", "2 0", "2 1"}, pictures)
	require.Equal(t, map[string]int{"0 0": 6, "0 1": 6, "1 0": 2, "1 1": 2, "2 0": 1, "2 1": 1}, steps)
}

// A request that fails ends alone, unless it is to end everything.
func TestFailuresTogether(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Batch: 8})
	stop := errors.New("enough")
	request := func(at Stage) Request {
		return Request{Prompt: "a", Width: 16, Height: 16, Steps: 3, Count: 2, Sampler: "euler", OnEvent: func(e Event) error {
			if e.Stage == at && (e.Index == 2 || at == StageText) {
				return stop
			}
			return nil
		}}
	}
	requests := []Request{request(""), request(StageSample), request(StageImage), request(StageText), request("")}
	var images []int
	var errs []error
	collect := func(_ int, r *Result, err error) error {
		images, errs = append(images, len(r.Images)), append(errs, err)
		return nil
	}
	require.NoError(t, m.GenerateAll(context.Background(), requests, collect))
	require.Equal(t, []int{2, 0, 2, 0, 2}, images)
	require.Equal(t, []error{nil, stop, stop, stop, nil}, errs)

	count := 0
	err := m.GenerateAll(context.Background(), requests, func(i int, _ *Result, err error) error {
		count++
		return err
	})
	require.Equal(t, stop, err)
	require.Equal(t, 2, count)

	err = m.GenerateAll(context.Background(), []Request{request(""), {Width: 7, Prompt: "<lora:none:1>"}}, nil)
	require.ErrorContains(t, err, "request 2: Width: must be a multiple of 8 from 8 to 8192, got 7")
	require.ErrorContains(t, err, "Prompt: \"none\": no adapter is attached")
	require.NoError(t, m.Check(request("")))
	require.ErrorContains(t, m.Check(Request{Steps: -1}), "Steps")
	require.ErrorContains(t, m.Check(Request{Prompt: "(a:1.2.3)"}), "Prompt")
	require.NoError(t, m.GenerateAll(context.Background(), nil, nil))
}

func TestCancellingTogether(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Batch: 4})
	ctx, cancel := context.WithCancel(context.Background())
	n, ended := 0, 0
	request := Request{Prompt: "a", Width: 16, Height: 16, Steps: 1000, Count: 3, Sampler: "euler", OnEvent: func(e Event) error {
		if e.Stage == StageSample {
			if n++; n == 20 {
				cancel()
			}
		}
		return nil
	}}
	err := m.GenerateAll(ctx, []Request{request, request, request}, func(_ int, r *Result, err error) error {
		ended++
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, r.Images)
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, n, 40)
	require.LessOrEqual(t, ended, 2, "the third has not begun")
}
