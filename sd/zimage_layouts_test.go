package sd

import (
	"context"
	"encoding/json"
	"errors"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// zImageFolder puts the tiny parts into a folder of the diffusers library's, whose scheduler has a shift.
func zImageFolder(t *testing.T, o Options, transformer string, shift float64) string {
	dir := t.TempDir()
	write := func(name string, v any) {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	write("model_index.json", map[string]any{"_class_name": "ZImagePipeline", "transformer": []string{"diffusers", "ZImageTransformer2DModel"},
		"vae": []string{"diffusers", "AutoencoderKL"}, "text_encoder": []string{"transformers", "Qwen3Model"}, "scheduler": []string{"diffusers", "FlowMatchEulerDiscreteScheduler"}})
	write("scheduler/scheduler_config.json", map[string]any{"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": shift, "use_dynamic_shifting": false})
	write("vae/config.json", map[string]any{"_class_name": "AutoencoderKL", "norm_num_groups": 4, "scaling_factor": 0.3611, "shift_factor": 0.1159})
	write("transformer/config.json", map[string]any{"_class_name": "ZImageTransformer2DModel", "rope_theta": 256.0, "all_patch_size": []int{2}})
	write("text_encoder/config.json", map[string]any{"architectures": []string{"Qwen3Model"}, "rope_parameters": map[string]any{"rope_theta": 1e6, "rope_type": "default"}})
	for to, from := range map[string]string{"transformer/diffusion_pytorch_model": transformer, "vae/diffusion_pytorch_model": o.VAE, "text_encoder/model": o.LLM} {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, to+".safetensors"), data, 0o644))
	}
	return dir
}

// Parts, one file of them, one with the names of other programs, and a diffusers folder draw the same bits.
func TestZImageLayouts(t *testing.T) {
	path, o := zImageParts(t, Options{})
	r := Request{Prompt: "a fox", Width: 64, Height: 64, Steps: 2, Seed: 1}
	draw := func(path string, o Options) []float32 {
		m, err := Open(path, o)
		require.NoError(t, err)
		defer m.Close()
		require.Equal(t, "linear", conditionsSchedule(t, m, r))
		return latentOf(t, m, r, nil).Data
	}
	want := draw(path, o)
	one := filepath.Join(t.TempDir(), "one.safetensors")
	m, err := convert.Assemble(convert.Components{Model: path, VAE: o.VAE, LLM: o.LLM})
	require.NoError(t, err)
	require.NoError(t, convert.Convert(t.Context(), m, one, convert.Options{Type: dtype.F16, Safetensors: true}))
	require.NoError(t, m.Close())
	require.Equal(t, want, draw(one, Options{}))

	data, err := os.ReadFile(one)
	require.NoError(t, err)
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	rename := strings.NewReplacer("text_encoders.qwen3_4b.transformer.", "text_encoders.llm.", "first_stage_model.", "vae.", "model.diffusion_model.", "diffusion_model.")
	for i := range f.Tensors {
		f.Tensors[i].Name = rename.Replace(f.Tensors[i].Name)
	}
	other := filepath.Join(t.TempDir(), "other.safetensors")
	out, err := os.Create(other)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(out, map[string]string{"sdgo.vae.norm_groups": "4"}, f.Tensors))
	require.NoError(t, out.Close())
	require.Equal(t, want, draw(other, Options{}))
	require.Equal(t, want, draw(zImageFolder(t, o, path, 3), Options{}))

	base, err := Open(zImageFolder(t, o, path, 6), Options{}) // a shift of the base model's, and its steps and guidance
	require.NoError(t, err)
	defer base.Close()
	d, err := base.resolved(Request{Prompt: "a fox"})
	require.NoError(t, err)
	require.Equal(t, 28, d.Steps)
	require.Equal(t, 5.0, d.Guidance)
	require.InDelta(t, 6*0.5/(1+5*0.5), base.Process().TToSigma(500), 1e-12)
}

// conditionsSchedule is the name of the schedule of a request.
func conditionsSchedule(t *testing.T, m *Model, r Request) string {
	d, err := m.resolved(r)
	require.NoError(t, err)
	return d.Schedule.Name
}

