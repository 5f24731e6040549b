package family

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// maxLevels bounds the resolutions of a network; Stable Diffusion has 4.
const maxLevels = 8

// UNet reads the configuration of latent diffusion's UNet, but for its heads,
// which no shape tells.
func (r *Reader) UNet() (c UNetConfig) {
	p := model.UNetPrefix
	if r.Has(p + "label_emb.weight") {
		c.Classes = r.Shape(p+"label_emb.weight", 2)[0]
	}
	unetInput(r, &c)
	c.OutChannels = r.Shape(p+"out.2.weight", 4)[0]
	r.unetDown(&c)
	r.unetMiddle(&c)
	r.unetOutput(&c)
	c.uniform()
	if r.Has(p + condProj) {
		c.GuidanceDim = r.Shape(p+condProj, 2)[1]
	}
	return c
}

// unetInput reads what the UNet takes.
func unetInput(r *Reader, c *UNetConfig) {
	p := model.UNetPrefix
	if r.Has(p + "label_emb.0.0.weight") {
		c.ADMChannels = r.Shape(p+"label_emb.0.0.weight", 2)[1]
	}
	in := r.Shape(p+"input_blocks.0.0.weight", 4)
	c.ModelChannels, c.InChannels = in[0], in[1]
}

// unetDown reads the way down.
func (r *Reader) unetDown(c *UNetConfig) {
	p := model.UNetPrefix
	blocks := 0
	for n := 1; r.err == nil; n++ {
		name := fmt.Sprintf("%sinput_blocks.%d.", p, n)
		down, res := r.Has(name+"0.op.weight"), r.Has(name+"0.in_layers.2.weight")
		if !down && !res {
			break
		}
		if res {
			r.unetBlock(c, name, blocks)
			blocks++
			continue
		}
		r.endLevel(c, blocks)
		blocks = 0
	}
	r.endLevel(c, blocks)
	if len(c.ChannelMult) > maxLevels {
		r.Fail("a UNet must have at most %d levels, got %d", maxLevels, len(c.ChannelMult))
	}
	if c.CrossOnly != nil {
		c.CrossOnly = append(c.CrossOnly, make([]bool, len(c.ChannelMult)-len(c.CrossOnly))...)
	}
}

// condProj is the weight that LCM's UNets have for the guidance scale.
const condProj = "time_embed.cond_proj.weight"

// unetMiddle reads the middle block, of which pruned networks lack the attention, all
// but one residual block, or the whole.
func (r *Reader) unetMiddle(c *UNetConfig) {
	p := model.UNetPrefix + "middle_block."
	c.MiddleDepth = r.unetDepth(c, p)
	if c.MiddleDepth > 0 {
		return
	}
	has := func(block string) bool { return r.Has(p + block + ".in_layers.2.weight") }
	switch {
	case has("2"):
		c.MiddleDepth = 0
	case has("0"):
		c.MiddleDepth = halfMiddle
	default:
		c.MiddleDepth = noMiddle
	}
}

// unetOutput notes the depths of the way up.
func (r *Reader) unetOutput(c *UNetConfig) {
	for n := range len(c.ChannelMult) * (c.NumResBlocks + 1) {
		if r.err != nil {
			return
		}
		c.OutputDepth = append(c.OutputDepth, r.unetDepth(c, fmt.Sprintf("%soutput_blocks.%d.", model.UNetPrefix, n)))
	}
	if n := max(len(c.InputDepth), len(c.OutputDepth)); n > maxBlocks && !c.isUniform() {
		r.Fail("a UNet of %d blocks of different depths, at most %d are possible: %w", n, maxBlocks, model.ErrUnrecognized)
	}
}

// maxBlocks bounds the residual blocks of one direction whose depths differ within a
// level: a hyperparameter of package cgo is a list of at most so many.
const maxBlocks = 16

// maxDepth bounds the transformer blocks after a residual block; SDXL has 10.
const maxDepth = 32

