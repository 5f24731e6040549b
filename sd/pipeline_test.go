package sd

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/tensor"
)

// pipelineRequest is the request that the reference pipeline was run with.
func pipelineRequest(ref reference) Request {
	return Request{
		Prompt: ref.file.Metadata["prompt"], NegativePrompt: ref.file.Metadata["negative"],
		Width: 64, Height: 64, Steps: 5, Sampler: "euler", Seed: 42,
	}
}

func TestEmbeddingsAgreeWithTransformers(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	said := ref.file.Metadata
	for _, model := range []string{"sd1", "sd2"} {
		m := openTiny(t, model+".safetensors", Options{Type: "f32"})
		for _, c := range []struct {
			prompt, want string
			clipSkip     int
		}{
			{said["prompt"], "cond", 0},
			{said["negative"], "uncond", 0},
			{said["weighted"], "weighted", 0},
			{said["long"], "long", 0},
			{said["prompt"], "skip", 2},
		} {
			name := model + "." + c.want + ".embedding"
			if _, ok := ref.tensors[name]; !ok {
				require.Equal(t, "sd2.skip.embedding", name, "only SD 1.x has a reference for clip skip")
				continue
			}
			e := conditionsOf(t, m, Request{Prompt: c.prompt, ClipSkip: c.clipSkip}).Cond.Inputs[0]
			require.Equal(t, ref.shape(name), tensor.Batch(1, e.Shape), name)
			requireClose(t, e.Data, ref.f32(name), 1e-4, name)
		}
	}
}

func TestPipelineAgreesStepByStep(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	for _, file := range []string{"sd1.safetensors", "sd1-diffusers", "sd2.safetensors"} {
		model := file[:3]
		for _, kernels := range checked.Few(cgo.KernelNames()) {
			t.Run(file+" "+kernels, func(t *testing.T) {
				m := openTiny(t, file, Options{Type: "f32", Kernels: kernels})
				steps := 0
				latent := latentOf(t, m, pipelineRequest(ref), func(s sampler.Step) error {
					steps = s.Index
					requireClose(t, s.X, ref.f32(fmt.Sprintf("%s.latent.%d", model, s.Index)), 1e-4, fmt.Sprintf("step %d", s.Index))
					return nil
				})
				require.Equal(t, 5, steps)

				pixels, err := m.pipeline.Autoencoder.Decode(context.Background(), latent, tensor.NoProgress)
				require.NoError(t, err)
				requirePixels(t, pixels.Image(), ref.tensor(model+".pixels", "U8").Data, 1)
			})
		}
	}
}

// requirePixels compares a picture with 8-bit RGB: no channel may differ by
// more than `most`, and hardly any at all.
func requirePixels(t *testing.T, img *image.NRGBA, want []byte, most int) {
	t.Helper()
	require.Len(t, want, len(img.Pix)/4*3)
	differing := 0
	for i, w := range want {
		g := img.Pix[i/3*4+i%3]
		if d := int(g) - int(w); d != 0 {
			differing++
			require.LessOrEqual(t, max(d, -d), most, "byte %d", i)
		}
	}
	require.Less(t, differing, len(want)/100, "bytes that differ")
}

func TestGenerate(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32"})
	r := pipelineRequest(ref)
	r.Count = 2
	var events []string
	r.OnEvent = func(e Event) error {
		events = append(events, fmt.Sprintf("%s %d %d/%d", e.Stage, e.Picture, e.Index, e.Of))
		return nil
	}
	result, err := m.Generate(context.Background(), r)
	require.NoError(t, err)
	require.Len(t, result.Images, 2)
	requirePixels(t, result.Images[0].Image, ref.tensor("sd1.pixels", "U8").Data, 1)
	require.Equal(t, []string{
		"text 0 1/1",
		"sample 0 1/5", "sample 0 2/5", "sample 0 3/5", "sample 0 4/5", "sample 0 5/5", "decode 0 1/1", "image 0 1/2",
		"sample 1 1/5", "sample 1 2/5", "sample 1 3/5", "sample 1 4/5", "sample 1 5/5", "decode 1 1/1", "image 1 2/2",
	}, events)

	// The second picture is that of the next seed, and a picture's parameters
	// make it again.
	p := result.Images[1].Params
	require.Equal(t, int64(43), p.Seed)
	again, err := m.Generate(context.Background(), p.Request)
	require.NoError(t, err)
	require.Equal(t, result.Images[1].Image.Pix, again.Images[0].Image.Pix)
	require.NotEqual(t, result.Images[0].Image.Pix, again.Images[0].Image.Pix)
}

