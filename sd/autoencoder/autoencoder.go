// Package autoencoder encodes pictures to latents and decodes them: the KL autoencoder
// of latent diffusion, TAESD in its place, and None for models in pixel space.
package autoencoder

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Autoencoder encodes pixels, [3, H, W] in [-1, 1], to latents in the denoiser's scale,
// [channels, H/Factor, W/Factor], and decodes them. Pictures too large for the
// available memory are computed in tiles.
type Autoencoder interface {
	// Encode encodes a picture.
	Encode(ctx context.Context, pixels tensor.Tensor) (Encoding, error)

	// Decode decodes a latent. done is called after each tile.
	Decode(ctx context.Context, latent tensor.Tensor, done tensor.Progress) (tensor.Tensor, error)

	// Factor is the downsampling factor (diffusers: vae_scale_factor).
	Factor() int

	// CanEncode reports whether there is an encoder.
	CanEncode() bool
}

// Encoding is what a picture is encoded to: a normal distribution of latents with
// variational encoders, one latent with others.
type Encoding struct {
	mean      tensor.Tensor
	deviation []float32 // of each element; nil is 0
	scaling   scaling   // to the denoiser's scale
}

// Exactly is the encoding to one latent, in the denoiser's scale.
func Exactly(latent tensor.Tensor) Encoding {
	return Encoding{mean: latent, scaling: scaling{scale: 1}}
}

// Sample draws a latent in the denoiser's scale, as AUTOMATIC1111, diffusers and
// stable-diffusion.cpp do. noise is not used where there is only one.
func (e Encoding) Sample(noise sampler.Noise) tensor.Tensor {
	if e.deviation == nil {
		return e.mean
	}
	z := e.mean.Like()
	noise.Normal(z.Data)
	for i, eps := range z.Data {
		z.Data[i] = e.mean.Data[i] + e.deviation[i]*eps
	}
	e.scaling.in(z.Data)
	return z
}

// Mean is the middle of the distribution, in the denoiser's scale.
func (e Encoding) Mean() tensor.Tensor {
	z := e.mean.Like()
	copy(z.Data, e.mean.Data)
	e.scaling.in(z.Data)
	return z
}

// None is the autoencoder of models that compute on pixels: it changes nothing.
type None struct{}

// Encode returns pixels as they are.
func (None) Encode(_ context.Context, pixels tensor.Tensor) (Encoding, error) {
	return Exactly(pixels), nil
}

// Decode returns latent as it is.
func (None) Decode(_ context.Context, latent tensor.Tensor, done tensor.Progress) (tensor.Tensor, error) {
	return latent, done(1, 1)
}

// Factor is 1.
func (None) Factor() int { return 1 }

// CanEncode is true.
func (None) CanEncode() bool { return true }

// Tilings for pictures that are too large to decode at once, in latent pixels: tiles
// of the size that the autoencoder was trained at, or half of it, which overlap by a
// quarter.
var tilings = []tensor.Tiling{{Size: 64, Overlap: 16}, {Size: 32, Overlap: 8}}

// SmallestTile is the smallest side of tiles, in latent pixels.
func SmallestTile() int { return tilings[len(tilings)-1].Size }

// coder is an encoder or a decoder.
type coder struct {
	host     *engine.Host
	net      *engine.Network
	in, out  string // the network's names
	channels int    // of its output
	factor   int    // downsampling factor
}

// decode runs a decoder, whole or in tiles.
func (c coder) decode(ctx context.Context, z tensor.Tensor, done tensor.Progress) (pixels tensor.Tensor, err error) {
	large := false
	defer func() { c.leave(large) }()
	// The pixels as a tensor, as a picture, and as its file.
	release, err := c.host.TakePixels(z.Width()*c.factor, z.Height()*c.factor, engine.TensorPixel+2*engine.PicturePixel)
	if err != nil {
		return pixels, err
	}
	defer release()
	one := func(ys, xs tensor.Span) (tensor.Tensor, error) {
		part := z
		if ys.Len() != z.Height() || xs.Len() != z.Width() {
			part = z.Crop(ys, xs)
		}
		return c.run(ctx, part, ys.Len()*c.factor, xs.Len()*c.factor)
	}
	t, large, err := c.chooseTiling(ctx, z.Height(), z.Width(), func(height, width int) []int64 {
		return tensor.Batch(1, []int{z.Channels(), height, width})
	})
	if err != nil {
		return pixels, err
	}
	if t != nil {
		return t.Cover(z.Height(), z.Width(), c.factor, one, done)
	}
	if pixels, err = c.run(ctx, z, z.Height()*c.factor, z.Width()*c.factor); err == nil {
		err = done(1, 1)
	}
	return pixels, err
}

