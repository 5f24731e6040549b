// Package upscale makes pictures larger: with filters on pixels or latents, and with
// networks of ESRGAN's family.
package upscale

import (
	"image"
	"strings"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sd/tensor"
)

// Filter is an upscaler without a network. It works on latents or on pixels: one of
// Latent and Pixels is not nil.
type Filter struct {
	Name   string // in generation parameters, as AUTOMATIC1111 spells it
	Latent *tensor.Resampling
	Pixels *imaging.ResampleFilter
}

// filters are all filters, the default first.
func filters() []Filter {
	return []Filter{
		{Name: "Latent", Latent: &tensor.Bilinear},
		{Name: "Latent (antialiased)", Latent: &tensor.BilinearAntialias},
		{Name: "Latent (bicubic)", Latent: &tensor.Bicubic},
		{Name: "Latent (bicubic antialiased)", Latent: &tensor.BicubicAntialias},
		{Name: "Latent (nearest)", Latent: &tensor.Nearest},
		{Name: "Latent (nearest-exact)", Latent: &tensor.NearestExact},
		{Name: "Nearest", Pixels: &imaging.NearestNeighbor},
		{Name: "Bicubic", Pixels: &imaging.CatmullRom},
		{Name: "Lanczos", Pixels: &imaging.Lanczos},
	}
}

// plainName spells a filter's name for command lines: "Latent (bicubic)" is
// latent-bicubic.
func plainName(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.NewReplacer("(", "", ")", "").Replace(name)), " ", "-")
}

// Filters are the names of all filters, as command lines spell them, the default first.
func Filters() []string {
	var names []string
	for _, f := range filters() {
		names = append(names, plainName(f.Name))
	}
	return names
}

// LookupFilter finds a filter by its name, in either spelling.
func LookupFilter(name string) (Filter, bool) {
	for _, f := range filters() {
		if plainName(f.Name) == plainName(name) {
			return f, true
		}
	}
	return Filter{}, false
}

// Resize resizes a picture. If one side shrinks much, that side is first, because the
// other order would need much more memory.
func Resize(img *image.NRGBA, width, height int, filter imaging.ResampleFilter) *image.NRGBA {
	if size := img.Rect.Size(); width*size.Y > 4*max(size.X*size.Y, width*height) {
		img = imaging.Resize(img, size.X, height, filter)
	}
	return imaging.Resize(img, width, height, filter)
}