// What a person changes in a request changes the picture; what is none of the
// picture's business does not.
func TestWhatChangesThePicture(t *testing.T) {
	ref := readReference(t, pipelinesFolder, "pipeline.safetensors")
	base := pipelineRequest(ref)
	base.Steps = 2
	picture := func(o Options, change func(*Request)) []byte {
		r := base
		change(&r)
		result, err := openTiny(t, "sd1.safetensors", o).Generate(context.Background(), r)
		require.NoError(t, err)
		return result.Images[0].Image.Pix
	}
	want := picture(Options{}, func(*Request) {})
	for name, change := range map[string]func(*Request){
		"prompt":   func(r *Request) { r.Prompt += " and a bird" },
		"weight":   func(r *Request) { r.Prompt = "a (red:1.5) apple on a table" },
		"long":     func(r *Request) { r.Prompt = ref.file.Metadata["long"] },
		"negative": func(r *Request) { r.NegativePrompt = "" },
		"guidance": func(r *Request) { r.Guidance = Float(1) },
		"zero":     func(r *Request) { r.Guidance = Float(0) },
		"steps":    func(r *Request) { r.Steps = 3 },
		"sampler":  func(r *Request) { r.Sampler = "euler_a" },
		"schedule": func(r *Request) { r.Schedule, r.Steps = "karras", 3 },
		"seed":     func(r *Request) { r.Seed = 0 },
		"rng":      func(r *Request) { r.RNG = PhiloxRNG },
		"skip":     func(r *Request) { r.ClipSkip = 2 },
		"cache":    func(r *Request) { r.DeepCache = 2 },
	} {
		require.NotEqual(t, want, picture(Options{}, change), name)
	}
	require.Equal(t, want, picture(Options{Threads: 1}, func(*Request) {}), "threads")
	require.Equal(t, want, picture(Options{}, func(r *Request) { r.ClipSkip = 1; r.Guidance = Float(7); r.Schedule = "normal" }), "defaults spelt out")
}

// Every sampler and schedule runs, and ends in a picture.
func TestEverySamplerAndSchedule(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	for _, s := range sampler.Samplers() {
		_, err := m.Generate(context.Background(), Request{Prompt: "a", Width: 8, Height: 16, Steps: 4, Sampler: s.Name})
		require.NoError(t, err, s.Name)
	}
	for _, s := range sampler.SchedulesFor(m.pipeline.Denoiser.Process()) {
		_, err := m.Generate(context.Background(), Request{Prompt: "a", Width: 8, Height: 8, Steps: 3, Schedule: s.Name, Sampler: "euler"})
		require.NoError(t, err, s.Name)
	}
}

// At a guidance of 1 a step of Euler's method ends at the same prediction with
// CFG++ and without, but takes its noise from the one without the prompt.
func TestCFGPPTakesTheUnguidedNoise(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	draw := func(sampler string, steps int) []byte {
		r := Request{Prompt: "a", NegativePrompt: "table", Width: 8, Height: 16, Steps: steps, Seed: 4, Sampler: sampler, Guidance: Float(1)}
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		return result.Images[0].Image.Pix
	}
	require.Equal(t, draw("euler", 1), draw("euler_cfg++", 1))
	require.NotEqual(t, draw("euler", 4), draw("euler_cfg++", 4))
}

