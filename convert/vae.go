package convert

import "fmt"

// Weights are those of latent diffusion's autoencoder, as CompVis names them
// (ldm/modules/diffusionmodules/model.py, Encoder and Decoder).
func (c VAEConfig) Weights() []Weight {
	w := &vaeWants{wants{prefix: VAEPrefix}, c}
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
		w.conv("encoder.conv_out", 2*c.ZChannels, top, 3)
	}
	if c.QuantConv {
		if c.HasEncoder {
			w.conv("quant_conv", 2*c.EmbedDim, 2*c.ZChannels, 1)
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
	return w.all
}

type vaeWants struct {
	wants
	c VAEConfig
}

func (w *vaeWants) level(name string, in, out, blocks int) int {
	for i := range blocks {
		w.residual(fmt.Sprintf("%sblock.%d", name, i), in, out)
		in = out
	}
	return in
}

func (w *vaeWants) residual(name string, in, out int) {
	w.norm(name+".norm1", in)
	w.conv(name+".conv1", out, in, 3)
	w.norm(name+".norm2", out)
	w.conv(name+".conv2", out, out, 3)
	if in != out {
		w.conv(name+".nin_shortcut", out, in, 1)
	}
}

func (w *vaeWants) middle(half string, channels int) {
	w.residual(half+"mid.block_1", channels, channels)
	w.norm(half+"mid.attn_1.norm", channels)
	for _, p := range []string{"q", "k", "v", "proj_out"} {
		w.conv(half+"mid.attn_1."+p, channels, channels, 1)
	}
	w.residual(half+"mid.block_2", channels, channels)
}