// What does not belong together is refused by name.
func TestZImageRefuses(t *testing.T) {
	path, o := zImageParts(t, Options{})
	for _, c := range []struct {
		edit func(o *Options)
		want string
	}{
		{func(o *Options) { o.LLM = "" }, "without its text encoder, Qwen3 4B (--llm FILE): these flags add them"},
		{func(o *Options) { o.LLM, o.VAE = "", "" }, "without its text encoder, Qwen3 4B (--llm FILE) and its autoencoder, FLUX.1's (--vae FILE)"},
		{func(o *Options) { o.LLM = qwenFile(t, "flux2-text.safetensors", 16) }, "Z-Image's text encoder must be a Qwen3 of width 24 (4B), got one of width 16"},
		{func(o *Options) { o.LLM = o.VAE }, "an autoencoder in the diffusers library's layout (4 latent channels); expected a Qwen text encoder"},
		{func(o *Options) { o.T5 = filepath.Join("..", "testdata", "texts", "t5.safetensors") }, "a T5 text encoder: a model of this family has no such component"},
		{func(o *Options) { o.Prediction = "epsilon" }, "prediction: must be left out"},
	} {
		o := o
		c.edit(&o)
		_, err := Open(path, o)
		require.ErrorContains(t, err, c.want)
	}
	_, err := Open(o.LLM, Options{})
	require.ErrorContains(t, err, "a Qwen3 text encoder")

	m := openZImage(t, Options{})
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Prompt: "a", Guidance: Float(0)}, "Guidance: must be 1 for none"},
		{Request{Prompt: "a", ClipSkip: 2}, "ClipSkip: must be 0"},
		{Request{Prompt: strings.Repeat("fox ", 600)}, "at most 512 are supported"},
		{Request{Prompt: "a", Width: 72}, "Width: must be"},
		{Request{Prompt: "a", Controls: []RequestControl{{Name: Reference, Image: image.NewNRGBA(image.Rect(0, 0, 64, 64))}}}, "the model does not look at reference pictures"},
	} {
		_, err := m.Generate(t.Context(), c.r)
		require.ErrorContains(t, err, c.want)
	}
}

// requireDraws draws with all that pictures of a transformer of text share: previews and batches,
// a picture to begin with and a mask, a hires pass. It returns a request of 64x64 pixels and its
// picture.
func requireDraws(t *testing.T, m *Model) (Request, Image) {
	t.Helper()
	begin := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for i := range begin.Pix {
		begin.Pix[i] = byte(i*7) | byte(i%4/3*255)
	}
	mask := image.NewGray(begin.Rect)
	for i := range mask.Pix[:32*64] {
		mask.Pix[i] = 255
	}
	plain := Request{Prompt: "a fox", Width: 64, Height: 64, Steps: 2, Seed: 3}
	both := plain
	both.Count, both.PreviewEvery = 2, 1
	previews := 0
	both.OnEvent = func(e Event) error {
		if e.Stage == StageSample && e.Preview != nil {
			previews++
		}
		return nil
	}
	result, err := m.Generate(t.Context(), both)
	require.NoError(t, err)
	require.Positive(t, previews)
	alone, err := m.Generate(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, alone.Images[0].Image.Pix, result.Images[0].Image.Pix)

	painted := plain
	painted.Image, painted.Mask, painted.Strength = begin, mask, Float(0.5)
	result, err = m.Generate(t.Context(), painted)
	require.NoError(t, err)
	require.Equal(t, begin.Pix[48*64*4:][:64*4], result.Images[0].Image.Pix[48*64*4:][:64*4], "what is not masked stays")
	require.NotEqual(t, begin.Pix[:64*4], result.Images[0].Image.Pix[:64*4])
	large := plain
	large.Hires = []HiresPass{{Scale: 1.5, Strength: Float(0.5)}}
	result, err = m.Generate(t.Context(), large)
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 96, 96), result.Images[0].Image.Rect)
	return plain, alone.Images[0]
}

func TestZImageDraws(t *testing.T) {
	m := openZImage(t, Options{Batch: 2})
	plain, alone := requireDraws(t, m)
	require.Equal(t, "qwen.safetensors", alone.Params.LLM)
	require.Contains(t, text(alone.Params), "LLM: qwen.safetensors")

	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	plain.OnEvent = func(e Event) error {
		if e.Stage == StageSample {
			cancel(stop)
		}
		return nil
	}
	_, err := m.Generate(ctx, plain)
	require.ErrorIs(t, err, stop)
}
