package sd

import (
	"fmt"
	"image"
	"math"

	"github.com/sdgo/sdgo/convert"
)

// Scores that SDXL's refiner is told unless a request says otherwise, on
// LAION's scale of 1 to 10, as in the diffusers library.
const (
	defaultAesthetic         = 6.0
	defaultNegativeAesthetic = 2.5
)

// knows is the number of figures about a picture that a UNet of SDXL's family
// is told beside the pooled text (Podell et al. 2023, §2.2): the size of the
// original, the corner of the crop and the size of the target, or in the
// refiner in place of the last an aesthetic score.
func knows(arch string) int {
	switch arch {
	case convert.SDXL:
		return 6
	case convert.SDXLRefiner:
		return 5
	}
	return 0
}

// initXL checks that the text encoder whose output is pooled and the UNet
// belong together.
func (m *Model) initXL() error {
	n := knows(m.weights.Arch)
	adm := m.weights.UNet.ADMChannels
	if n == 0 {
		if adm != 0 {
			return fmt.Errorf("a UNet that wants %d numbers about the picture, which only Stable Diffusion XL knows", adm)
		}
		return nil
	}
	t := m.texts[len(m.texts)-1]
	t.pools = true
	if t.config.Projection == "" {
		return fmt.Errorf("tensor %q is missing: Stable Diffusion XL wants the text encoder's pooled output", t.config.Prefix+"text_model.text_projection")
	}
	if rest := adm - t.config.Pooled; rest < 2*n || rest%(2*n) != 0 {
		return fmt.Errorf("a UNet that wants %d numbers about the picture and a text encoder that pools %d do not belong together", adm, t.config.Pooled)
	}
	return nil
}

// describe gives an embedding what a UNet of SDXL's family wants to know about
// the whole picture: the pooled text, then each figure as sines and cosines.
func (m *Model) describe(e embedding, q resolved, negative bool) embedding {
	n := knows(m.weights.Arch)
	if n == 0 || e.data == nil {
		return e
	}
	original, target := orSize(q.OriginalSize, q), orSize(q.TargetSize, q)
	figures := []float64{float64(original.Y), float64(original.X), float64(q.CropCorner.Y), float64(q.CropCorner.X)}
	switch {
	case m.weights.Arch == convert.SDXL:
		figures = append(figures, float64(target.Y), float64(target.X))
	case negative:
		figures = append(figures, q.negativeAesthetic)
	default:
		figures = append(figures, q.aesthetic)
	}
	e.about = append([]float32(nil), e.pooled...)
	width := (m.weights.UNet.ADMChannels - len(e.pooled)) / n
	for _, v := range figures {
		e.about = append(e.about, sinusoids(v, width)...)
	}
	return e
}

// orSize is a size of the request, or that of its picture.
func orSize(p image.Point, q resolved) image.Point {
	if p == (image.Point{}) {
		return image.Pt(q.Width, q.Height)
	}
	return p
}

// sinusoids is the embedding of timesteps, and of all figures, in diffusion
// models (Ho et al. 2020, after Vaswani et al. 2017): cosines, then sines.
func sinusoids(v float64, width int) []float32 {
	half := width / 2
	out := make([]float32, width)
	for i := range half {
		angle := v * math.Exp(-math.Log(10000)*float64(i)/float64(half))
		out[i], out[half+i] = float32(math.Cos(angle)), float32(math.Sin(angle))
	}
	return out
}

// silence is what SDXL's base model is given in place of an empty negative
// prompt: zeros, as in AUTOMATIC1111, stable-diffusion.cpp and, by default, the
// diffusers library. Other models see the empty text.
func (m *Model) silence(e embedding, text string) embedding {
	if m.weights.Arch != convert.SDXL || text != "" {
		return e
	}
	return embedding{data: make([]float32, len(e.data)), length: e.length, dim: e.dim, pooled: make([]float32, len(e.pooled))}
}