// A picture that does not fit the memory is decoded in tiles, to nearly the
// same pixels.
func TestTilesOnTheirOwn(t *testing.T) {
	generate := func(o Options) (*image.NRGBA, int) {
		tiles := 0
		r := Request{Prompt: "a", Width: 384, Height: 320, Steps: 1, Sampler: "euler", OnEvent: func(e Event) error {
			if e.Stage == StageDecode {
				tiles = e.Of
			}
			return nil
		}}
		result, err := openTiny(t, "sd1.safetensors", o).Generate(context.Background(), r)
		require.NoError(t, err)
		return result.Images[0].Image, tiles
	}
	whole, one := generate(Options{})
	tiled, many := generate(Options{MaxMemory: 1 << 20})
	require.Equal(t, 1, one)
	require.Equal(t, 4, many)
	require.Equal(t, whole.Bounds(), tiled.Bounds())
	var sum float64
	for i := range whole.Pix {
		d := float64(whole.Pix[i]) - float64(tiled.Pix[i])
		sum += d * d
	}
	// Norms over a tile are not those over the whole, so some difference stays.
	require.Less(t, sum/float64(len(whole.Pix)), 100.0, "mean squared difference")
}

func TestPredictionIsProbed(t *testing.T) {
	m := openTiny(t, "sd2.safetensors", Options{})
	p, err := m.pipeline.Denoiser.Prediction(context.Background())
	require.NoError(t, err)
	require.Equal(t, sampler.PredictV, p, "the file says so")
	p, err = openTiny(t, "sd2.safetensors", Options{Prediction: "epsilon"}).pipeline.Denoiser.Prediction(context.Background())
	require.NoError(t, err)
	require.Equal(t, sampler.PredictEpsilon, p, "the caller says so")
}

func TestLayouts(t *testing.T) {
	var first *Model
	for _, name := range []string{"sd1.safetensors", "sd1-diffusers"} {
		m := openTiny(t, name, Options{})
		if first == nil {
			first = m
			continue
		}
		require.Equal(t, first.config().UNet, m.config().UNet)
		require.Equal(t, first.config().VAE, m.config().VAE)
		require.Equal(t, first.config().Text, m.config().Text)
		require.Equal(t, conditionsOf(t, first, Request{Prompt: "a lighthouse"}), conditionsOf(t, m, Request{Prompt: "a lighthouse"}))
	}
	_, err := Open(filepath.Join(netsFolder, "reference.safetensors"), Options{})
	require.Error(t, err)
}

// A prompt that changes during sampling: up to the change every step is that
// of the first prompt, to the bit, and behind it no longer.
func TestPromptsThatChange(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	steps := func(positive, negative string) (all [][]float32) {
		r := Request{Prompt: positive, NegativePrompt: negative, Width: 64, Height: 64, Steps: 5, Sampler: "heun", Seed: 42}
		latentOf(t, m, r, func(s sampler.Step) error {
			all = append(all, slices.Clone(s.X))
			return nil
		})
		return all
	}
	apple, table := steps("a red apple", ""), steps("a table", "")
	require.NotEqual(t, apple[0], table[0])
	for text, same := range map[string]int{"[a red apple:a table:3]": 3, "[a red apple:a table:0.4]": 2, "a [red apple:table:1]": 1, "[a red apple|a table]": 1} {
		got := steps(text, "")
		require.Equal(t, apple[:same], got[:same], text)
		require.NotEqual(t, apple[same], got[same], text)
	}
	require.Equal(t, table, steps("[a red apple:a table:0]", ""))
	require.Equal(t, apple, steps("[a red apple:a table:5]", ""))
	negative := steps("a red apple", "[:a table:2]")
	require.Equal(t, apple[:2], negative[:2])
	require.NotEqual(t, apple[2], negative[2])
}
