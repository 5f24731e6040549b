package family

import (
	"fmt"
	"strconv"
	"strings"

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
	MiddleDepth      int   // transformer blocks in the middle
	ContextDim       int   // width of the text's embedding; 0 where nothing attends to text
	ADMChannels      int   // width of the vector that is added to the time's embedding: sizes and pooled text in SDXL; 0 elsewhere

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
	return c.Norms.params(map[string][]float64{
		"in_channels": one(c.InChannels), "out_channels": one(c.OutChannels), "model_channels": one(c.ModelChannels),
		"channel_mult": each(c.ChannelMult), "num_res_blocks": one(c.NumResBlocks), "transformer_depth": each(c.TransformerDepth),
		"middle_depth": one(c.MiddleDepth), "context_dim": one(c.ContextDim), "adm_channels": one(c.ADMChannels),
		"heads": one(c.Heads), "head_dim": one(c.HeadDim),
	})
}

// Weights are those of latent diffusion's UNet, as CompVis names them
// (ldm/modules/diffusionmodules/openaimodel.py, UNetModel).
func (c UNetConfig) Weights() []Weight {
	w := &unetWeights{weights{prefix: model.UNetPrefix}, c}
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

type unetWeights struct {
	weights
	c UNetConfig
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

// transformer is a SpatialTransformer; there is none of depth 0.
func (w *unetWeights) transformer(name string, channels, depth int) {
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

// maxLevels bounds the resolutions of a network; Stable Diffusion has 4.
const maxLevels = 8

// UNet reads the configuration of latent diffusion's UNet, but for its heads,
// which no shape tells.
func (r *Reader) UNet() (c UNetConfig) {
	p := model.UNetPrefix
	if r.Has(p + "label_emb.0.0.weight") {
		c.ADMChannels = r.Shape(p+"label_emb.0.0.weight", 2)[1]
	}
	in := r.Shape(p+"input_blocks.0.0.weight", 4)
	c.ModelChannels, c.InChannels = in[0], in[1]
	c.OutChannels = r.Shape(p+"out.2.weight", 4)[0]

	blocks := 0
	for n := 1; r.err == nil; n++ {
		name := fmt.Sprintf("%sinput_blocks.%d.", p, n)
		down, res := r.Has(name+"0.op.weight"), r.Has(name+"0.in_layers.2.weight")
		if !down && !res {
			break
		}
		if res {
			r.unetBlock(&c, name, blocks)
			blocks++
			continue
		}
		r.endLevel(&c, blocks)
		blocks = 0
	}
	r.endLevel(&c, blocks)
	if len(c.ChannelMult) > maxLevels {
		r.Fail("a UNet must have at most %d levels, got %d", maxLevels, len(c.ChannelMult))
	}
	c.MiddleDepth = r.Count(p + "middle_block.1.transformer_blocks.%d.norm1.weight")
	return c
}

// unetBlock notes a residual block of the way down: its width and its depth of
// attention, which all blocks of a level share.
func (r *Reader) unetBlock(c *UNetConfig, name string, index int) {
	width := r.Shape(name+"0.in_layers.2.weight", 4)[0]
	depth := r.Count(name + "1.transformer_blocks.%d.norm1.weight")
	if c.ModelChannels == 0 || width%c.ModelChannels != 0 {
		r.Fail("tensor %q must have a multiple of the first level's %d channels, got %d", name+"0.in_layers.2.weight", c.ModelChannels, width)
		return
	}
	if depth > 0 {
		c.ContextDim = r.Shape(name+"1.transformer_blocks.0.attn2.to_k.weight", 2)[1]
		t, _ := r.Model.Tensor(name + "1.proj_in.weight")
		c.LinearProjection = len(t.Shape) == 2
	}
	mult := width / c.ModelChannels
	if index == 0 {
		c.ChannelMult, c.TransformerDepth = append(c.ChannelMult, mult), append(c.TransformerDepth, depth)
		return
	}
	last := len(c.ChannelMult) - 1
	if c.ChannelMult[last] != mult || c.TransformerDepth[last] != depth {
		r.Fail("%s: blocks of one level differ in width or depth: %w", strings.TrimSuffix(name, "."), model.ErrUnrecognized)
	}
}

// endLevel ends a level of the way down that had n blocks.
func (r *Reader) endLevel(c *UNetConfig, n int) {
	if c.NumResBlocks == 0 {
		c.NumResBlocks = n
	}
	if r.err == nil && (n == 0 || n != c.NumResBlocks) {
		r.Fail("a UNet whose levels have %d and %d blocks: %w", c.NumResBlocks, n, model.ErrUnrecognized)
	}
}

// headList reads the numbers of heads that the diffusers library lists for each
// level: either they are one number, or the heads have one width.
func (r *Reader) headList(c *UNetConfig) {
	text, ok := r.Model.Metadata[keyUNetHeadList]
	if !ok || r.err != nil {
		return
	}
	heads, err := intList(text)
	if err != nil || len(heads) != len(c.ChannelMult) || heads[0] < 1 {
		r.Fail("unet: heads must be a positive number for each of %d levels, got %.40q", len(c.ChannelMult), text)
		return
	}
	same, width := true, c.ModelChannels*c.ChannelMult[0]/heads[0]
	for i, h := range heads {
		same = same && h == heads[0]
		if h*width != c.ModelChannels*c.ChannelMult[i] {
			width = 0
		}
	}
	switch {
	case same:
		c.Heads, c.HeadDim = heads[0], 0
	case width > 0:
		c.Heads, c.HeadDim = 0, width
	default:
		r.Fail("unet: heads %s do not divide the widths of the levels: %w", text, model.ErrUnrecognized)
	}
}

// intList reads whole numbers that spaces separate.
func intList(text string) ([]int, error) {
	var list []int
	for _, field := range strings.Fields(text) {
		n, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}
