package sd

import (
	"image"

	"github.com/sdgo/sdgo/convert"
)

// maxAesthetic bounds aesthetic scores; LAION's predictor gives 1 to 10.
const maxAesthetic = 10

// suit checks that a request gives a model what it is for, and no more.
func (q *resolved) suit(m *convert.Model) error {
	var e RequestError
	q.suitVariant(m.Variant, &e)
	q.suitXL(m.Arch, &e)
	if len(e.Problems) > 0 {
		return &e
	}
	return nil
}

// suitVariant checks what models beside the plain ones see: variant is that of
// [convert.Model].
func (q *resolved) suitVariant(variant string, e *RequestError) {
	if variant != "" && len(q.Stages) > 0 {
		e.add("Stages", "a model made for inpainting or for editing pictures can't take them; plain ones can")
	}
	switch {
	case variant == "inpaint" && (q.Image == nil || q.Mask == nil):
		e.add("Mask", "the model is made for inpainting: a picture and a mask are wanted")
	case variant == "edit" && q.Image == nil:
		e.add("Image", "the model is made for editing pictures: a picture is wanted")
	case variant == "edit" && q.Mask != nil:
		e.add("Mask", "the model is made for editing whole pictures: none is wanted")
	case variant == "edit" && q.sampler.CFGPP:
		e.add("Sampler", "%s brings its own guidance, which a model for editing can't take", q.sampler.Name)
	}
	if variant == "edit" {
		q.strength = 1 // it sees the picture beside the latent
	} else if q.ImageGuidance != nil {
		e.add("ImageGuidance", "only models for editing (instruct-pix2pix) have it")
	}
}

// size is a field of a request that says where in a picture, or how large it is.
type size struct {
	field string
	v     image.Point
}

// sizes are those that SDXL's family is told.
func (q *resolved) sizes() []size {
	return []size{{"OriginalSize", q.OriginalSize}, {"TargetSize", q.TargetSize}, {"CropCorner", q.CropCorner}}
}

// checkXL checks what only SDXL's family is told.
func (q *resolved) checkXL(e *RequestError) {
	for _, p := range q.sizes() {
		if p.v.X < 0 || p.v.X > MaxSide || p.v.Y < 0 || p.v.Y > MaxSide {
			e.add(p.field, "%dx%d, 0 to %d wanted", p.v.X, p.v.Y, MaxSide)
		}
	}
	for _, s := range []struct {
		field string
		v     float64
	}{{"Aesthetic", q.aesthetic}, {"NegativeAesthetic", q.negativeAesthetic}} {
		if !(s.v >= 0 && s.v <= maxAesthetic) {
			e.add(s.field, "%g, 0 to %d wanted", s.v, maxAesthetic)
		}
	}
	if !(q.refinerAt >= 0 && q.refinerAt <= 1) {
		e.add("RefinerAt", "%g, 0 to 1 wanted", q.refinerAt)
	}
	if q.Refiner == nil && q.RefinerAt != nil {
		e.add("RefinerAt", "a fraction of the steps without a Refiner")
	}
}

// suitXL checks what SDXL's family is told, and by whom it is refined.
func (q *resolved) suitXL(arch string, e *RequestError) {
	if knows(arch) == 0 {
		for _, p := range q.sizes() {
			if p.v != (image.Point{}) {
				e.add(p.field, "only Stable Diffusion XL is told the sizes of pictures")
			}
		}
		if q.Refiner != nil {
			e.add("Refiner", "only Stable Diffusion XL has one")
		}
	}
	refines := arch == convert.SDXLRefiner || q.Refiner != nil && q.Refiner.weights.Arch == convert.SDXLRefiner
	if !refines && (q.Aesthetic != nil || q.NegativeAesthetic != nil) {
		e.add("Aesthetic", "only Stable Diffusion XL's refiner is told scores")
	}
	if arch == convert.SDXLRefiner && q.Image == nil {
		e.add("Image", "the model is a refiner: it wants a picture to begin with, or to be the Refiner of a base model")
	}
	if r := q.Refiner; r != nil && (knows(r.weights.Arch) == 0 || r.weights.Variant != "") {
		e.add("Refiner", "%s is %s; a plain model of Stable Diffusion XL's family is wanted", r.name, r.weights.What)
	}
}
