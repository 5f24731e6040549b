package sd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/family/transformer"
	"github.com/sdgo/sdgo/sd/tensor"
)

const transformersFolder = "../testdata/transformers"

// qwenFile writes the text encoder of a fixture with its table of embeddings, which testdata/transformers/tiny.py computes
// in the same way.
func qwenFile(t *testing.T, from string, width int) string {
	t.Helper()
	const rows = 151680
	data, err := os.ReadFile(filepath.Join(transformersFolder, from))
	require.NoError(t, err)
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	values := make([]float32, rows*width)
	for i := range rows {
		for j := range width {
			values[i*width+j] = float32((i*7919+j*104729)%2048-1024) / 512
		}
	}
	table := make([]byte, 2*len(values))
	require.NoError(t, dtype.Encode(dtype.F16, table, values))
	f.Tensors = append(f.Tensors, safetensors.Tensor{Name: "model.embed_tokens.weight", DType: "F16", Shape: []int64{rows, int64(width)}, Data: table})
	path := filepath.Join(t.TempDir(), "qwen.safetensors")
	out, err := os.Create(path)
	require.NoError(t, err)
	defer out.Close()
	require.NoError(t, safetensors.Write(out, nil, f.Tensors))
	return path
}

// zImageParts are the files of the tiny Z-Image.
func zImageParts(t *testing.T, o Options) (string, Options) {
	o.LLM, o.VAE = qwenFile(t, "zimage-text.safetensors", 24), filepath.Join(transformersFolder, "zimage-vae.safetensors")
	return filepath.Join(transformersFolder, "zimage.safetensors"), o
}

func openZImage(t *testing.T, o Options) *Model {
	t.Helper()
	path, o := zImageParts(t, o)
	return openFile(t, path, o)
}

// zImageRequest is what the reference pipeline was run with. Its guidance_scale is one less than what is
// called the guidance scale here and elsewhere: 0 is none.
func zImageRequest(ref reference, scale float64) Request {
	return Request{Prompt: ref.file.Metadata["prompt"], NegativePrompt: ref.file.Metadata["negative"], Width: 96, Height: 64, Steps: 4,
		Guidance: Float(scale + 1), Seed: 42}
}

// Texts, every step and the pixels, with and without guidance.
func TestZImageAgreesStepByStep(t *testing.T) {
	ref := readReference(t, transformersFolder, "zimage-reference.safetensors")
	path, o := zImageParts(t, Options{Type: "f32"})
	for _, kernels := range []string{"", "generic", "ggml"} {
		o.Kernels = kernels
		m, err := Open(path, o)
		require.NoError(t, err)
		e := conditionsOf(t, m, zImageRequest(ref, 0)).Cond.Inputs[0]
		require.Equal(t, []int{len(ref.i32("ids")), 24}, e.Shape)
		requireClose(t, e.Data, ref.f32("context"), 1e-4, "context "+kernels)
		for name, scale := range map[string]float64{"turbo": 0, "guided": 2} {
			latent := latentOf(t, m, zImageRequest(ref, scale), func(s sampler.Step) error {
				requireClose(t, s.X, ref.f32(fmt.Sprintf("%s.latent.%d", name, s.Index)), 1e-4, fmt.Sprintf("%s %s step %d", kernels, name, s.Index))
				return nil
			})
			pixels, err := m.pipeline.Autoencoder.Decode(t.Context(), latent, tensor.NoProgress)
			require.NoError(t, err)
			requirePixels(t, pixels.Image(), ref.tensor(name+".pixels", "U8").Data, 1)
		}
		require.NoError(t, m.Close())
	}
}

// The noise levels of pipelines of flow matching, with shifts of both kinds, and of a scheduler that is asked for none.
func TestFlowLevelsAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, transformersFolder, "zimage-reference.safetensors")
	for _, n := range []int{1, 4, 28} {
		near := func(name, schedule string, p *sampler.Process) {
			s, err := sampler.LookupSchedule(schedule)
			require.NoError(t, err)
			got, err := s.Sigmas(p, n)
			require.NoError(t, err)
			want := ref.f32(name)
			require.Len(t, got, len(want))
			for i, w := range want {
				require.InDelta(t, w, got[i], 1e-6, "%s level %d", name, i)
			}
		}
		for _, tokens := range []int{24, 1024, 4096} {
			near(fmt.Sprintf("static.%d.%d", n, tokens), "linear", transformer.Process(convert.Flow{Shift: 6}, tokens))
			dynamic := &convert.DynamicShift{BaseShift: 0.5, MaxShift: 1.15, BaseTokens: 256, MaxTokens: 4096}
			near(fmt.Sprintf("dynamic.%d.%d", n, tokens), "linear", transformer.Process(convert.Flow{Shift: 1, Dynamic: dynamic}, tokens))
		}
		near(fmt.Sprintf("own.%d", n), "discrete", sampler.Flow(3))
	}
}

// A LoRA in the diffusers library's names, whose layers are pieces of the model's, as peft applies it; and the same under
// kohya's, ComfyUI's and PEFT's names, and merged into the weights.
func TestZImageLoRA(t *testing.T) {
	ref := readReference(t, transformersFolder, "zimage-reference.safetensors")
	m := openZImage(t, Options{Type: "f32"})
	data, err := os.ReadFile(filepath.Join(transformersFolder, "zimage-lora.safetensors"))
	require.NoError(t, err)
	for scheme, rename := range map[string]func(string) string{
		"diffusers": func(name string) string { return name },
		"peft":      func(name string) string { return "base_model.model." + strings.TrimPrefix(name, "transformer.") },
		"comfyui":   func(name string) string { return "diffusion_model." + strings.TrimPrefix(name, "transformer.") },
		"kohya": func(name string) string {
			layer, factor, _ := strings.Cut(strings.TrimPrefix(name, "transformer."), ".lora_")
			return "lora_unet_" + strings.ReplaceAll(layer, ".", "_") + map[string]string{"A.weight": ".lora_down.weight", "B.weight": ".lora_up.weight"}[factor]
		},
	} {
		f, err := safetensors.Parse(data)
		require.NoError(t, err)
		for i := range f.Tensors {
			f.Tensors[i].Name = rename(f.Tensors[i].Name)
		}
		path := filepath.Join(t.TempDir(), scheme+".safetensors")
		out, err := os.Create(path)
		require.NoError(t, err)
		require.NoError(t, safetensors.Write(out, nil, f.Tensors))
		require.NoError(t, out.Close())
		a, err := OpenAdapter(path)
		require.NoError(t, err)
		t.Cleanup(func() { a.Close() })
		r := zImageRequest(ref, 0)
		r.Prompt += "<lora:" + attach(t, m, a) + ":0.75>"
		requireClose(t, latentOf(t, m, r, nil).Data, ref.f32("lora.latent"), 1e-4, scheme)
	}
}
