package pipeline

import (
	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/request"
)

// TokenMerger is a denoiser whose self-attention can merge tokens (Bolya and Hoffman 2023,
// arXiv:2303.17604): its input "merged" has as many numbers as tokens of each image are to.
type TokenMerger interface {
	// Tokens are the sides of the image whose tokens merge, for a picture's latent; 0 where
	// the network has none.
	Tokens(latent []int) (width, height int)
}

// merges is how many tokens of an image merge in a drawing: its part of them, at most three of
// each whole square of four.
func merges(p *Pipeline, d Drawing, latent []int) int {
	m, ok := p.Denoiser.(TokenMerger)
	if !ok || d.TokenMerging == 0 {
		return 0
	}
	width, height := m.Tokens(latent)
	targets := (width / 2) * (height / 2)
	if targets == 0 {
		return 0
	}
	return min(int(float64(width*height)*d.TokenMerging), width*height-targets)
}

// withMerged adds the input that says so.
func (in evaluation) withMerged(inputs []cgo.Input) []cgo.Input {
	if in.merged == 0 {
		return inputs
	}
	return append(inputs, cgo.Input{Name: "merged", Shape: []int64{int64(in.merged)}, F32: make([]float32, in.merged)})
}

// checkMerging checks that tokens can merge in a drawing that wants it.
func (d Drawing) checkMerging(e *request.Error) {
	const field = "TokenMerging"
	if d.TokenMerging == 0 {
		return
	}
	network := d.model.Denoiser
	m, ok := network.(TokenMerger)
	if ok {
		w, h := m.Tokens(network.Latent(d.Width, d.Height))
		ok = w*h > 0
	}
	switch {
	case !ok:
		e.Add(field, "the model's network does not merge tokens, only UNets of Stable Diffusion do")
	case network.Network().Device().Kind != cgo.CPU:
		e.Add(field, "is for the CPU, whose kernels merge tokens")
	case d.DeepCache > 1:
		e.Add(field, "does not go with DeepCache")
	case d.Caching.Cache.Inner:
		e.Add(field, "does not go with %s", d.Caching.Cache.Name)
	}
}
