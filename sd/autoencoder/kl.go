package autoencoder

import (
	"context"
	"math"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// KL is the variational autoencoder of latent diffusion (Rombach et al. 2022;
// diffusers: AutoencoderKL).
type KL struct {
	decoder coder
	encoder coder // its net is nil if the file has none
	config  convert.VAEConfig
}

// NewKL creates the networks of a file's autoencoder.
func NewKL(h *engine.Host, c convert.VAEConfig) (*KL, error) {
	params := cgo.Params(c.Params())
	decoder, err := h.NewNetwork(engine.Spec{Role: engine.RoleVAE, Title: "the autoencoder", Arch: "vae_decoder",
		Prefix: convert.VAEPrefix, Params: params})
	if err != nil {
		return nil, err
	}
	kl := &KL{config: c, decoder: coder{h, decoder, "z", "image", c.ImageChannels, c.Factor()}}
	if !c.HasEncoder {
		return kl, nil
	}
	encoder, err := h.NewNetwork(engine.Spec{Role: engine.RoleVAE, Title: "the autoencoder's encoder", Arch: "vae_encoder",
		Prefix: convert.VAEPrefix, Params: params, Lazy: true})
	if err != nil {
		return nil, err
	}
	kl.encoder = coder{h, encoder, "image", "moments", 2 * c.EmbedDim, c.Factor()}
	return kl, nil
}

// Factor is the downsampling factor.
func (a *KL) Factor() int { return a.config.Factor() }

// OwnLatents reports whether the latents have a mean and a deviation of their own, for
// which there are no tiny autoencoders. There are some for the 16 channels of FLUX.1 and Stable
// Diffusion 3, whose latents are shifted: TAEF1 and TAESD3 decode what the denoiser sees.
func (a *KL) OwnLatents() bool {
	const shifted = 16 // channels
	return a.config.Mean != nil || a.config.Shift != 0 && a.config.EmbedDim != shifted
}

// CanEncode reports whether the file has an encoder.
func (a *KL) CanEncode() bool { return a.encoder.net != nil }

// Decoder is the decoder's network.
func (a *KL) Decoder() *engine.Network { return a.decoder.net }

// Encoder is the encoder's network; nil if the file has none.
func (a *KL) Encoder() *engine.Network { return a.encoder.net }

// Decode decodes a latent in the denoiser's scale.
func (a *KL) Decode(ctx context.Context, latent tensor.Tensor, done tensor.Progress) (tensor.Tensor, error) {
	z := latent.Like()
	copy(z.Data, latent.Data)
	scalingOf(a.config).out(z.Data)
	return a.decoder.decode(ctx, z, done)
}

// Encode runs the encoder, which the file must have.
func (a *KL) Encode(ctx context.Context, pixels tensor.Tensor) (Encoding, error) {
	mean, logVariance, err := a.Moments(ctx, pixels)
	if err != nil {
		return Encoding{}, err
	}
	e := Encoding{mean, make([]float32, len(mean.Data)), scalingOf(a.config)}
	for i, v := range logVariance.Data {
		e.deviation[i] = float32(math.Exp(0.5 * min(max(float64(v), -30), 20)))
	}
	return e, nil
}

// Moments runs the encoder. It returns means, without the denoiser's scale, and log
// variances, all of them finite.
func (a *KL) Moments(ctx context.Context, pixels tensor.Tensor) (mean, logVariance tensor.Tensor, err error) {
	moments, err := a.encoder.encode(ctx, pixels)
	if err != nil {
		return mean, logVariance, err
	}
	half, n := moments.Channels()/2, len(moments.Data)/2
	mean = tensor.Of(moments.Data[:n], half, moments.Height(), moments.Width())
	logVariance = tensor.Of(moments.Data[n:], half, moments.Height(), moments.Width())
	return mean, logVariance, nil
}

// Demands are the networks' memory on GPUs for the smallest tiles, or for a picture of
// side latent pixels if that is smaller.
func (a *KL) Demands(side int) (all []engine.Demand, err error) {
	return demandsOf(a.decoder, a.encoder, a.config, side)
}

func demandsOf(decoder, encoder coder, c convert.VAEConfig, side int) (all []engine.Demand, err error) {
	side = min(side, SmallestTile())
	d, ok, err := decoder.demand(side, c.EmbedDim)
	if err != nil {
		return nil, err
	}
	if ok {
		all = append(all, d)
	}
	if d, ok, err = encoder.demand(side*c.Factor(), 3); ok {
		all = append(all, d)
	}
	return all, err
}
