package family

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/model"
)

// VAEConfig describes the autoencoder of latent diffusion: a variational one (KL), or one
// with a codebook (VQ).
type VAEConfig struct {
	ImageChannels int   // 3
	Channels      int   // at full resolution: 128
	ChannelMult   []int // channels of each level, in Channels: 1 2 4 4
	NumResBlocks  int   // residual blocks of each level of the encoder: 2; the decoder has one more
	ZChannels     int   // channels between encoder and decoder: 4
	EmbedDim      int   // channels of the latent: 4
	QuantConv     bool  // whether there are 1x1 convolutions between encoder, latent and decoder
	HasEncoder    bool

	// ScaleFactor is what latents are multiplied by before the UNet gets them,
	// so that their variance is about 1: 0.18215.
	ScaleFactor float32

	// Shift, and for each channel Mean and Std, come before that: the UNet gets
	// (z - Shift - Mean)·ScaleFactor/Std of a latent z. nil stands for 0 and 1.
	Shift float32   `json:",omitzero"`
	Mean  []float32 `json:",omitempty"`
	Std   []float32 `json:",omitempty"`

	// Codes are the rows of the codebook of an autoencoder that is not variational, the
	// tensor "first_stage_model.quantize.embedding.weight"; 0 of others.
	Codes int `json:",omitzero"`

	Norms NormConfig `json:",omitzero"`

	// PixelNorm says that it is Wan 2.1's and Qwen-Image's for one frame: each pixel's channels are divided by their root
	// mean square, and convolutions that enlarge halve the channels.
	PixelNorm bool `json:",omitzero"`
}

// Factor is the downsampling factor: pixels along a latent pixel's side. Each
// level but one halves the picture. That of the zero config is 1.
func (c VAEConfig) Factor() int { return 1 << max(0, len(c.ChannelMult)-1) }

// Params are the hyperparameters of the networks "vae_decoder" and
// "vae_encoder".
func (c VAEConfig) Params() map[string][]float64 {
	quant := 0
	if c.QuantConv {
		quant = 1
	}
	all := c.Norms.params(map[string][]float64{
		"channels": one(c.Channels), "channel_mult": each(c.ChannelMult), "num_res_blocks": one(c.NumResBlocks),
		"z_channels": one(c.ZChannels), "embed_dim": one(c.EmbedDim), "image_channels": one(c.ImageChannels), "quant_conv": one(quant),
	})
	if c.Codes > 0 {
		all["variational"] = one(0)
	}
	if c.PixelNorm {
		all["pixel_norm"] = one(1)
	}
	return all
}

// moments are the numbers that the encoder has for each of a latent.
func (c VAEConfig) moments() int {
	if c.Codes > 0 {
		return 1
	}
	return 2
}

// Codebook is the tensor with the codes of an autoencoder that has them.
const Codebook = model.VAEPrefix + "quantize.embedding.weight"

// Weights are those of latent diffusion's autoencoder, as CompVis names them
// (ldm/modules/diffusionmodules/model.py, Encoder and Decoder).
func (c VAEConfig) Weights() []Weight {
	w := &vaeWeights{weights{prefix: model.VAEPrefix}}
	levels := len(c.ChannelMult)
	top := c.Channels * c.ChannelMult[levels-1]
	if c.HasEncoder {
		w.conv("encoder.conv_in", c.Channels, c.ImageChannels, 3)
		channels := c.Channels
		for level := range levels {
			channels = w.level(fmt.Sprintf("encoder.down.%d.", level), channels, c.Channels*c.ChannelMult[level], c.NumResBlocks)
			if level+1 < levels {
				w.conv(fmt.Sprintf("encoder.down.%d.downsample.conv", level), channels, channels, 3)
			}
		}
		w.middle("encoder.", top)
		w.norm("encoder.norm_out", top)
		w.conv("encoder.conv_out", c.moments()*c.ZChannels, top, 3)
	}
	if c.QuantConv {
		if c.HasEncoder {
			w.conv("quant_conv", c.moments()*c.EmbedDim, c.moments()*c.ZChannels, 1)
		}
		w.conv("post_quant_conv", c.ZChannels, c.EmbedDim, 1)
	}
	w.conv("decoder.conv_in", top, c.ZChannels, 3)
	w.middle("decoder.", top)
	channels := top
	for level := levels - 1; level >= 0; level-- {
		channels = w.level(fmt.Sprintf("decoder.up.%d.", level), channels, c.Channels*c.ChannelMult[level], c.NumResBlocks+1)
		if level > 0 {
			w.conv(fmt.Sprintf("decoder.up.%d.upsample.conv", level), channels, channels, 3)
		}
	}
	w.norm("decoder.norm_out", channels)
	w.conv("decoder.conv_out", c.ImageChannels, channels, 3)
	if c.Codes > 0 {
		w.add("quantize.embedding.weight", c.Codes, c.EmbedDim)
	}
	return w.all
}