// unetDepth is the number of transformer blocks of a block whose tensors begin with a
// prefix. The first of all also tells what their attention takes.
func (r *Reader) unetDepth(c *UNetConfig, block string) int {
	depth := r.Count(block + "1.transformer_blocks.%d.norm1.weight")
	if depth > maxDepth {
		r.Fail("%s: at most %d transformer blocks after another are possible, got %d", strings.TrimSuffix(block, "."), maxDepth, depth)
	}
	if depth > 0 && c.ContextDim == 0 {
		c.ContextDim = r.Shape(block+"1.transformer_blocks.0.attn2.to_k.weight", 2)[1]
		t, _ := r.Model.Tensor(block + "1.proj_in.weight")
		c.LinearProjection = len(t.Shape) == 2
	}
	return depth
}

// isUniform reports whether all blocks of a level have its TransformerDepth.
func (c *UNetConfig) isUniform() bool {
	plain := UNetConfig{NumResBlocks: c.NumResBlocks, TransformerDepth: c.TransformerDepth}
	return slices.Equal(c.InputDepth, plain.inputDepths()) && slices.Equal(c.OutputDepth, plain.outputDepths())
}

// uniform leaves out the depths of each block where TransformerDepth says them all; else
// that becomes the most of each level.
func (c *UNetConfig) uniform() {
	if c.isUniform() {
		c.InputDepth, c.OutputDepth = nil, nil
		return
	}
	levels, blocks := len(c.TransformerDepth), c.NumResBlocks
	for i, depth := range c.InputDepth {
		if level := i / max(blocks, 1); level < levels {
			c.TransformerDepth[level] = max(c.TransformerDepth[level], depth)
		}
	}
	for i, depth := range c.OutputDepth {
		level := levels - 1 - i/(blocks+1)
		c.TransformerDepth[level] = max(c.TransformerDepth[level], depth)
	}
}

// unetBlock notes a residual block of the way down: its width, which all blocks of a
// level share, and its depth of attention.
func (r *Reader) unetBlock(c *UNetConfig, name string, index int) {
	width := r.Shape(name+"0.in_layers.2.weight", 4)[0]
	depth := r.unetDepth(c, name)
	if c.ModelChannels == 0 || width%c.ModelChannels != 0 {
		r.Fail("tensor %q must have a multiple of the first level's %d channels, got %d", name+"0.in_layers.2.weight", c.ModelChannels, width)
		return
	}
	c.InputDepth = append(c.InputDepth, depth)
	mult := width / c.ModelChannels
	if index == 0 {
		if depth > 0 {
			crossOnly(r, c, name, width)
		}
		c.ChannelMult, c.TransformerDepth = append(c.ChannelMult, mult), append(c.TransformerDepth, depth)
		return
	}
	last := len(c.ChannelMult) - 1
	if c.ChannelMult[last] != mult {
		r.Fail("%s: blocks of one level differ in width: %w", strings.TrimSuffix(name, "."), model.ErrUnrecognized)
	}
}

// crossOnly notes whether a level's first transformer attends to the text alone, which
// shows in the width of what it takes unless the text is as wide as the level.
func crossOnly(r *Reader, c *UNetConfig, name string, width int) {
	if from := r.Shape(name+"1.transformer_blocks.0.attn1.to_k.weight", 2)[1]; from == width || from != c.ContextDim {
		return // of another width it is an error when the weights are checked
	}
	level := len(c.ChannelMult)
	for len(c.CrossOnly) <= level {
		c.CrossOnly = append(c.CrossOnly, false)
	}
	c.CrossOnly[level] = true
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

// What metadata may say of attention; SD's have 8 heads, SDXL's 64 channels in each.
const (
	maxHeads   = 1 << 10
	maxHeadDim = 1 << 12
)

// headList reads the numbers of heads that the diffusers library lists for each
// level: either they are one number, or the heads have one width.
func (r *Reader) headList(c *UNetConfig) {
	text, ok := r.Model.Metadata[keyUNetHeadList]
	if !ok || r.err != nil {
		return
	}
	heads, err := intList(text)
	if err != nil || len(heads) != len(c.ChannelMult) || heads[0] < 1 || slices.Max(heads) > maxHeads {
		r.Fail("unet: heads must be a number from 1 to %d for each of %d levels, got %.40q", maxHeads, len(c.ChannelMult), text)
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
	case width > 0 && width <= maxHeadDim:
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
