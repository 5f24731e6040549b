package autoencoder

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// VQ is the autoencoder of latent diffusion whose latents have a codebook (Esser et al. 2021,
// arXiv:2012.09841; diffusers: VQModel). The decoder gets for each of a latent's pixels the
// code that is nearest. The encoder's latents are not replaced by codes, as in the models of
// Rombach et al. (2022), which were trained with such.
type VQ struct {
	decoder coder
	encoder coder // its net is nil if the file has none
	config  convert.VAEConfig
	book    codebook
}

// NewVQ creates the networks of a file's autoencoder.
func NewVQ(h *engine.Host, c convert.VAEConfig) (*VQ, error) {
	if c.Codes < 1 {
		return nil, fmt.Errorf("an autoencoder without a codebook")
	}
	t, ok := h.Weights.Tensor(convert.Codebook)
	if !ok || t.Elements() != int64(c.Codes)*int64(c.EmbedDim) {
		return nil, fmt.Errorf("tensor %q must have the shape [%d, %d]", convert.Codebook, c.Codes, c.EmbedDim)
	}
	a := &VQ{config: c, book: codebook{width: c.EmbedDim, codes: make([]float32, t.Elements())}}
	if err := t.Float32(a.book.codes); err != nil {
		return nil, err
	}
	params := cgo.Params(c.Params())
	decoder, err := h.NewNetwork(engine.Spec{Role: engine.RoleVAE, Title: "the autoencoder", Arch: "vae_decoder", Prefix: convert.VAEPrefix, Params: params})
	if err != nil {
		return nil, err
	}
	a.decoder = coder{h, decoder, "z", "image", c.ImageChannels, c.Factor()}
	if !c.HasEncoder {
		return a, nil
	}
	encoder, err := h.NewNetwork(engine.Spec{Role: engine.RoleVAE, Title: "the autoencoder's encoder", Arch: "vae_encoder", Prefix: convert.VAEPrefix, Params: params, Lazy: true})
	if err != nil {
		return nil, err
	}
	a.encoder = coder{h, encoder, "image", "moments", c.EmbedDim, c.Factor()}
	return a, nil
}

// Factor is the downsampling factor.
func (a *VQ) Factor() int { return a.config.Factor() }

// CanEncode reports whether the file has an encoder.
func (a *VQ) CanEncode() bool { return a.encoder.net != nil }

// Decoder is the decoder's network.
func (a *VQ) Decoder() *engine.Network { return a.decoder.net }

// Encoder is the encoder's network; nil if the file has none.
func (a *VQ) Encoder() *engine.Network { return a.encoder.net }

// Decode decodes a latent in the denoiser's scale.
func (a *VQ) Decode(ctx context.Context, latent tensor.Tensor, done tensor.Progress) (tensor.Tensor, error) {
	z := latent.Like()
	copy(z.Data, latent.Data)
	scalingOf(a.config).out(z.Data)
	a.book.nearest(z)
	return a.decoder.decode(ctx, z, done)
}

// Encode runs the encoder, which the file must have. The encoding is one latent.
func (a *VQ) Encode(ctx context.Context, pixels tensor.Tensor) (Encoding, error) {
	z, err := a.encoder.encode(ctx, pixels)
	if err != nil {
		return Encoding{}, err
	}
	scalingOf(a.config).in(z.Data)
	return Exactly(z), nil
}

// Demands are the networks' memory on GPUs for the smallest tiles, or for a picture of
// side latent pixels if that is smaller.
func (a *VQ) Demands(side int) ([]engine.Demand, error) {
	return demandsOf(a.decoder, a.encoder, a.config, side)
}

// codebook has the codes one after another, each of width numbers.
type codebook struct {
	width int
	codes []float32
}

// nearest replaces each pixel of a latent by the code whose distance to it is the
// smallest; of equally near ones by the first.
func (b codebook) nearest(z tensor.Tensor) {
	pixels := z.Height() * z.Width()
	squares := make([]float64, len(b.codes)/b.width)
	for i := range squares {
		for _, v := range b.codes[i*b.width : (i+1)*b.width] {
			squares[i] += float64(v) * float64(v)
		}
	}
	workers := min(runtime.GOMAXPROCS(0), pixels)
	var wait sync.WaitGroup
	for worker := range workers {
		wait.Go(func() {
			x := make([]float64, b.width)
			for pixel := worker * pixels / workers; pixel < (worker+1)*pixels/workers; pixel++ {
				for i := range x {
					x[i] = float64(z.Data[i*pixels+pixel])
				}
				at := b.find(x, squares)
				for i := range x {
					if at >= 0 { // what is not finite stays, for the network to report
						z.Data[i*pixels+pixel] = b.codes[at*b.width+i]
					}
				}
			}
		})
	}
	wait.Wait()
}

// find is the number of the code nearest to x, by |e|² - 2·x·e; -1 if x is not finite.
func (b codebook) find(x []float64, squares []float64) int {
	best, at := math.Inf(1), -1
	for i, square := range squares {
		dot := 0.0
		for k, v := range b.codes[i*b.width : (i+1)*b.width] {
			dot += x[k] * float64(v)
		}
		if d := square - 2*dot; d < best {
			best, at = d, i
		}
	}
	return at
}
