package sd

import (
	"image"
	"image/color"
	paint "image/draw"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
	"github.com/sdgo/sdgo/sd/picture"
)

// With the preprocessor of inpaint ControlNets the network does not see what the mask
// paints: whatever is there changes nothing, and what is beside it does.
func TestInpaintControl(t *testing.T) {
	ref := readReference(t, controlsFolder, "reference.safetensors")
	m := withControls(t, Options{})
	mask := image.NewGray(image.Rect(0, 0, 64, 64))
	paint.Draw(mask, image.Rect(16, 16, 48, 48), image.White, image.Point{}, paint.Src)
	begin := controlPicture(t, ref, 1)
	drawn := func(preprocess string, onlyMasked bool, change image.Rectangle) []uint8 {
		seen, err := picture.NRGBA(controlPicture(t, ref, 0))
		require.NoError(t, err)
		paint.Draw(seen, change, image.NewUniform(color.NRGBA{200, 30, 90, 255}), image.Point{}, paint.Src)
		r := controlRequest(ref, RequestControl{Name: "sd1", Image: seen, Preprocess: preprocess})
		r.Steps, r.Image, r.Mask, r.Strength, r.OnlyMasked = 2, begin, mask, Float(0.9), onlyMasked
		got, err := m.Generate(t.Context(), r)
		require.NoError(t, err)
		return got.Images[0].Image.Pix
	}
	inside, beside := image.Rect(20, 20, 40, 40), image.Rect(0, 0, 12, 64)
	for _, onlyMasked := range []bool{false, true} {
		plain := drawn("inpaint", onlyMasked, image.Rectangle{})
		require.Equal(t, plain, drawn("inpaint_only", onlyMasked, inside), "it is not seen")
		require.NotEqual(t, plain, drawn("", onlyMasked, image.Rectangle{}))
		require.NotEqual(t, drawn("", onlyMasked, image.Rectangle{}), drawn("", onlyMasked, inside))
	}
	require.NotEqual(t, drawn("inpaint", false, image.Rectangle{}), drawn("inpaint", false, beside))

	r := controlRequest(ref, RequestControl{Name: "sd1", Image: begin, Preprocess: "inpaint"})
	_, err := m.Generate(t.Context(), r)
	require.ErrorContains(t, err, "Controls[0].Preprocess: inpaint needs a request with a mask")
}

// Whole runs in a mask, in two passes, with what inpaint ControlNets see and without, and SDXL's from a picture,
// against the diffusers library's pipelines.
func TestControlledBeginningsAgreeWithDiffusers(t *testing.T) {
	ref, beginning := readReference(t, controlsFolder, "reference.safetensors"), readReference(t, controlsFolder, "beginning.safetensors")
	m := withControls(t, Options{Type: "f32"})
	mask := image.NewGray(image.Rect(0, 0, 64, 64))
	copy(mask.Pix, beginning.tensor("mask", "U8").Data)
	begin, other := controlPicture(t, ref, 0), controlPicture(t, ref, 1)
	for name, c := range map[string]RequestControl{
		"inpaint":       {Preprocess: "inpaint"}, // it sees the picture to begin with
		"inpaint.other": {Preprocess: "inpaint", Image: other},
		"inpaint.guess": {Preprocess: "inpaint", Mode: ControlGuess},
		"inpaint.plain": {},
	} {
		c.Name, c.Weight = "sd1", Float(0.8)
		r := controlRequest(ref, c)
		r.Image, r.Mask, r.Strength = begin, mask, Float(0.6) // four of the five steps
		got := latentOf(t, m, r, nil)
		requireClose(t, got.Data, beginning.f32("latent."+name), 1e-4, name)
	}

	colour := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for i := 0; i < len(colour.Pix); i += 4 {
		copy(colour.Pix[i:], []uint8{230, 40, 90, 255})
	}
	for name, c := range map[string]struct {
		control RequestControl
		scale   float64
	}{
		"hires":            {RequestControl{Image: other}, 1},
		"hires.window":     {RequestControl{Image: other, Start: Float(0.25), End: Float(0.75)}, 1}, // of each pass's own steps
		"hires.large":      {RequestControl{Image: colour}, 2},
		"hires.large.none": {RequestControl{Image: colour, End: Float(0.01)}, 2},
	} {
		c.control.Name, c.control.Weight = "sd1", Float(0.8)
		r := controlRequest(ref, c.control)
		r.Hires = []HiresPass{{Scale: c.scale, Steps: 4}}
		got := latentOf(t, m, r, nil)
		requireClose(t, got.Data, beginning.f32("latent."+name), 1e-4, name)
	}

	for _, kernels := range checked.Few(cgo.KernelNames()) {
		o := Options{Type: "f32", Kernels: kernels}
		xl := openXL(t, "base", o)
		require.NoError(t, xl.Attach(openControl(t, "xl.safetensors", o)))
		r := controlRequest(ref, RequestControl{Name: "xl", Image: other, Weight: Float(0.8), End: Float(0.5)})
		r.Image, r.Strength, r.Guidance = begin, Float(0.6), Float(1.5)
		got := latentOf(t, xl, r, nil)
		requireClose(t, got.Data, beginning.f32("latent.xl.img2img"), 1e-4, "xl.img2img "+kernels)
	}
}