// encode runs an encoder, whole or in tiles.
func (c coder) encode(ctx context.Context, pixels tensor.Tensor) (tensor.Tensor, error) {
	large := false
	defer func() { c.leave(large) }()
	release, err := c.host.TakePixels(pixels.Width(), pixels.Height(), engine.TensorPixel) // a tile's copy
	if err != nil {
		return tensor.Tensor{}, err
	}
	defer release()
	one := func(ys, xs tensor.Span) (tensor.Tensor, error) {
		return c.run(ctx, pixels.Crop(ys.Scale(c.factor), xs.Scale(c.factor)), ys.Len(), xs.Len())
	}
	height, width := pixels.Height()/c.factor, pixels.Width()/c.factor
	t, large, err := c.chooseTiling(ctx, height, width, func(height, width int) []int64 {
		return tensor.Batch(1, []int{pixels.Channels(), height * c.factor, width * c.factor})
	})
	if err != nil {
		return tensor.Tensor{}, err
	}
	if t == nil {
		return one(tensor.Span{End: height}, tensor.Span{End: width})
	}
	return t.Cover(height, width, 1, one, tensor.NoProgress)
}

// run runs the network on one tile.
func (c coder) run(ctx context.Context, x tensor.Tensor, height, width int) (tensor.Tensor, error) {
	out := tensor.New(c.channels, height, width)
	err := c.net.RunFinite(ctx, []cgo.Input{{Name: c.in, Shape: x.Batch(1), F32: x.Data}}, []cgo.Output{{Name: c.out, Data: out.Data}})
	return out, err
}

// largeGraph is from where on a coder's graph is not kept for the next picture, nor what the denoiser keeps
// for its next step is kept beside it: they would be the peak of the process's memory, and such a picture takes minutes.
const largeGraph = 512 << 20 // bytes

// leave is called when a picture is coded.
func (c coder) leave(large bool) {
	if large {
		c.net.Rest()
		return
	}
	c.net.Idle()
}

// chooseTiling returns nil if a latent can be decoded, or encoded to, at once, else the
// largest tiles that fit the available memory. input is the shape of the network's
// input for a latent of a size. For a large graph other networks give back what they keep.
func (c coder) chooseTiling(ctx context.Context, height, width int, input func(height, width int) []int64) (t *tensor.Tiling, large bool, err error) {
	available := c.host.Room(c.net.Device())
	fits := func(height, width int) (bool, error) {
		need, err := c.net.Estimate(ctx, []cgo.Input{{Name: c.in, Shape: input(height, width)}}, []cgo.Output{{Name: c.out}})
		ok := err == nil && need <= available
		if large = ok && need >= largeGraph; large {
			c.host.MakeRoom()
		}
		return ok, err
	}
	if ok, err := fits(height, width); ok || err != nil {
		return nil, large, err
	}
	for _, t := range tilings {
		if height <= t.Size && width <= t.Size {
			continue
		}
		if ok, err := fits(min(t.Size, height), min(t.Size, width)); ok || err != nil {
			return &t, large, err
		}
	}
	// No tiles are sure to fit. The smallest are the best chance; if memory runs
	// out, the run returns an error.
	return &tilings[len(tilings)-1], false, nil
}

// demand is the memory that the coder needs for a tile of a side, in latent pixels.
func (c coder) demand(side, inputChannels int) (engine.Demand, bool, error) {
	return engine.DemandOf(c.net, c.out, cgo.Input{Name: c.in, Shape: tensor.Batch(1, []int{inputChannels, side, side})})
}
