package sd

import (
	"bytes"
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
)

const deepFloydFolder = "../testdata/deepfloyd"

// deepFloydRequest is what testdata/deepfloyd/make.py draws.
func deepFloydRequest(side int) Request {
	return Request{Prompt: "A Red apple on a table", NegativePrompt: "blurry", Width: side, Height: side, Steps: 4, Seed: 42, RNG: "torch"}
}

// The UNets of both stages, in the diffusers library's layout and under their authors' names, against the library: what they see of a
// text, queries that see the text alone, levels of different length, the level of a small picture's noise.
func TestDeepFloydNets(t *testing.T) {
	ref := readReference(t, deepFloydFolder, "reference.safetensors")
	for _, c := range []struct{ path, name string }{{"stage-1", "1"}, {"stage-1.safetensors", "1"}, {"stage-2", "2"}, {"stage-2.safetensors", "2"}} {
		for _, w := range ways() {
			t.Run(c.path+"/"+w.String(), func(t *testing.T) {
				host, err := engine.Open("if", engine.Options{Kernels: w.options.Kernels, Type: w.options.Type, Threads: w.options.Threads, Backend: "cpu"},
					func() (*convert.Model, error) { return convert.Open(filepath.Join(deepFloydFolder, c.path)) })
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, host.Close()) })
				config, err := convert.ConfigAs[*convert.DeepFloydModel](host.Weights, "DeepFloyd IF")
				require.NoError(t, err)
				var n *engine.Network
				require.NoError(t, host.Place(func() (err error) {
					n, err = host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the UNet", Arch: config.Net, Prefix: config.Prefix, Params: config.Params()})
					return err
				}, func() ([]engine.Demand, error) { return nil, nil }))
				var inputs []cgo.Input
				for _, name := range []string{"x", "timesteps", "context", "low", "noise_level"} {
					if from := c.name + "." + name; ref.tensors[from].Name != "" {
						inputs = append(inputs, cgo.Input{Name: name, Shape: ref.shape(from), F32: ref.f32(from)})
					}
				}
				want := ref.f32(c.name + ".sample")
				got := make([]float32, len(want))
				require.NoError(t, n.Run(t.Context(), inputs, []cgo.Output{{Name: "sample", Data: got}}))
				t.Logf("relative RMS error %.2g", relativeRMS(got, want))
				requireClose(t, got, want, w.bound, c.path)
			})
		}
	}
}

// Both stages draw what the library's pipelines draw: T5's states with those of the padding, the learned variance, predictions clipped by
// their quantiles, the noise on a picture to enlarge.
func TestDeepFloydDrawsAsDiffusers(t *testing.T) {
	const runs = 5e-4 // guidance multiplies what networks are off by, less than 1e-5, by 7 and 4 in each step
	ref := readReference(t, deepFloydFolder, "reference.safetensors")
	for _, kernels := range []string{"", "ggml"} {
		o := Options{Type: "f32", Kernels: kernels}
		first := openTiny(t, "../deepfloyd/stage-1", o)
		q := deepFloydRequest(16)
		c := conditionsOf(t, first, q)
		requireClose(t, c.Cond.Inputs[0].Data, ref.f32("context"), 1e-5, "context")
		requireClose(t, c.Uncond.Inputs[0].Data, ref.f32("negative"), 1e-5, "negative")
		requireClose(t, latentOf(t, first, q, nil).Data, ref.f32("1.drawn"), runs, "stage I "+kernels)
		q.Schedule, q.Steps = "fast27", 0
		requireClose(t, latentOf(t, first, q, nil).Data, ref.f32("1.fast27"), 2*runs, "stage I, fast27 "+kernels)

		second := openTiny(t, "../deepfloyd/stage-2", o)
		q = deepFloydRequest(32)
		q.Image = smallPicture(ref, "picture")
		got := latentOf(t, second, q, nil).Data
		requireClose(t, got, ref.f32("2.drawn"), runs, "stage II "+kernels)
	}
}

// What stages are drawn with that a request does not say is what the library's pipelines take.
func TestDeepFloydDefaults(t *testing.T) {
	first, second := openTiny(t, "../deepfloyd/stage-1", Options{}).pipeline.Defaults, openTiny(t, "../deepfloyd/stage-2", Options{}).pipeline.Defaults
	require.Equal(t, []any{"ddpm", "leading_zero", 100, 7.0, 16, false}, []any{first.Sampler, first.Schedule, first.Steps, first.Guidance, first.Side, first.Enlarges})
	moved := filepath.Join(t.TempDir(), "stage-1")
	require.NoError(t, os.CopyFS(moved, os.DirFS(filepath.Join(deepFloydFolder, "stage-1"))))
	file := filepath.Join(moved, "scheduler", "scheduler_config.json")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, bytes.ReplaceAll(text, []byte(`"leading"`), []byte(`"trailing"`)), 0o666))
	trailing, err := Open(moved, Options{})
	require.NoError(t, err)
	defer trailing.Close()
	require.Equal(t, "trailing", trailing.pipeline.Defaults.Schedule)
	require.Equal(t, []any{"ddpm", "leading_zero", 50, 4.0, 32, true, 250}, []any{second.Sampler, second.Schedule, second.Steps, second.Guidance, second.Side, second.Enlarges, second.NoiseLevel})
}

// The named spacings of timesteps are the library's lists.
func TestDeepFloydSchedules(t *testing.T) {
	ref := readReference(t, deepFloydFolder, "reference.safetensors")
	process := openTiny(t, "../deepfloyd/stage-1", Options{}).Process()
	for _, name := range []string{"fast27", "smart27", "smart50", "smart100", "smart185", "super27", "super40", "super100"} {
		want := ref.i32("timesteps." + name)
		s, err := sampler.LookupSchedule(name)
		require.NoError(t, err)
		require.Equal(t, name, s.Name)
		require.Equal(t, len(want), s.Steps, name)
		sigmas, err := s.Sigmas(process, s.Steps)
		require.NoError(t, err)
		for i, step := range want {
			require.InDelta(t, step, process.SigmaToT(sigmas[i]), 1e-3, "%s, step %d", name, i)
		}
	}
}

// The second stage enlarges what the first draws, told by the same text.
func TestDeepFloydStages(t *testing.T) {
	first, second := openTiny(t, "../deepfloyd/stage-1", Options{}), openTiny(t, "../deepfloyd/stage-2", Options{})
	require.NoError(t, first.Attach(second))
	got, err := first.Generate(t.Context(), Request{Prompt: "a red apple", Steps: 2, Stages: []string{second.Name()}, StageSteps: 2, Seed: 3})
	require.NoError(t, err)
	require.Equal(t, image.Pt(32, 32), got.Images[0].Image.Bounds().Size())
}

func TestDeepFloydRefuses(t *testing.T) {
	first, second := openTiny(t, "../deepfloyd/stage-1", Options{}), openTiny(t, "../deepfloyd/stage-2", Options{})
	for want, q := range map[string]Request{
		"ClipSkip: the text encoder is T5, which has no use for it":         {ClipSkip: 2},
		"ImageGuidance: only models for editing (instruct-pix2pix) have it": {ImageGuidance: Float(2)},
		"Class: the model draws from text":                                  {Class: "3"},
	} {
		require.ErrorContains(t, first.Check(q), want)
	}
	require.EqualError(t, second.Check(Request{}), "Image: the model enlarges pictures: it needs one")
	_, err := Open(filepath.Join(deepFloydFolder, "stage-1.safetensors"), Options{})
	require.ErrorContains(t, err, "no T5 text encoder is in the file; --t5xxl FILE adds one")
}
