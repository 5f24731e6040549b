package sd

import (
	"context"
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
	"github.com/sdgo/sdgo/sd/tensor"
)

const xlFolder = "../testdata/xl"

// openXL opens a tiny model of SDXL's family.
func openXL(t *testing.T, name string, o Options) *Model {
	t.Helper()
	return openTiny(t, "../xl/"+name+".safetensors", o)
}

func TestXLNetsAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, xlFolder, "reference.safetensors")
	for _, w := range ways() {
		for _, model := range []string{"base", "refiner"} {
			t.Run(model+"/"+w.String(), func(t *testing.T) {
				c := netCase{"unet", (*Model).unet,
					map[string]string{"x": "unet.x", "t": "unet.t", "context": "unet.context", "y": "unet.y"}, "out", "unet.out"}
				runCase(t, ref, openXL(t, model, w.options), model+".", c, 3*w.bound) // twice as many blocks of attention
			})
		}
	}
}

func TestXLEmbeddingsAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, xlFolder, "reference.safetensors")
	said := ref.file.Metadata
	for _, model := range []string{"base", "refiner"} {
		m := openXL(t, model, Options{Type: "f32"})
		e := conditionsOf(t, m, Request{Prompt: said["prompt"], NegativePrompt: said["negative"], Image: image.NewGray(image.Rect(0, 0, 64, 64))})
		context, pooled := e.Cond.Inputs[0], e.Cond.Inputs[1].Data
		require.Equal(t, ref.shape(model+".embedding"), tensor.Batch(1, context.Shape))
		requireClose(t, context.Data, ref.f32(model+".embedding"), 1e-5, model)
		want := ref.f32(model + ".pooled")
		requireClose(t, pooled[:len(want)], want, 1e-5, model+", pooled")
		if model == "base" {
			requireClose(t, e.Uncond.Inputs[0].Data, ref.f32("base.negative.embedding"), 1e-5, "negative")
		}
	}
}

// The micro-conditions are what diffusers' pipelines embed beside the pooled text.
func TestMicroConditionsAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, xlFolder, "reference.safetensors")
	img := image.NewGray(image.Rect(0, 0, 64, 64)) // for the refiner
	for _, model := range []string{"base", "refiner"} {
		m := openXL(t, model, Options{})
		y := ref.f32(model + ".unet.y")
		told := conditionsOf(t, m, Request{Image: img, OriginalSize: image.Pt(80, 96), CropTopLeft: image.Pt(5, 3), TargetSize: image.Pt(72, 64)})
		requireClose(t, told.Cond.Inputs[1].Data[64:], y[64:len(y)/2], 1e-6, model)
		plain := conditionsOf(t, m, Request{Image: img, Width: 64, Height: 64, NegativePrompt: "a"})
		requireClose(t, plain.Uncond.Inputs[1].Data[64:], y[len(y)/2+64:], 1e-6, model)
	}
}

func TestXLPipelinesAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, xlFolder, "reference.safetensors")
	picture := func() image.Image {
		img := image.NewNRGBA(image.Rect(0, 0, 64, 64))
		for i, v := range ref.tensor("refiner.start", "U8").Data {
			img.Pix[i/3*4+i%3], img.Pix[i/3*4+3] = v, 255
		}
		return img
	}
	for _, kernels := range checked.Few(cgo.KernelNames()) {
		o := Options{Type: "f32", Kernels: kernels}
		base, refiner := openXL(t, "base", o), openXL(t, "refiner", o)
		for _, c := range []struct {
			want   string
			m      *Model
			change func(*Request)
		}{
			{"base.latent", base, func(r *Request) {
				r.OriginalSize, r.CropTopLeft, r.TargetSize = image.Pt(80, 96), image.Pt(5, 3), image.Pt(72, 64)
			}},
			{"base.silent.latent", base, func(r *Request) { r.NegativePrompt = "" }},
			{"refined.latent", base, func(r *Request) { r.Refiner, r.RefinerAt = attach(t, base, refiner), Float(0.6) }},
			{"refiner.img2img.latent", refiner, func(r *Request) {
				r.Image, r.Strength, r.AestheticScore, r.NegativeAestheticScore = picture(), Float(0.6), Float(7.5), Float(1.25)
			}},
		} {
			t.Run(c.want+" "+kernels, func(t *testing.T) {
				r := pipelineRequest(ref)
				c.change(&r)
				latent := latentOf(t, c.m, r, nil)
				e := relativeRMS(latent.Data, ref.f32(c.want))
				t.Logf("relative RMS error %.2g", e)
				requireClose(t, latent.Data, ref.f32(c.want), 1e-4, c.want)
			})
		}
	}
}

