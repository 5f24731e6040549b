package sd

import (
	"encoding/json"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/transformer"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/tensor"
)

// qwenImageParts are the files of the tiny Qwen-Image.
func qwenImageParts(t *testing.T, o Options) (string, Options) {
	o.LLM, o.VAE = qwenFile(t, "qwenimage-text.safetensors", 128), filepath.Join(transformersFolder, "qwenimage-vae.safetensors")
	return filepath.Join(transformersFolder, "qwenimage.safetensors"), o
}

func openQwenImage(t *testing.T, o Options) *Model {
	t.Helper()
	path, o := qwenImageParts(t, o)
	return openFile(t, path, o)
}

func qwenImageRequest(ref reference, scale float64) Request {
	return Request{Prompt: ref.file.Metadata["prompt"], NegativePrompt: ref.file.Metadata["negative"], Width: 112, Height: 64, Steps: 4, Guidance: Float(scale), Seed: 42}
}

// Texts without the template's first tokens, every step and the pixels, without guidance and with that which keeps the length of
// tokens; the transformer alone on pictures of an odd number of rows and columns, at two times; the autoencoder's other half.
func TestQwenImageAgreesStepByStep(t *testing.T) {
	ref := readReference(t, transformersFolder, "qwenimage-reference.safetensors")
	path, o := qwenImageParts(t, Options{Type: "f32"})
	for _, kernels := range []string{"", "generic", "ggml"} {
		o.Kernels = kernels
		m, err := Open(path, o)
		require.NoError(t, err)
		e := conditionsOf(t, m, qwenImageRequest(ref, 1)).Cond.Inputs[0]
		want := ref.f32("context")
		require.Equal(t, []int{len(want) / 128, 128}, e.Shape)
		requireClose(t, e.Data, want, 1e-4, "context "+kernels)
		for name, scale := range map[string]float64{"plain": 1, "guided": 3} {
			latent := latentOf(t, m, qwenImageRequest(ref, scale), func(s sampler.Step) error {
				requireClose(t, s.X, ref.f32(fmt.Sprintf("%s.latent.%d", name, s.Index)), 1e-4, fmt.Sprintf("%s %s step %d", kernels, name, s.Index))
				return nil
			})
			pixels, err := m.pipeline.Autoencoder.Decode(t.Context(), latent, tensor.NoProgress)
			require.NoError(t, err)
			requirePixels(t, pixels.Image(), ref.tensor(name+".pixels", "U8").Data, 1)
		}
		requireClose(t, velocities(t, m, ref, "net"), ref.f32("net.sample"), 1e-4, "the transformer "+kernels)
		picture := tensor.New(3, 64, 96)
		for y := range 64 {
			for x := range 96 {
				for c, v := range []int{x * 5 % 256, y * 3 % 256, x * y % 256} {
					picture.Data[(c*64+y)*96+x] = 2*float32(v)/255 - 1
				}
			}
		}
		mean, logVariance, err := m.kl().Moments(t.Context(), picture)
		require.NoError(t, err)
		requireClose(t, mean.Data, ref.f32("encoded.mean"), 1e-4, "mean "+kernels)
		for i, v := range logVariance.Data {
			logVariance.Data[i] = float32(math.Exp(0.5 * float64(v)))
		}
		requireClose(t, logVariance.Data, ref.f32("encoded.deviation"), 1e-4, "deviation "+kernels)
		require.NoError(t, m.Close())
	}
}

// velocities is what the denoiser makes of a reference's latents, contexts and noise levels.
func velocities(t *testing.T, m *Model, ref reference, name string) []float32 {
	t.Helper()
	x, context := ref.tensor(name+".x", "F32"), ref.tensor(name+".context", "F32")
	n, size := int(x.Shape[0]), int(x.Shape[1]*x.Shape[2]*x.Shape[3])
	var times []float32
	for _, v := range ref.f32(name + ".sigmas") {
		times = append(times, 1000*v)
	}
	data, shape := ref.f32(name+".context"), []int{int(context.Shape[1]), int(context.Shape[2])}
	var all []pipeline.Condition
	for i := range n {
		all = append(all, pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: shape, Data: data[i*shape[0]*shape[1]:][:shape[0]*shape[1]]}}})
	}
	d := m.pipeline.Denoiser
	out := make([]float32, n*size)
	in := d.Inputs([]int{int(x.Shape[1]), int(x.Shape[2]), int(x.Shape[3])}, ref.f32(name+".x"), times, all)
	require.NoError(t, d.Network().Run(t.Context(), in, []cgo.Output{{Name: "sample", Data: out}}, nil))
	return out
}

