package sd

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	imagedraw "image/draw"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
)

const fluxFolder = "../testdata/flux"

// fluxRequest is what testdata/flux/make.py draws.
func fluxRequest(guidance float64) Request {
	return Request{Prompt: "a red apple on a table", NegativePrompt: "blurry", Width: 48, Height: 32, Steps: 4, Seed: 42, Guidance: &guidance}
}

// FLUX.1 with guidance as an input, Chroma and Stable Diffusion 3.5 with and without T5: prompts, noise levels, latents and pixels are those of the
// diffusers library's pipelines.
func TestTransformersDrawAsDiffusers(t *testing.T) {
	ref := readReference(t, fluxFolder, "reference.safetensors")
	for _, kernels := range []string{"", "ggml"} {
		o := Options{Type: "f32", Kernels: kernels}
		flux := openTiny(t, "../flux/flux", o)
		q := fluxRequest(3.5)
		c := conditionsOf(t, flux, q)
		requireClose(t, c.Cond.Inputs[0].Data, ref.f32("flux.context"), 1e-5, "context")
		requireClose(t, c.Cond.Inputs[1].Data, ref.f32("flux.pooled"), 1e-5, "pooled")
		requireClose(t, latentOf(t, flux, q, nil).Data, ref.f32("flux.latent"), 1e-4, "flux "+kernels)

		requireClose(t, latentOf(t, openTiny(t, "../flux/chroma", o), fluxRequest(4), nil).Data, ref.f32("chroma.latent"), 1e-4, "chroma "+kernels)

		sd3 := openTiny(t, "../flux/sd35", o)
		c = conditionsOf(t, sd3, fluxRequest(4.5))
		requireClose(t, c.Cond.Inputs[0].Data, ref.f32("sd35.context"), 1e-5, "context")
		requireClose(t, c.Cond.Inputs[1].Data, ref.f32("sd35.pooled"), 1e-5, "pooled")
		requireClose(t, c.Uncond.Inputs[0].Data, ref.f32("sd35.negative"), 1e-5, "negative")
		requireClose(t, latentOf(t, sd3, fluxRequest(4.5), nil).Data, ref.f32("sd35.latent"), 1e-4, "sd35 "+kernels)
	}
}

// The noise levels of the default schedules are the diffusers library's, of a picture's size and the steps.
func TestTransformersSigmas(t *testing.T) {
	ref := readReference(t, fluxFolder, "reference.safetensors")
	for name, schedule := range map[string]string{"flux": "linear", "sd35": "discrete"} {
		m := openTiny(t, filepath.Join("../flux", name), Options{})
		require.Equal(t, schedule, m.pipeline.Defaults.Schedule)
		d, err := m.pipeline.Resolve(fluxRequest(4), m.others())
		require.NoError(t, err)
		process := m.Process()
		if m.pipeline.ProcessFor != nil {
			process = m.pipeline.ProcessFor(&d.Resolved)
		}
		s, err := d.Schedule.Sigmas(process, 4)
		require.NoError(t, err)
		require.InDeltaSlice(t, ref.f32(name+".sigmas"), toFloat32(s), 1e-6, name)
	}
}

func toFloat32(s sampler.Sigmas) []float32 {
	out := make([]float32, len(s))
	for i, v := range s {
		out[i] = float32(v)
	}
	return out
}

// linked is a copy of a tiny model's folder without some of its folders, whose model_index.json has other fields.
func linked(t *testing.T, name string, without []string, fields map[string]any) string {
	from, err := filepath.Abs(filepath.Join(fluxFolder, name))
	require.NoError(t, err)
	to := t.TempDir()
	entries, err := os.ReadDir(from)
	require.NoError(t, err)
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(without, e.Name()) {
			require.NoError(t, os.Symlink(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())))
		}
	}
	text, err := os.ReadFile(filepath.Join(from, "model_index.json"))
	require.NoError(t, err)
	index := map[string]any{}
	require.NoError(t, json.Unmarshal(text, &index))
	maps.Copy(index, fields)
	text, err = json.Marshal(index)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(to, "model_index.json"), text, 0o666))
	return to
}

