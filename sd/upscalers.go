package sd

import (
	"strings"

	"github.com/disintegration/imaging"
)

// upscaler is a way to make a picture larger that needs no network: in the
// latent, or in pixels.
type upscaler struct {
	name   string // in parameters, as AUTOMATIC1111 spells it
	latent *resampling
	pixels *imaging.ResampleFilter
}

// upscalers are all of them, the default first.
func upscalers() []upscaler {
	return []upscaler{
		{"Latent", &resampling{kernel: triangle, reach: 1}, nil},
		{"Latent (antialiased)", &resampling{kernel: triangle, reach: 1, antialias: true}, nil},
		{"Latent (bicubic)", &resampling{kernel: cubic(-0.75), reach: 2}, nil},
		{"Latent (bicubic antialiased)", &resampling{kernel: cubic(-0.5), reach: 2, antialias: true}, nil},
		{"Latent (nearest)", &resampling{}, nil},
		{"Latent (nearest-exact)", &resampling{exact: true}, nil},
		{"Nearest", nil, &imaging.NearestNeighbor},
		{"Bicubic", nil, &imaging.CatmullRom},
		{"Lanczos", nil, &imaging.Lanczos},
	}
}

// plainName spells an upscaler's name for command lines: "Latent (bicubic)" is
// latent-bicubic.
func plainName(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.NewReplacer("(", "", ")", "").Replace(name)), " ", "-")
}

// Upscalers are the names that [HiresStage.Upscaler] knows, the default first.
func Upscalers() []string {
	var names []string
	for _, u := range upscalers() {
		names = append(names, plainName(u.name))
	}
	return names
}

// findUpscaler finds one by its name, in either spelling.
func findUpscaler(name string) (upscaler, bool) {
	for _, u := range upscalers() {
		if plainName(u.name) == plainName(name) {
			return u, true
		}
	}
	return upscaler{}, false
}
