package autoencoder

import (
	"context"
	"math"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Differentiable is an autoencoder whose decoder has a derivative.
type Differentiable interface {
	// Pullback is the product of v, [3, H, W], and the derivative of the decoded pixels by
	// the latent. It is not computed in tiles.
	Pullback(ctx context.Context, latent, v tensor.Tensor) (tensor.Tensor, error)
}

// pullback is that of a decoder for its own scale of latents.
func (c coder) pullback(ctx context.Context, z, v tensor.Tensor) (tensor.Tensor, error) {
	defer c.net.Idle()
	out := z.Like()
	in := []cgo.Input{{Name: c.in, Shape: z.Batch(1), F32: z.Data}, {Name: "d_" + c.out, Shape: v.Batch(1), F32: v.Data}}
	err := c.net.Run(ctx, in, []cgo.Output{{Name: "d:" + c.in, Data: out.Data}})
	return out, err
}

// through brings a derivative by latents for the decoder to those in the denoiser's scale.
func (s scaling) through(z []float32) {
	for i, v := range z {
		if s.std == nil {
			z[i] = v / s.scale
			continue
		}
		z[i] = v * s.std[i/(len(z)/len(s.std))] / s.scale
	}
}

// Pullback implements [Differentiable].
func (a *KL) Pullback(ctx context.Context, latent, v tensor.Tensor) (tensor.Tensor, error) {
	z := latent.Like()
	copy(z.Data, latent.Data)
	s := scalingOf(a.config)
	s.out(z.Data)
	out, err := a.decoder.pullback(ctx, z, v)
	s.through(out.Data)
	return out, err
}

// Pullback implements [Differentiable]. A latent's nearest codes are taken to move as it does
// (straight through, van den Oord et al. 2017, arXiv:1711.00937).
func (a *VQ) Pullback(ctx context.Context, latent, v tensor.Tensor) (tensor.Tensor, error) {
	z := latent.Like()
	copy(z.Data, latent.Data)
	s := scalingOf(a.config)
	s.out(z.Data)
	a.book.nearest(z)
	out, err := a.decoder.pullback(ctx, z, v)
	s.through(out.Data)
	return out, err
}

// Pullback implements [Differentiable].
func (t *TAESD) Pullback(ctx context.Context, latent, v tensor.Tensor) (tensor.Tensor, error) {
	z, slope := latent.Like(), latent.Like()
	for i, x := range latent.Data {
		y := math.Tanh(float64(x) / 3)
		z.Data[i], slope.Data[i] = float32(3*y), float32(2*(1-y*y)) // of pixels from 0 to 1
	}
	out, err := t.decoder.pullback(ctx, z, v)
	if err != nil {
		return out, err
	}
	for i, k := range slope.Data {
		out.Data[i] *= k
	}
	return out, nil
}

// Pullback returns v as it is.
func (None) Pullback(_ context.Context, _, v tensor.Tensor) (tensor.Tensor, error) { return v, nil }
