package sd

import (
	"context"
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
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
				c := netCase{"unet", func(m *Model) *part { return m.unet },
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
		e, err := m.encode(context.Background(), said["prompt"], 0)
		require.NoError(t, err)
		require.Equal(t, ref.shape(model+".embedding"), []int64{1, int64(e.length), int64(e.dim)})
		requireClose(t, e.data, ref.f32(model+".embedding"), 1e-5, model)
		requireClose(t, e.pooled, ref.f32(model+".pooled"), 1e-5, model+", pooled")
	}
	e, err := openXL(t, "base", Options{Type: "f32"}).encode(context.Background(), said["negative"], 0)
	require.NoError(t, err)
	requireClose(t, e.data, ref.f32("base.negative.embedding"), 1e-5, "negative")
}

// What the UNet is told of a picture, against the library's vector.
func TestDescribe(t *testing.T) {
	ref := readReference(t, xlFolder, "reference.safetensors")
	for _, model := range []string{"base", "refiner"} {
		m := openXL(t, model, Options{})
		y := ref.f32(model + ".unet.y")
		q := resolved{Request: Request{OriginalSize: image.Pt(80, 96), CropCorner: image.Pt(5, 3), TargetSize: image.Pt(72, 64)},
			aesthetic: 6, negativeAesthetic: 2.5}
		e := m.describe(embedding{data: []float32{0}, pooled: y[:64]}, q, false)
		requireClose(t, e.about, y[:len(y)/2], 1e-6, model)

		q = resolved{Request: Request{Width: 64, Height: 64}, aesthetic: 6, negativeAesthetic: 2.5}
		e = m.describe(embedding{data: []float32{0}, pooled: y[len(y)/2:][:64]}, q, true)
		requireClose(t, e.about, y[len(y)/2:], 1e-6, model)
	}
}

// latentOf draws up to the latent.
func latentOf(t *testing.T, m *Model, r Request) plane {
	t.Helper()
	ctx := context.Background()
	q, err := r.resolve(m.NativeSize())
	require.NoError(t, err)
	require.NoError(t, q.suit(m.weights))
	c, err := m.conditioning(ctx, q, &Result{})
	require.NoError(t, err)
	if r.Refiner != nil {
		refined, err := r.Refiner.conditioning(ctx, q, &Result{})
		require.NoError(t, err)
		c.refined = refined.phases
	}
	if r.Image != nil {
		c.source, err = m.newSource(ctx, q)
		require.NoError(t, err)
	}
	latent, err := m.sample(ctx, q, c, q.Seed, func(sampler.Step) error { return nil })
	require.NoError(t, err)
	return latent
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
	for _, kernels := range cgo.KernelNames() {
		o := Options{Type: "f32", Kernels: kernels}
		base, refiner := openXL(t, "base", o), openXL(t, "refiner", o)
		for _, c := range []struct {
			want   string
			m      *Model
			change func(*Request)
		}{
			{"base.latent", base, func(r *Request) {
				r.OriginalSize, r.CropCorner, r.TargetSize = image.Pt(80, 96), image.Pt(5, 3), image.Pt(72, 64)
			}},
			{"base.silent.latent", base, func(r *Request) { r.NegativePrompt = "" }},
			{"refined.latent", base, func(r *Request) { r.Refiner, r.RefinerAt = refiner, Scale(0.6) }},
			{"refiner.img2img.latent", refiner, func(r *Request) {
				r.Image, r.Strength, r.Aesthetic, r.NegativeAesthetic = picture(), Scale(0.6), Scale(7.5), Scale(1.25)
			}},
		} {
			t.Run(c.want+" "+kernels, func(t *testing.T) {
				r := pipelineRequest(ref)
				c.change(&r)
				latent := latentOf(t, c.m, r)
				e := relativeRMS(latent.data, ref.f32(c.want))
				t.Logf("relative RMS error %.2g", e)
				requireClose(t, latent.data, ref.f32(c.want), 1e-4, c.want)
			})
		}
	}
}

// A folder as the diffusers library saves it gives the very same pictures.
func TestXLFolder(t *testing.T) {
	ref := readReference(t, xlFolder, "reference.safetensors")
	file, folder := openXL(t, "base", Options{}), openTiny(t, "../xl/base-diffusers", Options{})
	// The folder says how many heads there are, the file how wide they are: one
	// and the same at this model's width.
	want := file.weights.UNet
	want.Heads, want.HeadDim = want.ModelChannels/want.HeadDim, 0
	require.Equal(t, want, folder.weights.UNet)
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
	r.OriginalSize, r.CropCorner, r.TargetSize = image.Pt(80, 96), image.Pt(5, 3), image.Pt(72, 64)
	result, err := base.Generate(context.Background(), r)
	require.NoError(t, err)
	requirePixels(t, result.Images[0].Image, ref.tensor("base.pixels", "U8").Data, 1)
	alone := result.Images[0].Image.Pix

	r.Refiner, r.RefinerAt = refiner, Scale(1)
	result, err = base.Generate(context.Background(), r)
	require.NoError(t, err)
	require.Equal(t, alone, result.Images[0].Image.Pix, "a refiner that makes no step")
	r.RefinerAt = nil
	result, err = base.Generate(context.Background(), r)
	require.NoError(t, err)
	require.NotEqual(t, alone, result.Images[0].Image.Pix)
	require.Contains(t, result.Images[0].Params.Text(), ", Refiner: refiner, Refiner switch at: 0.8,")

	measured, err := base.Measure(context.Background(), 64, 64)
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
		{refiner, Request{}, "Image: the model is a refiner: it wants a picture to begin with, or to be the Refiner of a base model"},
		{base, Request{Refiner: plain}, "Refiner: sd1 is Stable Diffusion 1.x; a plain model of Stable Diffusion XL's family is wanted"},
		{plain, Request{Refiner: refiner}, "Refiner: only Stable Diffusion XL has one"},
		{plain, Request{TargetSize: image.Pt(64, 64)}, "TargetSize: only Stable Diffusion XL is told the sizes"},
		{base, Request{Aesthetic: Scale(6)}, "Aesthetic: only Stable Diffusion XL's refiner"},
		{base, Request{Aesthetic: Scale(math.NaN())}, "Aesthetic: NaN, 0 to 10 wanted"},
		{base, Request{CropCorner: image.Pt(-1, 0)}, "CropCorner: -1x0, 0 to 8192 wanted"},
		{base, Request{RefinerAt: Scale(0.5)}, "RefinerAt: a fraction of the steps without a Refiner"},
		{base, Request{Refiner: refiner, RefinerAt: Scale(1.5)}, "RefinerAt: 1.5, 0 to 1 wanted"},
		{base, Request{ClipSkip: 3}, "ClipSkip: 3, 1 to 2 wanted: the text encoder has 2 layers"},
	} {
		_, err := c.m.Generate(context.Background(), c.r)
		var request *RequestError
		require.ErrorAs(t, err, &request)
		require.ErrorContains(t, err, c.want)
	}
}