// A sampler that chooses its own steps may make more than were asked for: the refiner, which
// was to begin after those, is asked about them.
func TestRefinerOfFurtherSteps(t *testing.T) {
	base, refiner := openXL(t, "base", Options{}), openXL(t, "refiner", Options{})
	name := attach(t, base, refiner)
	r := Request{Prompt: "a fox", Width: 16, Height: 16, Steps: 2, Sampler: "dpm_adaptive", Refiner: name, RefinerAt: Float(1), Seed: 1}
	steps := 0
	r.OnEvent = func(e Event) error {
		if e.Stage == StageSample {
			steps = max(steps, e.Index)
		}
		return nil
	}
	_, err := base.Generate(t.Context(), r)
	require.NoError(t, err)
	require.Greater(t, steps, r.Steps)
}

// A folder as the diffusers library saves it gives the very same pictures.
func TestXLFolder(t *testing.T) {
	ref := readReference(t, xlFolder, "reference.safetensors")
	file, folder := openXL(t, "base", Options{}), openTiny(t, "../xl/base-diffusers", Options{})
	// The folder says how many heads there are, the file how wide they are: one
	// and the same at this model's width.
	want := file.config().UNet
	want.Heads, want.HeadDim = want.ModelChannels/want.HeadDim, 0
	require.Equal(t, want, folder.config().UNet)
	require.Equal(t, file.NativeSize(), folder.NativeSize())
	var pictures []*image.NRGBA
	for _, m := range []*Model{file, folder} {
		result, err := m.Generate(context.Background(), pipelineRequest(ref))
		require.NoError(t, err)
		pictures = append(pictures, result.Images[0].Image)
	}
	require.True(t, equalPix(pictures[0], pictures[1]))
}

// The whole request, at the zero settings and with a refiner.
func TestXLGenerate(t *testing.T) {
	ref := readReference(t, xlFolder, "reference.safetensors")
	base, refiner := openXL(t, "base", Options{Type: "f32"}), openXL(t, "refiner", Options{Type: "f32"})
	r := pipelineRequest(ref)
	r.OriginalSize, r.CropTopLeft, r.TargetSize = image.Pt(80, 96), image.Pt(5, 3), image.Pt(72, 64)
	result, err := base.Generate(context.Background(), r)
	require.NoError(t, err)
	requirePixels(t, result.Images[0].Image, ref.tensor("base.pixels", "U8").Data, 1)
	alone := result.Images[0].Image.Pix

	r.Refiner, r.RefinerAt = attach(t, base, refiner), Float(1)
	result, err = base.Generate(context.Background(), r)
	require.NoError(t, err)
	require.Equal(t, alone, result.Images[0].Image.Pix, "a refiner that makes no step")
	r.RefinerAt = nil
	result, err = base.Generate(context.Background(), r)
	require.NoError(t, err)
	require.NotEqual(t, alone, result.Images[0].Image.Pix)
	require.Contains(t, text(result.Images[0].Params), ", Refiner: refiner, Refiner switch at: 0.8,")

	measured, err := base.Benchmark(context.Background(), 64, 64)
	require.NoError(t, err)
	require.Len(t, measured, 3)
	require.Greater(t, measured[0].FLOP, 0.0)
}

func TestXLRequests(t *testing.T) {
	base, refiner, plain := openXL(t, "base", Options{}), openXL(t, "refiner", Options{}), openTiny(t, "sd1.safetensors", Options{})
	for _, c := range []struct {
		m    *Model
		r    Request
		want string
	}{
		{refiner, Request{}, "Image: the model is a refiner: it needs an initial picture, or to be the Refiner of a base model"},
		{base, Request{Refiner: attach(t, base, plain)}, "Refiner: sd1 is Stable Diffusion 1.x; it must be a plain model of Stable Diffusion XL's family"},
		{plain, Request{Refiner: attach(t, plain, refiner)}, "Refiner: only Stable Diffusion XL has one"},
		{plain, Request{TargetSize: image.Pt(64, 64)}, "TargetSize: only Stable Diffusion XL takes it"},
		{base, Request{AestheticScore: Float(6)}, "AestheticScore: only Stable Diffusion XL's refiner"},
		{base, Request{AestheticScore: Float(math.NaN())}, "AestheticScore: must be 0 to 10, got NaN"},
		{base, Request{CropTopLeft: image.Pt(-1, 0)}, "CropTopLeft: must be 0 to 8192 pixels, got -1x0"},
		{base, Request{RefinerAt: Float(0.5)}, "RefinerAt: needs a Refiner"},
		{base, Request{Refiner: attach(t, base, refiner), RefinerAt: Float(1.5)}, "RefinerAt: must be 0 to 1, got 1.5"},
		{base, Request{ClipSkip: 3}, "ClipSkip: must be 1 to 2, got 3: the text encoder has 2 layers"},
	} {
		_, err := c.m.Generate(context.Background(), c.r)
		var request *RequestError
		require.ErrorAs(t, err, &request)
		require.ErrorContains(t, err, c.want)
	}
}
