package autoencoder

import (
	"context"
	"fmt"
	"math"

	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Packed is FLUX.2's autoencoder: squares of two by two latent pixels of a KL autoencoder are one, whose channels are
// normalised by statistics in the file (diffusers: AutoencoderKLFlux2, _patchify_latents).
type Packed struct {
	*KL
	mean, std []float32 // of each channel of a packed latent
}

// NewPacked packs the latents of an autoencoder. mean and variance are the statistics' names in the file.
func NewPacked(h *engine.Host, kl *KL, mean, variance string, eps float64) (*Packed, error) {
	p := &Packed{KL: kl}
	for name, to := range map[string]*[]float32{mean: &p.mean, variance: &p.std} {
		t, ok := h.Weights.Tensor(name)
		if !ok || t.Elements() != int64(4*kl.config.EmbedDim) {
			return nil, fmt.Errorf("tensor %q must have %d numbers", name, 4*kl.config.EmbedDim)
		}
		*to = make([]float32, t.Elements())
		if err := t.Float32(*to); err != nil {
			return nil, err
		}
	}
	for i, v := range p.std {
		if p.std[i] = float32(math.Sqrt(float64(v) + eps)); !(v >= 0) || math.IsInf(float64(v), 1) || math.IsNaN(float64(p.mean[i])) || math.IsInf(float64(p.mean[i]), 0) {
			return nil, fmt.Errorf("tensor %q must have finite numbers of at least 0, and %q finite ones", variance, mean)
		}
	}
	return p, nil
}

// Factor is the downsampling factor.
func (p *Packed) Factor() int { return 2 * p.KL.Factor() }

// OwnLatents is false: TAEF2 is a tiny autoencoder for such latents.
func (p *Packed) OwnLatents() bool { return false }

// Decode decodes a packed latent in the denoiser's scale.
func (p *Packed) Decode(ctx context.Context, latent tensor.Tensor, done tensor.Progress) (tensor.Tensor, error) {
	x := latent.Like()
	n := latent.Height() * latent.Width()
	for i, v := range latent.Data {
		x.Data[i] = v*p.std[i/n] + p.mean[i/n]
	}
	return p.KL.Decode(ctx, unpacked(x), done)
}

// Encode encodes a picture to the middle of its distribution, as FLUX.2's pipelines do.
func (p *Packed) Encode(ctx context.Context, pixels tensor.Tensor) (Encoding, error) {
	mean, _, err := p.Moments(ctx, pixels)
	if err != nil {
		return Encoding{}, err
	}
	x := packed(mean)
	n := x.Height() * x.Width()
	for i, v := range x.Data {
		x.Data[i] = (v - p.mean[i/n]) / p.std[i/n]
	}
	return Exactly(x), nil
}

// packed makes channels of the pixels of each square: [C, 2h, 2w] to [4C, h, w], in the order (channel, row, column).
func packed(x tensor.Tensor) tensor.Tensor {
	height, width := x.Height()/2, x.Width()/2
	out := tensor.New(4*x.Channels(), height, width)
	at := 0
	for c := range x.Channels() {
		for corner := range 4 {
			for row := range height {
				from := (c*x.Height()+2*row+corner/2)*x.Width() + corner%2
				for column := range width {
					out.Data[at] = x.Data[from+2*column]
					at++
				}
			}
		}
	}
	return out
}

// unpacked is the inverse of packed.
func unpacked(x tensor.Tensor) tensor.Tensor {
	height, width := x.Height(), x.Width()
	out := tensor.New(x.Channels()/4, 2*height, 2*width)
	at := 0
	for c := range out.Channels() {
		for corner := range 4 {
			for row := range height {
				to := (c*2*height+2*row+corner/2)*2*width + corner%2
				for column := range width {
					out.Data[to+2*column] = x.Data[at]
					at++
				}
			}
		}
	}
	return out
}
