package pixel

import (
	"context"
	"errors"
	"slices"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/tensor"
)

// autoencoder is the file's, or what stands for one.
func (m *model) autoencoder() autoencoder.Autoencoder {
	switch {
	case m.coder != nil:
		return m.coder
	case m.c.Latent():
		return absent{m.factor(), m.c.EDM2 != nil}
	}
	return plain{unitRange: m.c.Process.UnitRange, grey: m.c.Channels == 1}
}

// absent is the autoencoder of a file that has only a denoiser of latents. Requests
// name a tiny one.
type absent struct {
	factor int
	own    bool // latents have a mean and a deviation of their own
}

var errAbsent = errors.New("the file has no autoencoder")

func (absent) Encode(context.Context, tensor.Tensor) (autoencoder.Encoding, error) {
	return autoencoder.Encoding{}, errAbsent
}

func (absent) Decode(context.Context, tensor.Tensor, tensor.Progress) (tensor.Tensor, error) {
	return tensor.Tensor{}, errAbsent
}

func (a absent) Factor() int      { return a.factor }
func (absent) CanEncode() bool    { return false }
func (a absent) OwnLatents() bool { return a.own }

// plain is the autoencoder of models on pixels. Where they are from 0 to 1, or grey, it
// brings pictures into that form and back.
type plain struct {
	autoencoder.None
	unitRange, grey bool
}

func (p plain) Encode(_ context.Context, pixels tensor.Tensor) (autoencoder.Encoding, error) {
	if p.grey {
		pixels = luminance(pixels)
	}
	if p.unitRange {
		pixels = scaled(pixels, 0.5, 0.5)
	}
	return autoencoder.Exactly(pixels), nil
}

func (p plain) Decode(_ context.Context, latent tensor.Tensor, done tensor.Progress) (tensor.Tensor, error) {
	if p.unitRange {
		latent = scaled(latent, 2, -1)
	}
	if p.grey {
		latent = tensor.Of(slices.Repeat(latent.Data, 3), 3, latent.Height(), latent.Width())
	}
	return latent, done(1, 1)
}

func (p plain) Pullback(_ context.Context, _, v tensor.Tensor) (tensor.Tensor, error) {
	if p.grey {
		n := len(v.Data) / 3
		sum := tensor.New(1, v.Height(), v.Width())
		for i := range sum.Data {
			sum.Data[i] = v.Data[i] + v.Data[n+i] + v.Data[2*n+i]
		}
		v = sum
	}
	if p.unitRange {
		v = scaled(v, 2, 0)
	}
	return v, nil
}

// luminance is the grey of a picture, with the weights of ITU-R BT.601 as Pillow has
// them.
func luminance(x tensor.Tensor) tensor.Tensor {
	out := tensor.New(1, x.Height(), x.Width())
	n := len(out.Data)
	for i := range out.Data {
		out.Data[i] = 0.299*x.Data[i] + 0.587*x.Data[n+i] + 0.114*x.Data[2*n+i]
	}
	return out
}

// scaled is a·x + b.
func scaled(x tensor.Tensor, a, b float32) tensor.Tensor {
	out := x.Like()
	for i, v := range x.Data {
		out.Data[i] = a*v + b
	}
	return out
}

// pixels are the factors with which a sample is its own preview.
func (m *model) pixels() *autoencoder.LatentRGB {
	scale, bias := 1.0, 0.0
	if m.c.Process.UnitRange {
		scale, bias = 2, -1
	}
	rgb := &autoencoder.LatentRGB{Weights: make([][3]float64, m.c.Channels), Bias: [3]float64{bias, bias, bias}}
	for i := range rgb.Weights {
		rgb.Weights[i][min(i, 2)] = scale
	}
	if m.c.Channels == 1 {
		rgb.Weights[0] = [3]float64{scale, scale, scale}
	}
	return rgb
}

// clip keeps predictions within what pixels can be, as training had them.
func (m *model) clip(d sampler.Denoiser) sampler.Denoiser {
	if !m.c.Process.UnitRange {
		return sampler.Clip(d, 1)
	}
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		err := d(ctx, dst, x, sigma)
		for i, v := range dst {
			dst[i] = min(max(v, 0), 1)
		}
		return err
	}
}