// The noise levels of the pipeline for several sizes of pictures, whose last one is 0.02; and those of other programs, by name.
func TestQwenImageLevelsAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, transformersFolder, "qwenimage-reference.safetensors")
	m := openQwenImage(t, Options{})
	flow := m.host().Weights.Config.(*convert.QwenImageConfig).Flow
	require.Equal(t, convert.Flow{Shift: 1, Dynamic: &convert.DynamicShift{BaseShift: 0.5, MaxShift: 0.9, BaseTokens: 256, MaxTokens: 8192}, Terminal: 0.02}, flow)
	for _, n := range []int{2, 4, 8, 50} {
		for _, tokens := range []int{28, 1024, 4096, 6889} {
			got, err := sampler.Linear(transformer.Process(flow, tokens), n)
			require.NoError(t, err)
			for i, w := range ref.f32(fmt.Sprintf("levels.%d.%d", n, tokens)) {
				require.InDelta(t, w, got[i], 1e-6)
			}
			require.InDelta(t, 0.02, got[n-1], 1e-6)
		}
	}
	one, err := sampler.Linear(transformer.Process(flow, 4096), 1) // the library divides by zero
	require.NoError(t, err)
	require.Equal(t, sampler.Sigmas{1, 0}, one)
	for name, want := range map[string][]float64{
		"qwen_image_comfyui": {1, 3.1 * 0.75 / (1 + 2.1*0.75), 3.1 * 0.5 / (1 + 2.1*0.5), 3.1 * 0.25 / (1 + 2.1*0.25), 0},
		"qwen_image_sdcpp":   {1, 3 * 0.667 / (1 + 2*0.667), 3 * 0.334 / (1 + 2*0.334), 3 * 0.001 / (1 + 2*0.001), 0},
	} {
		s, err := sampler.LookupSchedule(name)
		require.NoError(t, err)
		got, err := s.Sigmas(transformer.Process(flow, 4096), 4)
		require.NoError(t, err)
		for i, w := range want {
			require.InDelta(t, w, got[i], 1e-6, name)
		}
	}
	d, err := m.resolved(Request{Prompt: "a fox"})
	require.NoError(t, err)
	require.Equal(t, []any{50, 4.0, "cfg_norm", "linear", 1024}, []any{d.Steps, d.Guidance, d.Guider, d.Schedule.Name, d.Width})
}

// qwenImageFolder puts the tiny parts into a folder of the diffusers library's.
func qwenImageFolder(t *testing.T, o Options, transformer, class string) string {
	dir := t.TempDir()
	write := func(name string, v any) {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	write("model_index.json", map[string]any{"_class_name": class, "transformer": []string{"diffusers", "QwenImageTransformer2DModel"},
		"vae": []string{"diffusers", "AutoencoderKLQwenImage"}, "text_encoder": []string{"transformers", "Qwen2_5_VLForConditionalGeneration"},
		"scheduler": []string{"diffusers", "FlowMatchEulerDiscreteScheduler"}})
	write("scheduler/scheduler_config.json", map[string]any{"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": true,
		"base_shift": 0.5, "max_shift": 0.9, "base_image_seq_len": 256, "max_image_seq_len": 8192, "shift_terminal": 0.02, "time_shift_type": "exponential"})
	vae, err := os.ReadFile(o.VAE)
	require.NoError(t, err)
	f, err := safetensors.Parse(vae)
	require.NoError(t, err)
	numbers := func(key string) (all []float64) {
		for _, word := range strings.Fields(f.Metadata[key]) {
			v, err := strconv.ParseFloat(word, 64)
			require.NoError(t, err)
			all = append(all, v)
		}
		return all
	}
	write("vae/config.json", map[string]any{"_class_name": "AutoencoderKLQwenImage", "base_dim": 8, "z_dim": 4, "temperal_downsample": []bool{false, true, true}, "attn_scales": []int{},
		"latents_mean": numbers("sdgo.vae.latents_mean"), "latents_std": numbers("sdgo.vae.latents_std")})
	write("transformer/config.json", map[string]any{"_class_name": "QwenImageTransformer2DModel", "patch_size": 2, "guidance_embeds": false, "axes_dims_rope": []int{4, 14, 14}})
	write("text_encoder/config.json", map[string]any{"architectures": []string{"Qwen2_5_VLForConditionalGeneration"}, "hidden_size": 128, "num_attention_heads": 1, "rope_theta": 1e6,
		"rms_norm_eps": 1e-6, "rope_scaling": map[string]any{"type": "mrope", "mrope_section": []int{16, 24, 24}}})
	for to, from := range map[string]string{"transformer/diffusion_pytorch_model": transformer, "vae/diffusion_pytorch_model": o.VAE, "text_encoder/model": o.LLM} {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, to+".safetensors"), data, 0o644))
	}
	return dir
}

