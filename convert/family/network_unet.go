package family

import (
	"fmt"
	"slices"

	"github.com/sdgo/sdgo/convert/model"
)

// UNetConfig describes the UNet of latent diffusion.
type UNetConfig struct {
	InChannels       int
	OutChannels      int
	ModelChannels    int   // channels at full resolution: 320
	ChannelMult      []int // channels of each level, in ModelChannels: 1 2 4 4
	NumResBlocks     int   // residual blocks of each level on the way down: 2; one more on the way up
	TransformerDepth []int // transformer blocks after each residual block of a level; 0 where it has no attention
	MiddleDepth      int   // transformer blocks in the middle, between two residual blocks; 0: these alone, -1: one of them, -2: no middle
	ContextDim       int   // width of the text's embedding; 0 where nothing attends to text
	ADMChannels      int   // width of the vector that is added to the time's embedding: sizes and pooled text in SDXL; 0 elsewhere

	// InputDepth and OutputDepth are the transformer blocks after each residual block of
	// the way down and up, in the file's order, where those of a level differ, as in
	// SSD-1B; nil elsewhere. TransformerDepth is then the most of a level's blocks.
	InputDepth, OutputDepth []int

	// GuidanceDim is the width of the embedding of the guidance scale, which LCM's UNets
	// take in place of a second prediction; 0 elsewhere.
	GuidanceDim int

	// Of the x4 upscaler: Classes are the rows of a table of which one is added to the time's
	// embedding, CrossOnly the levels whose transformers attend to the text twice, and not
	// to themselves. 0 and nil elsewhere.
	Classes   int    `json:",omitzero"`
	CrossOnly []bool `json:",omitempty"`

	// Exactly one of Heads, the same at every level, and HeadDim, of which each
	// level has as many as fit its channels, is not 0.
	Heads, HeadDim int

	// LinearProjection says that the layers around a transformer are linear
	// ([C, C]), as in SD 2.x, and not 1x1 convolutions ([C, C, 1, 1]).
	LinearProjection bool

	Norms NormConfig `json:",omitzero"`
}

// Params are the hyperparameters of the network "unet".
func (c UNetConfig) Params() map[string][]float64 {
	params := c.Norms.params(map[string][]float64{
		"in_channels": one(c.InChannels), "out_channels": one(c.OutChannels), "model_channels": one(c.ModelChannels),
		"channel_mult": each(c.ChannelMult), "num_res_blocks": one(c.NumResBlocks), "transformer_depth": each(c.TransformerDepth),
		"middle_depth": one(c.MiddleDepth), "context_dim": one(c.ContextDim), "adm_channels": one(c.ADMChannels),
		"heads": one(c.Heads), "head_dim": one(c.HeadDim),
	})
	if c.InputDepth != nil || c.OutputDepth != nil {
		params["input_depth"], params["output_depth"] = each(c.inputDepths()), each(c.outputDepths())
	}
	if c.GuidanceDim > 0 {
		params["guidance_dim"] = one(c.GuidanceDim)
	}
	if c.Classes > 0 {
		params["classes"] = one(c.Classes)
	}
	if c.CrossOnly != nil {
		itself := make([]float64, len(c.CrossOnly))
		for level, cross := range c.CrossOnly {
			if !cross {
				itself[level] = 1
			}
		}
		params["self_attention"] = itself
	}
	return params
}

// inputDepths are the transformer blocks after each residual block of the way down.
func (c UNetConfig) inputDepths() (all []int) {
	if c.InputDepth != nil {
		return c.InputDepth
	}
	for _, depth := range c.TransformerDepth {
		all = append(all, slices.Repeat([]int{depth}, c.NumResBlocks)...)
	}
	return all
}

// outputDepths are those of the way up.
func (c UNetConfig) outputDepths() (all []int) {
	if c.OutputDepth != nil {
		return c.OutputDepth
	}
	for _, depth := range slices.Backward(c.TransformerDepth) {
		all = append(all, slices.Repeat([]int{depth}, c.NumResBlocks+1)...)
	}
	return all
}

