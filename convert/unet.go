package convert

import "fmt"

// Weights are those of latent diffusion's UNet, as CompVis names them
// (ldm/modules/diffusionmodules/openaimodel.py, UNetModel).
func (c UNetConfig) Weights() []Weight {
	w := &unetWants{wants{prefix: UNetPrefix}, c}
	width := func(level int) int { return c.ModelChannels * c.ChannelMult[level] }
	levels := len(c.ChannelMult)

	w.linear("time_embed.0", 4*c.ModelChannels, c.ModelChannels)
	w.linear("time_embed.2", 4*c.ModelChannels, 4*c.ModelChannels)
	if c.ADMChannels > 0 {
		w.linear("label_emb.0.0", 4*c.ModelChannels, c.ADMChannels)
		w.linear("label_emb.0.2", 4*c.ModelChannels, 4*c.ModelChannels)
	}
	w.conv("input_blocks.0.0", c.ModelChannels, c.InChannels, 3)
	skips, channels, n := []int{c.ModelChannels}, c.ModelChannels, 1
	for level := range levels {
		for range c.NumResBlocks {
			block := fmt.Sprintf("input_blocks.%d.", n)
			w.residual(block+"0", channels, width(level))
			w.transformer(block+"1", width(level), c.TransformerDepth[level])
			channels = width(level)
			skips, n = append(skips, channels), n+1
		}
		if level+1 < levels {
			w.conv(fmt.Sprintf("input_blocks.%d.0.op", n), channels, channels, 3)
			skips, n = append(skips, channels), n+1
		}
	}
	w.residual("middle_block.0", channels, channels)
	w.transformer("middle_block.1", channels, c.MiddleDepth)
	w.residual("middle_block.2", channels, channels)
	n = 0
	for level := levels - 1; level >= 0; level-- {
		for i := range c.NumResBlocks + 1 {
			block := fmt.Sprintf("output_blocks.%d.", n)
			skip := skips[len(skips)-1]
			skips, n = skips[:len(skips)-1], n+1
			w.residual(block+"0", channels+skip, width(level))
			channels = width(level)
			next := 1
			if c.TransformerDepth[level] > 0 {
				w.transformer(block+"1", channels, c.TransformerDepth[level])
				next = 2
			}
			if level > 0 && i == c.NumResBlocks {
				w.conv(fmt.Sprintf("%s%d.conv", block, next), channels, channels, 3)
			}
		}
	}
	w.norm("out.0", channels)
	w.conv("out.2", c.OutChannels, channels, 3)
	return w.all
}

type unetWants struct {
	wants
	c UNetConfig
}

// residual is a ResBlock.
func (w *unetWants) residual(name string, in, out int) {
	w.norm(name+".in_layers.0", in)
	w.conv(name+".in_layers.2", out, in, 3)
	w.linear(name+".emb_layers.1", out, 4*w.c.ModelChannels)
	w.norm(name+".out_layers.0", out)
	w.conv(name+".out_layers.3", out, out, 3)
	if in != out {
		w.conv(name+".skip_connection", out, in, 1)
	}
}

// transformer is a SpatialTransformer; one of depth 0 is not there.
func (w *unetWants) transformer(name string, channels, depth int) {
	if depth == 0 {
		return
	}
	project := func(name string) { w.conv(name, channels, channels, 1) }
	if w.c.LinearProjection {
		project = func(name string) { w.linear(name, channels, channels) }
	}
	w.norm(name+".norm", channels)
	project(name + ".proj_in")
	for i := range depth {
		block := fmt.Sprintf("%s.transformer_blocks.%d.", name, i)
		for attention, context := range map[string]int{"attn1": channels, "attn2": w.c.ContextDim} {
			w.add(block+attention+".to_q.weight", channels, channels)
			w.add(block+attention+".to_k.weight", channels, context)
			w.add(block+attention+".to_v.weight", channels, context)
			w.linear(block+attention+".to_out.0", channels, channels)
		}
		w.linear(block+"ff.net.0.proj", 8*channels, channels) // GEGLU: value and gate
		w.linear(block+"ff.net.2", channels, 4*channels)
		for _, norm := range []string{"norm1", "norm2", "norm3"} {
			w.norm(block+norm, channels)
		}
	}
	project(name + ".proj_out")
}