// renamedFile writes a file's tensors with other names.
func renamedFile(t *testing.T, from string, rename func(string) string) string {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	for i := range f.Tensors {
		f.Tensors[i].Name = rename(f.Tensors[i].Name)
	}
	path := filepath.Join(t.TempDir(), "renamed.safetensors")
	out, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(out, f.Metadata, f.Tensors))
	require.NoError(t, out.Close())
	return path
}

// wanName is what Wan's authors, ComfyUI and stable-diffusion.cpp call a tensor of the autoencoder.
func wanName(name string) string {
	for _, r := range [][2]string{
		{`^decoder\.up_blocks\.(\d)\.resnets\.(\d)`, "decoder.upsamples.@$1+$2@"}, {`^decoder\.up_blocks\.(\d)\.upsamplers\.0`, "decoder.upsamples.@$1+2@"}, {`^encoder\.down_blocks`, "encoder.downsamples"},
		{`mid_block\.resnets\.0`, "middle.0"}, {`mid_block\.attentions\.0`, "middle.1"}, {`mid_block\.resnets\.1`, "middle.2"}, {`norm1\.gamma`, "residual.0.gamma"},
		{`\.conv1\.(weight|bias)$`, ".residual.2.$1"}, {`norm2\.gamma`, "residual.3.gamma"}, {`\.conv2\.(weight|bias)$`, ".residual.6.$1"}, {"conv_shortcut", "shortcut"},
		{`coder\.conv_in`, "coder.conv1"}, {`norm_out\.gamma`, "head.0.gamma"}, {"conv_out", "head.2"}, {"^quant_conv", "conv1"}, {"^post_quant_conv", "conv2"},
	} {
		name = regexp.MustCompile(r[0]).ReplaceAllString(name, r[1])
	}
	if before, rest, ok := strings.Cut(name, "@"); ok { // three layers a level: two blocks and what enlarges
		sum, after, _ := strings.Cut(rest, "@")
		return fmt.Sprintf("%s%d%s", before, 3*(sum[0]-'0')+sum[2]-'0', after)
	}
	return name
}

// Parts, with the autoencoder's names of both programs; one file of them, as safetensors and GGUF, one with the names of other
// programs, and a diffusers folder draw the same bits.
func TestQwenImageLayouts(t *testing.T) {
	path, o := qwenImageParts(t, Options{})
	r := Request{Prompt: "a fox", Width: 64, Height: 64, Steps: 2, Seed: 1}
	draw := func(path string, o Options) []byte {
		m, err := Open(path, o)
		require.NoError(t, err)
		defer m.Close()
		result, err := m.Generate(t.Context(), r)
		require.NoError(t, err)
		return result.Images[0].Image.Pix
	}
	want := draw(path, o)
	wan := o
	wan.VAE = renamedFile(t, o.VAE, wanName)
	require.Equal(t, want, draw(path, wan))
	for _, out := range []struct {
		name    string
		options convert.Options
	}{{"one.safetensors", convert.Options{Type: dtype.F16, Safetensors: true}}, {"one.gguf", convert.Options{Type: dtype.F16}}} {
		one := filepath.Join(t.TempDir(), out.name)
		m, err := convert.Assemble(convert.Components{Model: path, VAE: wan.VAE, LLM: o.LLM})
		require.NoError(t, err)
		require.NoError(t, convert.Convert(t.Context(), m, one, out.options))
		require.NoError(t, m.Close())
		require.Equal(t, want, draw(one, Options{}), out.name)
		if out.options.Safetensors {
			require.Equal(t, want, draw(renamedFile(t, one, strings.NewReplacer("text_encoders.qwen25_7b.transformer.", "text_encoders.llm.", "first_stage_model.", "vae.").Replace), Options{}))
		}
	}
	alone := renamedFile(t, path, func(name string) string { return "model.diffusion_model." + name })
	require.Equal(t, want, draw(alone, o), "ComfyUI's names")
	require.Equal(t, want, draw(qwenImageFolder(t, o, path, "QwenImagePipeline"), Options{}))
}