func openAt(t *testing.T, path string, o Options) *Model {
	m, err := Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// Fill, Kontext, which its folder tells from dev, and Stable Diffusion 3.5 without T5.
func TestTransformersVariantsDrawAsDiffusers(t *testing.T) {
	ref := readReference(t, fluxFolder, "reference.safetensors")
	picture := image.NewNRGBA(image.Rect(0, 0, 48, 32))
	for i, v := range ref.tensor("picture", "U8").Data {
		picture.Pix[i/3*4+i%3], picture.Pix[i/3*4+3] = v, 255
	}
	mask := image.NewGray(picture.Rect)
	imagedraw.Draw(mask, image.Rect(24, 0, 48, 32), image.White, image.Point{}, imagedraw.Src)

	folder := linked(t, "flux", []string{"transformer"}, map[string]any{"_class_name": "FluxFillPipeline"})
	require.NoError(t, os.Mkdir(filepath.Join(folder, "transformer"), 0o777))
	file, err := filepath.Abs(filepath.Join(fluxFolder, "fill.safetensors"))
	require.NoError(t, err)
	require.NoError(t, os.Symlink(file, filepath.Join(folder, "transformer", "diffusion_pytorch_model.safetensors")))
	fill := openAt(t, folder, Options{Type: "f32"})
	q, all := fluxRequest(30), 1.0
	_, err = fill.resolved(q)
	require.ErrorContains(t, err, "the model is made for filling holes: it needs a picture and a mask")
	q.Image, q.Mask, q.Strength = picture, mask, &all
	requireClose(t, latentOf(t, fill, q, nil).Data, ref.f32("fill.latent"), 1e-4, "fill")

	kontext := openAt(t, linked(t, "flux", nil, map[string]any{"_class_name": "FluxKontextPipeline"}), Options{Type: "f32"})
	require.Contains(t, kontext.host().Weights.Description, "FLUX.1 Kontext")
	q = fluxRequest(2.5)
	q.Image = picture
	requireClose(t, latentOf(t, kontext, q, nil).Data, ref.f32("kontext.latent"), 1e-4, "kontext")
	flux := openTiny(t, "../flux/flux", Options{Type: "f32"})
	q.Image, q.Controls = nil, []request.Control{{Name: "reference", Image: picture}} // of dev, too
	requireClose(t, latentOf(t, flux, q, nil).Data, ref.f32("kontext.latent"), 1e-4, "reference")
	q.Controls = append(q.Controls, q.Controls[0])
	_, err = flux.resolved(q)
	require.ErrorContains(t, err, "the model sees one reference picture, got 2")
	q.Controls = nil // without a picture it is like dev
	plain := latentOf(t, kontext, q, nil)
	require.Equal(t, latentOf(t, flux, q, nil).Data, plain.Data)

	nothing := []any{nil, nil}
	sd3 := openAt(t, linked(t, "sd35", []string{"text_encoder_3", "tokenizer_3"}, map[string]any{"text_encoder_3": nothing, "tokenizer_3": nothing}), Options{Type: "f32"})
	requireClose(t, latentOf(t, sd3, fluxRequest(4.5), nil).Data, ref.f32("sd35.without.latent"), 1e-4, "without T5")
}

// Files of one network each, put together while drawing, are the folder's model.
func TestTransformersOfParts(t *testing.T) {
	whole := filepath.Join(fluxFolder, "chroma")
	parts := openAt(t, filepath.Join(whole, "transformer", "diffusion_pytorch_model.safetensors"), Options{VAE: filepath.Join(whole, "vae"),
		T5: filepath.Join(whole, "text_encoder", "model.safetensors"), T5Tokenizer: filepath.Join(whole, "tokenizer", "tokenizer.json")})
	require.Equal(t, latentOf(t, openTiny(t, "../flux/chroma", Options{}), fluxRequest(3), nil).Data, latentOf(t, parts, fluxRequest(3), nil).Data)
}

// One file that is made of a folder draws the same, to the bit: in both formats it has T5's vocabulary, the shifts, and what
// no shape tells.
func TestTransformersOfFilesDrawAsOfFolders(t *testing.T) {
	for _, name := range []string{"flux", "chroma", "sd35"} {
		want := latentOf(t, openTiny(t, "../flux/"+name, Options{}), fluxRequest(3), nil)
		m, err := convert.Load(filepath.Join(fluxFolder, name))
		require.NoError(t, err)
		for _, file := range []string{"x.safetensors", "x.gguf"} {
			path := filepath.Join(t.TempDir(), file)
			require.NoError(t, convert.Convert(t.Context(), m, path, convert.Options{Keep: true, Safetensors: filepath.Ext(file) == ".safetensors"}))
			require.Equal(t, want.Data, latentOf(t, openAt(t, path, Options{}), fluxRequest(3), nil).Data, name+" "+file)
		}
		require.NoError(t, m.Close())
	}
}

// What is missing is named with the flag that adds it; texts that T5 does not see whole, and sizes without positions, are refused.
func TestTransformersRefuse(t *testing.T) {
	_, err := Open(filepath.Join(fluxFolder, "fill.safetensors"), Options{})
	require.ErrorContains(t, err, "without its text encoder T5 (--t5xxl FILE) and its text encoder CLIP-L (--clip-l FILE) and its autoencoder (--vae FILE)")
	_, err = Open(linked(t, "flux", []string{"tokenizer_2"}, nil), Options{})
	require.ErrorContains(t, err, "there is no vocabulary of T5 beside the model: give its tokenizer.json or spiece.model (--t5-tokenizer FILE)")
	_, err = Open("../testdata/nets/sd1.safetensors", Options{T5Tokenizer: filepath.Join(fluxFolder, "flux", "tokenizer_2", "tokenizer.json")})
	require.ErrorContains(t, err, "a model of this family has no T5, whose vocabulary this is")
	m := openTiny(t, "../flux/sd35", Options{})
	q := fluxRequest(4)
	q.Prompt = strings.Repeat("apple ", 200)
	_, err = m.resolved(q)
	require.ErrorContains(t, err, "tokens of T5, of which the model sees no more; at most 256 are supported")
	q = fluxRequest(4)
	q.Width = 68
	_, err = m.resolved(q)
	require.ErrorContains(t, err, "must be at most 64, got 68x32: the model has no positions beyond")
	flux := openTiny(t, "../flux/flux", Options{})
	q = fluxRequest(4)
	q.Width, q.ClipSkip, q.Refiner = 50, 2, "x"
	_, err = flux.resolved(q)
	require.ErrorContains(t, err, "multiple of 4")
	require.ErrorContains(t, err, "ClipSkip")
	require.ErrorContains(t, err, "only Stable Diffusion XL has one")
}

func drawAll(t *testing.T, m *Model, q Request) (all []*image.NRGBA) {
	r, err := m.Generate(t.Context(), q)
	require.NoError(t, err)
	for _, i := range r.Images {
		all = append(all, i.Image)
	}
	return all
}

// What the loop does with all families: pictures to begin with, masks, hires passes, batches, weights of words, cancelling.
func TestTransformersDrawOtherwise(t *testing.T) {
	m := openTiny(t, "../flux/chroma", Options{Batch: 2})
	q := fluxRequest(3)
	q.Steps, q.Count = 2, 2
	two := drawAll(t, m, q)
	require.Len(t, two, 2)
	q.Count, q.Seed = 1, 43
	require.True(t, bytes.Equal(two[1].Pix, drawAll(t, m, q)[0].Pix), "a picture alone and in a batch")

	little := 0.25
	q.Steps, q.Image, q.Strength = 4, two[0], &little
	begun := drawAll(t, m, q)[0]
	q.Image = two[1]
	require.False(t, bytes.Equal(begun.Pix, drawAll(t, m, q)[0].Pix), "what begins with another picture is another one")
	q.Image = two[0]
	mask := image.NewGray(two[0].Rect)
	imagedraw.Draw(mask, image.Rect(24, 0, 48, 32), image.White, image.Point{}, imagedraw.Src)
	q.Mask = mask
	painted := drawAll(t, m, q)[0]
	require.Equal(t, two[0].NRGBAAt(3, 3), painted.NRGBAAt(3, 3))
	require.NotEqual(t, two[0].NRGBAAt(40, 20), painted.NRGBAAt(40, 20))

	q = fluxRequest(3)
	q.Steps, q.Hires = 2, []HiresPass{{Scale: 2, Upscaler: "latent"}}
	require.Equal(t, image.Rect(0, 0, 96, 64), drawAll(t, m, q)[0].Rect)

	a := conditionsOf(t, m, Request{Prompt: "red (table:1.5)"}).Cond.Inputs[0]
	b := conditionsOf(t, m, Request{Prompt: "red table"}).Cond.Inputs[0]
	require.Equal(t, b.Shape, a.Shape)
	require.NotEqual(t, b.Data, a.Data)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.Generate(ctx, fluxRequest(3))
	require.ErrorIs(t, err, context.Canceled)
}

// A LoRA of queries, keys and values has the same effect under kohya's names, of the layer as the model has it, and under
// the diffusers library's, of its pieces.
func TestTransformersTakeLoRAs(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	numbers := func(n int) []byte {
		x, data := make([]float32, n), make([]byte, 4*n)
		for i := range x {
			x[i] = float32(r.NormFloat64() / 8)
		}
		require.NoError(t, dtype.Encode(dtype.F32, data, x))
		return data
	}
	const width, rank = 64, 4
	down, up := numbers(rank*width), numbers(3*width*rank)
	for file, layers := range map[string][2]string{
		"flux":   {"double_blocks_0_img_attn_qkv", "transformer_blocks.0.attn.to_"},
		"chroma": {"double_blocks_0_txt_attn_qkv", "transformer_blocks.0.attn.add_"},
		"sd35":   {"joint_blocks_0_x_block_attn2_qkv", "transformer_blocks.0.attn2.to_"},
	} {
		kohya := []safetensors.Tensor{{Name: "lora_unet_" + layers[0] + ".lora_down.weight", DType: "F32", Shape: []int64{rank, width}, Data: down},
			{Name: "lora_unet_" + layers[0] + ".lora_up.weight", DType: "F32", Shape: []int64{3 * width, rank}, Data: up}}
		var pieces []safetensors.Tensor
		for i, part := range []string{"q", "k", "v"} {
			if file == "chroma" {
				part += "_proj"
			}
			name := "transformer." + layers[1] + part
			pieces = append(pieces, safetensors.Tensor{Name: name + ".lora_A.weight", DType: "F32", Shape: []int64{rank, width}, Data: down},
				safetensors.Tensor{Name: name + ".lora_B.weight", DType: "F32", Shape: []int64{width, rank}, Data: up[i*len(up)/3:][:len(up)/3]})
		}
		m := openTiny(t, "../flux/"+file, Options{Type: "f32"})
		plain := latentOf(t, m, fluxRequest(3), nil).Data
		var drawn [][]float32
		for scheme, tensors := range map[string][]safetensors.Tensor{"kohya": kohya, "pieces": pieces} {
			path := filepath.Join(t.TempDir(), scheme+".safetensors")
			out, err := os.Create(path)
			require.NoError(t, err)
			require.NoError(t, safetensors.Write(out, nil, tensors))
			require.NoError(t, out.Close())
			a, err := OpenAdapter(path)
			require.NoError(t, err)
			t.Cleanup(func() { a.Close() })
			q := fluxRequest(3)
			q.Prompt += "<lora:" + attach(t, m, a) + ":1>"
			drawn = append(drawn, latentOf(t, m, q, nil).Data)
			require.Greater(t, relativeRMS(drawn[len(drawn)-1], plain), 1e-3, file)
		}
		requireClose(t, drawn[0], drawn[1], 1e-5, file)
	}
}

// Runs that begin with a picture are the diffusers library's, whatever part of the steps is made (testdata/flux/img2img.py). Its strength makes
// a step less than the one of AUTOMATIC1111, which is this library's.
func TestTransformersBeginWithPictures(t *testing.T) {
	ref, picture := readReference(t, fluxFolder, "img2img.safetensors"), smallPicture(readReference(t, fluxFolder, "reference.safetensors"), "picture")
	for name, guidance := range map[string]float64{"flux": 3.5, "sd35": 4.5} {
		m := openTiny(t, "../flux/"+name, Options{Type: "f32"})
		for theirs, strength := range map[string]float64{"0.5": 0.25, "0.75": 0.5, "1.0": 0.75} {
			q := fluxRequest(guidance)
			q.Image, q.Strength = picture, &strength
			requireClose(t, latentOf(t, m, q, nil).Data, ref.f32(name+"."+theirs), 1e-4, name+" "+theirs)
		}
	}
}
