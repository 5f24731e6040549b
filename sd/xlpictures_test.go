package sd

import (
	"image"
	"path/filepath"
	"testing"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
)

// What SDXL makes of a picture, with the plain model and those for inpainting
// and editing, and in few steps, against diffusers' pipelines.
func TestXLPicturesAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, xlFolder, "pictures.safetensors")
	start, _ := startPicture(readReference(t, pipelinesFolder, "pipeline.safetensors"))
	mask := image.NewGray(start.Rect)
	copy(mask.Pix, ref.tensor("mask", "U8").Data)
	for _, kernels := range checked.Few(cgo.KernelNames()) {
		o := Options{Type: "f32", Kernels: kernels}
		for name, change := range map[string]func(*Request){
			"img2img":   func(r *Request) { r.Image, r.Strength = start, Float(0.6) },
			"inpaint":   func(r *Request) { r.Image, r.Mask, r.Strength = start, mask, Float(0.6) },
			"nine":      func(r *Request) { r.Image, r.Mask, r.Strength = start, mask, Float(0.6) },
			"eight":     func(r *Request) { r.Image, r.ImageGuidance = start, Float(1.5) },
			"turbo":     func(r *Request) { r.Steps, r.Guidance, r.Schedule = 1, Float(1), "trailing" },
			"lightning": func(r *Request) { r.Steps, r.Guidance, r.Schedule = 4, Float(1), "trailing" },
		} {
			t.Run(name+" "+kernels, func(t *testing.T) {
				var m *Model
				if _, ok := ref.tensors[name+".conv_in"]; ok {
					m = openVariantOf(t, filepath.Join(xlFolder, "base.safetensors"), ref, name, o)
				} else {
					m = openXL(t, "base", o)
				}
				r := pipelineRequest(ref)
				r.Guidance = Float(1.5)
				change(&r)
				latent := latentOf(t, m, r, nil)
				t.Logf("relative RMS error %.2g", relativeRMS(latent.Data, ref.f32(name+".latent")))
				requireClose(t, latent.Data, ref.f32(name+".latent"), 1e-4, name)
			})
		}
	}
}