// What does not belong together is refused by name.
func TestQwenImageRefuses(t *testing.T) {
	path, o := qwenImageParts(t, Options{})
	for _, c := range []struct {
		path string
		edit func(o *Options)
		want string
	}{
		{path, func(o *Options) { o.LLM = "" }, "without its text encoder, Qwen2.5-VL 7B (--llm FILE): these flags add them"},
		{path, func(o *Options) { o.LLM, o.VAE = "", "" }, "without its text encoder, Qwen2.5-VL 7B (--llm FILE) and its autoencoder (--vae FILE)"},
		{path, func(o *Options) { o.LLM = qwenFile(t, "flux2-text.safetensors", 16) }, "Qwen-Image's text encoder must be a Qwen2.5-VL of width 128 (7B), got a Qwen3 of width 16"},
		{path, func(o *Options) { o.VAE = filepath.Join(transformersFolder, "zimage-vae.safetensors") }, "the autoencoder must be Qwen-Image's, which is Wan 2.1's, got one of latent diffusion"},
		{path, func(o *Options) { o.T5 = filepath.Join("..", "testdata", "texts", "t5.safetensors") }, "a T5 text encoder: a model of this family has no such component"},
		{path, func(o *Options) { o.Prediction = "epsilon" }, "prediction: must be left out"},
		{filepath.Join(transformersFolder, "zimage.safetensors"), func(o *Options) { o.LLM = "" }, "the autoencoder must be one of latent diffusion, got Wan 2.1's or Qwen-Image's"},
		{renamedFile(t, path, func(name string) string {
			return strings.Replace(name, "time_text_embed.timestep_embedder.linear_1.bias", "time_text_embed.addition_t_embedding.weight", 1)
		}), func(*Options) {}, "Qwen-Image-Layered, which draws layers, is not supported"},
	} {
		o := o
		c.edit(&o)
		_, err := Open(c.path, o)
		require.ErrorContains(t, err, c.want)
	}
	_, err := Open(qwenImageFolder(t, o, path, "QwenImageLayeredPipeline"), Options{})
	require.ErrorContains(t, err, "_class_name: QwenImageLayeredPipeline, which draws layers, is not supported")

	for _, class := range []string{"QwenImageEditPipeline", "QwenImageEditPlusPipeline"} {
		_, err = Open(qwenImageFolder(t, o, path, class), Options{})
		require.ErrorContains(t, err, "Qwen-Image without the vision tower of its text encoder (visual.* in --llm FILE, or --llm-vision FILE, which llama.cpp calls mmproj)")
	}

	m := openQwenImage(t, Options{})
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Prompt: "a", ClipSkip: 2}, "ClipSkip: must be 0"},
		{Request{Prompt: strings.Repeat("fox ", 1100)}, "at most 1058 are supported"},
		{Request{Prompt: "a", Width: 72}, "Width: must be"},
		{Request{Prompt: "a", Refiner: "x"}, "only Stable Diffusion XL has one"},
		{Request{Prompt: "a", Controls: []RequestControl{{Name: Reference, Image: image.NewNRGBA(image.Rect(0, 0, 64, 64))}}}, "reference pictures are looked at by the text encoder, too, and the file lacks the vision tower of its text encoder (visual.* in --llm FILE"},
	} {
		_, err := m.Generate(t.Context(), c.r)
		require.ErrorContains(t, err, c.want)
	}
}

func TestQwenImageDraws(t *testing.T) {
	m := openQwenImage(t, Options{Batch: 2})
	plain, alone := requireDraws(t, m)
	require.Equal(t, "cfg_norm", alone.Params.Guider)
	plain.Guider = "cfg"
	other, err := m.Generate(t.Context(), plain)
	require.NoError(t, err)
	require.NotEqual(t, alone.Image.Pix, other.Images[0].Image.Pix)
}

// A LoRA in the diffusers library's, PEFT's, ComfyUI's and kohya's names.
func TestQwenImageLoRA(t *testing.T) {
	ref := readReference(t, transformersFolder, "qwenimage-reference.safetensors")
	m := openQwenImage(t, Options{Type: "f32"})
	for scheme, rename := range map[string]func(string) string{
		"diffusers": func(name string) string { return name },
		"peft":      func(name string) string { return "base_model.model." + strings.TrimPrefix(name, "transformer.") },
		"comfyui":   func(name string) string { return "diffusion_model." + strings.TrimPrefix(name, "transformer.") },
		"kohya": func(name string) string {
			layer, factor, _ := strings.Cut(strings.TrimPrefix(name, "transformer."), ".lora_")
			return "lora_unet_" + strings.ReplaceAll(layer, ".", "_") + map[string]string{"A.weight": ".lora_down.weight", "B.weight": ".lora_up.weight"}[factor]
		},
	} {
		path := filepath.Join(t.TempDir(), scheme+".safetensors")
		require.NoError(t, os.Rename(renamedFile(t, filepath.Join(transformersFolder, "qwenimage-lora.safetensors"), rename), path))
		a, err := OpenAdapter(path)
		require.NoError(t, err)
		t.Cleanup(func() { a.Close() })
		r := qwenImageRequest(ref, 1)
		r.Prompt += "<lora:" + attach(t, m, a) + ":0.75>"
		requireClose(t, latentOf(t, m, r, nil).Data, ref.f32("lora.latent"), 1e-4, scheme)
	}
}