type vaeWeights struct{ weights }

func (w *vaeWeights) level(name string, in, out, blocks int) int {
	for i := range blocks {
		w.residual(fmt.Sprintf("%sblock.%d", name, i), in, out)
		in = out
	}
	return in
}

func (w *vaeWeights) residual(name string, in, out int) {
	w.norm(name+".norm1", in)
	w.conv(name+".conv1", out, in, 3)
	w.norm(name+".norm2", out)
	w.conv(name+".conv2", out, out, 3)
	if in != out {
		w.conv(name+".nin_shortcut", out, in, 1)
	}
}

func (w *vaeWeights) middle(half string, channels int) {
	w.residual(half+"mid.block_1", channels, channels)
	w.norm(half+"mid.attn_1.norm", channels)
	for _, p := range []string{"q", "k", "v", "proj_out"} {
		w.conv(half+"mid.attn_1."+p, channels, channels, 1)
	}
	w.residual(half+"mid.block_2", channels, channels)
}

// VAE reads the configuration of latent diffusion's autoencoder. The scale of
// its latents, which no shape tells, is Stable Diffusion 1's and 2's.
func (r *Reader) VAE() (c VAEConfig) {
	p := model.VAEPrefix + "decoder."
	in, out := r.Shape(p+"conv_in.weight", 4), r.Shape(p+"conv_out.weight", 4)
	c.ZChannels, c.ImageChannels, c.Channels = in[1], out[0], out[1]
	levels := r.Count(p + "up.%d.block.0.conv1.weight")
	if r.err == nil && (levels == 0 || levels > maxLevels || c.Channels == 0) {
		r.Fail("an autoencoder with %d levels of %d channels: %w", levels, c.Channels, model.ErrUnrecognized)
		return c
	}
	for level := range levels {
		name := fmt.Sprintf("%sup.%d.block.0.conv1.weight", p, level)
		width := r.Shape(name, 4)[0]
		if c.Channels == 0 || width%c.Channels != 0 {
			r.Fail("tensor %q must have a multiple of %d channels, got %d", name, c.Channels, width)
			return c
		}
		c.ChannelMult = append(c.ChannelMult, width/c.Channels)
	}
	c.NumResBlocks = r.Count(p+"up.0.block.%d.conv1.weight") - 1
	c.EmbedDim = c.ZChannels
	if r.Has(model.VAEPrefix + "post_quant_conv.weight") {
		c.QuantConv = true
		c.EmbedDim = r.Shape(model.VAEPrefix+"post_quant_conv.weight", 4)[1]
	}
	c.HasEncoder = r.Has(model.VAEPrefix + "encoder.conv_in.weight")
	c.PixelNorm = r.Has(p+"norm_out.weight") && !r.Has(p+"norm_out.bias")
	c.ScaleFactor = 0.18215
	if r.Has(Codebook) {
		book := r.Shape(Codebook, 2)
		c.Codes, c.ScaleFactor = book[0], 1
		if r.err == nil && (book[1] != c.EmbedDim || c.Codes < 1) {
			r.Fail("tensor %q must have rows of %d numbers, got the shape %v: %w", Codebook, c.EmbedDim, book[:2], model.ErrUnrecognized)
		}
	}
	return c
}

// summary is the autoencoder in one line.
func (c VAEConfig) summary() string {
	text := fmt.Sprintf("%d channels x %v, latent %d, scale %g", c.Channels, c.ChannelMult, c.EmbedDim, c.ScaleFactor)
	if c.Shift != 0 {
		text += fmt.Sprintf(", shift %g", c.Shift)
	}
	return text
}