// Weights are those of latent diffusion's UNet, as CompVis names them
// (ldm/modules/diffusionmodules/openaimodel.py, UNetModel).
func (c UNetConfig) Weights() []Weight {
	w := &unetWeights{weights{prefix: model.UNetPrefix}, c}
	levels, width := len(c.ChannelMult), w.width

	w.linear("time_embed.0", 4*c.ModelChannels, c.ModelChannels)
	w.linear("time_embed.2", 4*c.ModelChannels, 4*c.ModelChannels)
	if c.GuidanceDim > 0 {
		w.add("time_embed.cond_proj.weight", c.ModelChannels, c.GuidanceDim)
	}
	if c.ADMChannels > 0 {
		w.linear("label_emb.0.0", 4*c.ModelChannels, c.ADMChannels)
		w.linear("label_emb.0.2", 4*c.ModelChannels, 4*c.ModelChannels)
	}
	if c.Classes > 0 {
		w.add("label_emb.weight", c.Classes, 4*c.ModelChannels)
	}
	w.conv("input_blocks.0.0", c.ModelChannels, c.InChannels, 3)
	skips := w.down()
	w.middle(width(levels - 1))
	w.up(skips)
	w.norm("out.0", width(0))
	w.conv("out.2", c.OutChannels, width(0), 3)
	return w.all
}

// Middle blocks with less than two residual blocks, as MiddleDepth has them.
const (
	halfMiddle = -1 // one residual block
	noMiddle   = -2
)

type unetWeights struct {
	weights
	c UNetConfig
}

// width is the number of channels of a level.
func (w *unetWeights) width(level int) int { return w.c.ModelChannels * w.c.ChannelMult[level] }

// down adds the input blocks but the first, and returns the channels of what each
// passes on to the output blocks.
func (w *unetWeights) down() []int {
	depths, channels, n := w.c.inputDepths(), w.c.ModelChannels, 1
	skips := []int{channels}
	for level := range w.c.ChannelMult {
		for i := range w.c.NumResBlocks {
			block := fmt.Sprintf("input_blocks.%d.", n)
			w.residual(block+"0", channels, w.width(level))
			channels = w.width(level)
			w.transformer(block+"1", channels, depths[level*w.c.NumResBlocks+i], w.crossOnly(level))
			skips, n = append(skips, channels), n+1
		}
		if level+1 < len(w.c.ChannelMult) {
			w.conv(fmt.Sprintf("input_blocks.%d.0.op", n), channels, channels, 3)
			skips, n = append(skips, channels), n+1
		}
	}
	return skips
}

// middle adds the middle block.
func (w *unetWeights) middle(channels int) {
	if w.c.MiddleDepth > noMiddle {
		w.residual("middle_block.0", channels, channels)
	}
	if w.c.MiddleDepth > halfMiddle {
		w.transformer("middle_block.1", channels, w.c.MiddleDepth, false)
		w.residual("middle_block.2", channels, channels)
	}
}

// up adds the output blocks.
func (w *unetWeights) up(skips []int) {
	depths, levels, n := w.c.outputDepths(), len(w.c.ChannelMult), 0
	channels := w.width(levels - 1)
	for level := levels - 1; level >= 0; level-- {
		for i := range w.c.NumResBlocks + 1 {
			block := fmt.Sprintf("output_blocks.%d.", n)
			w.residual(block+"0", channels+skips[len(skips)-1], w.width(level))
			channels = w.width(level)
			w.transformer(block+"1", channels, depths[n], w.crossOnly(level))
			if level > 0 && i == w.c.NumResBlocks {
				after := 1
				if depths[n] > 0 {
					after = 2
				}
				w.conv(fmt.Sprintf("%s%d.conv", block, after), channels, channels, 3)
			}
			skips, n = skips[:len(skips)-1], n+1
		}
	}
}

// residual is a ResBlock.
func (w *unetWeights) residual(name string, in, out int) {
	w.norm(name+".in_layers.0", in)
	w.conv(name+".in_layers.2", out, in, 3)
	w.linear(name+".emb_layers.1", out, 4*w.c.ModelChannels)
	w.norm(name+".out_layers.0", out)
	w.conv(name+".out_layers.3", out, out, 3)
	if in != out {
		w.conv(name+".skip_connection", out, in, 1)
	}
}

// crossOnly reports whether a level's transformers do not attend to themselves.
func (w *unetWeights) crossOnly(level int) bool {
	return level < len(w.c.CrossOnly) && w.c.CrossOnly[level]
}

// transformer is a SpatialTransformer; there is none of depth 0.
func (w *unetWeights) transformer(name string, channels, depth int, crossOnly bool) {
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
		first := channels
		if crossOnly {
			first = w.c.ContextDim
		}
		for attention, context := range map[string]int{"attn1": first, "attn2": w.c.ContextDim} {
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
