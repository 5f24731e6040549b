package layout

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/sdgo/sdgo/convert/model"
)

// PixelStages are the sizes of a UNet without text, which its names tell.
type PixelStages struct {
	Levels, Blocks int
	Attention      map[int]bool // of the way up: levels with attention, counted from full resolution
	LastAlone      bool         // that have it once, after their last block
	PerLevel       []int        // blocks, where levels differ; nil: Blocks in each
}

// blocks is the number of residual blocks of a level on the way down.
func (s PixelStages) blocks(level int) int {
	if s.PerLevel != nil {
		return s.PerLevel[level]
	}
	return s.Blocks
}

// first are the numbers of a level's first input block and first output block.
func (s PixelStages) first(level int) (input, output int) {
	input = 1
	for k := range s.Levels {
		switch n := s.blocks(k) + 1; {
		case k < level:
			input += n
		case k > level:
			output += n
		}
	}
	return input, output
}

// pixelLayout is how a program names the modules of a UNet without text. Levels
// are counted from full resolution. A function that is nil gives names that the
// layout does not have.
type pixelLayout struct {
	others                map[string]string // canonical name of a layer to the layout's
	residual, attention   map[string]string // names within, canonical to the layout's
	qkv                   []string          // the pieces of a layer of queries, keys and values, within attention
	queries               map[string]bool   // the layout's attentions that have queries alone
	kv                    []string          // the pieces of a layer of a text's keys and values
	middle                [3]string
	down, downAttention   func(level, block int) string
	up, upAttention       func(level, block int) string
	halveConv, halveBlock func(level int) string // after a level
	enlargeConv           func(level int) string
	enlargeBlock          func(level int) string
	inputPyramid          func(level int) string // a layer
	outputPyramid         func(level int) (norm, conv string)
}

// table lists the layers, as Fuse takes them.
func (p *pixelLayout) table(s PixelStages) (all []Fusion) {
	residual := func(canonical, theirs string) { all = append(all, p.block(canonical, theirs)...) }
	attention := func(canonical, theirs string) {
		for inner, other := range p.attention {
			all = append(all, One(canonical+"."+inner, theirs+"."+other))
		}
		fused := func(layer string, from []string) {
			pieces := make([]string, len(from))
			for i, piece := range from {
				pieces[i] = theirs + "." + piece
			}
			if len(pieces) > 0 {
				all = append(all, Fusion{LDM: canonical + layer, Diffusers: pieces})
			}
		}
		qkv := p.qkv
		if p.queries[theirs] {
			qkv = qkv[:1]
		}
		fused(".qkv", qkv)
		fused(".encoder_kv", p.kv)
	}
	for canonical, theirs := range p.others {
		all = append(all, One(canonical, theirs))
	}
	residual("middle_block.0", p.middle[0])
	attention("middle_block.1", p.middle[1])
	residual("middle_block.2", p.middle[2])
	for level := range s.Levels {
		blocks := s.blocks(level)
		first, from := s.first(level)
		for block := range blocks {
			name := fmt.Sprintf("input_blocks.%d", first+block)
			residual(name+".0", p.down(level, block))
			attention(name+".1", p.downAttention(level, block))
		}
		for block := range blocks + 1 {
			name := fmt.Sprintf("output_blocks.%d", from+block)
			residual(name+".0", p.up(level, block))
			if !s.LastAlone || block == blocks {
				attention(name+".1", p.upAttention(level, block))
			}
		}
		all = append(all, p.between(s, level)...)
	}
	return all
}

// block lists the layers of a residual block.
func (p *pixelLayout) block(canonical, theirs string) (all []Fusion) {
	for inner, other := range p.residual {
		all = append(all, One(canonical+"."+inner, theirs+"."+other))
	}
	return all
}

// between lists the layers that change the size after a level, and those of the pyramids.
func (p *pixelLayout) between(s PixelStages, level int) (all []Fusion) {
	blocks, after := s.blocks(level), 1
	if s.Attention[level] {
		after = 2
	}
	first, from := s.first(level)
	halve, enlarge := fmt.Sprintf("input_blocks.%d.0", first+blocks), fmt.Sprintf("output_blocks.%d.%d", from+blocks, after)
	if p.halveConv != nil && level+1 < s.Levels {
		all = append(all, One(halve+".op", p.halveConv(level)))
	}
	if p.halveBlock != nil && level+1 < s.Levels {
		all = append(all, p.block(halve, p.halveBlock(level))...)
	}
	if p.enlargeConv != nil && level > 0 {
		all = append(all, One(enlarge+".conv", p.enlargeConv(level)))
	}
	if p.enlargeBlock != nil && level > 0 {
		all = append(all, p.block(enlarge, p.enlargeBlock(level))...)
	}
	if p.inputPyramid != nil && level > 0 {
		all = append(all, One(fmt.Sprintf("input_pyramid.%d", level), p.inputPyramid(level)))
	}
	if p.outputPyramid != nil {
		norm, conv := p.outputPyramid(level)
		all = append(all, One(fmt.Sprintf("output_pyramid.%d.0", level), norm), One(fmt.Sprintf("output_pyramid.%d.2", level), conv))
	}
	return all
}

// The names of guided diffusion, and the diffusers library's and the DDPM's for them.
var (
	pixelResidual = map[string]string{"in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj",
		"out_layers.0": "norm2", "out_layers.3": "conv2", "skip_connection": "conv_shortcut"}
	ddpmResidual = map[string]string{"in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "temb_proj",
		"out_layers.0": "norm2", "out_layers.3": "conv2", "skip_connection": "nin_shortcut"}
)

// numbersIn fills two numbers into a name.
func numbersIn(format string) func(level, block int) string {
	return func(level, block int) string { return fmt.Sprintf(format, level, block) }
}

func levelName(format string) func(level int) string {
	return func(level int) string { return fmt.Sprintf(format, level) }
}

// diffusersStages are the sizes of one of the diffusers library's UNets.
func diffusersStages(all []model.Stored) PixelStages {
	levels, blocks, _ := Stages(all, "down")
	_, _, up := Stages(all, "up")
	s := PixelStages{Levels: levels, Blocks: blocks, Attention: map[int]bool{}}
	for level := range levels {
		s.Attention[level] = up[levels-1-level]
	}
	return s
}

// diffusersPixel is the layout of the diffusers library's UNets of so many levels.
func diffusersPixel(levels int) pixelLayout {
	upwards := func(format string) func(level, block int) string { // counted from the lowest resolution
		return func(level, block int) string { return fmt.Sprintf(format, levels-1-level, block) }
	}
	upward := func(format string) func(level int) string {
		return func(level int) string { return fmt.Sprintf(format, levels-1-level) }
	}
	return pixelLayout{
		others: map[string]string{"input_blocks.0.0": "conv_in", "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
			"time_embed.frequencies": "time_proj.weight", "label_emb": "class_embedding", "out.0": "conv_norm_out", "out.2": "conv_out"},
		residual: pixelResidual, attention: map[string]string{"norm": "group_norm", "proj_out": "to_out.0"}, qkv: []string{"to_q", "to_k", "to_v"},
		middle: [3]string{"mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"},
		down:   numbersIn("down_blocks.%d.resnets.%d"), downAttention: numbersIn("down_blocks.%d.attentions.%d"),
		up: upwards("up_blocks.%d.resnets.%d"), upAttention: upwards("up_blocks.%d.attentions.%d"),
		halveConv: levelName("down_blocks.%d.downsamplers.0.conv"), enlargeConv: upward("up_blocks.%d.upsamplers.0.conv"),
		halveBlock: levelName("down_blocks.%d.downsamplers.0"), enlargeBlock: upward("up_blocks.%d.upsamplers.0"),
	}
}

// DiffusersPixelTable lists the layers of the diffusers library's UNet2DModel.
func DiffusersPixelTable(all []model.Stored) []Fusion {
	s := diffusersStages(all)
	levels, skip := s.Levels, Contains(all, "resnet_down.")
	s.LastAlone = skip
	p := diffusersPixel(levels)
	if Contains(all, ".proj_attn.") { // before version 0.15
		p.attention["proj_out"], p.qkv = "proj_attn", []string{"query", "key", "value"}
	}
	if skip {
		p.halveBlock, p.enlargeBlock = levelName("down_blocks.%d.resnet_down"), func(level int) string { return fmt.Sprintf("up_blocks.%d.resnet_up", levels-1-level) }
		p.upAttention = func(level, _ int) string { return fmt.Sprintf("up_blocks.%d.attentions.0", levels-1-level) }
		p.inputPyramid = func(level int) string { return fmt.Sprintf("down_blocks.%d.skip_conv", level-1) }
		p.outputPyramid = func(level int) (norm, conv string) {
			if level == 0 {
				return "conv_norm_out", "conv_out"
			}
			name := fmt.Sprintf("up_blocks.%d.skip_", levels-1-level)
			return name + "norm", name + "conv"
		}
		delete(p.others, "out.0")
		delete(p.others, "out.2")
	}
	return p.table(s)
}

var ddpmStage = regexp.MustCompile(`^(down|up)\.(\d{1,2})\.(block|attn)\.(\d{1,2})\.`)

// DDPMPixelTable lists the layers of the DDPM's PyTorch port (Ho et al. 2020).
func DDPMPixelTable(all []model.Stored) []Fusion {
	s := PixelStages{Attention: map[int]bool{}}
	for _, t := range all {
		m := ddpmStage.FindStringSubmatch(t.Name)
		if m == nil {
			continue
		}
		level, _ := strconv.Atoi(m[2])
		block, _ := strconv.Atoi(m[4])
		s.Levels = max(s.Levels, level+1)
		if m[1] == "down" {
			s.Blocks = max(s.Blocks, block+1)
		} else if m[3] == "attn" {
			s.Attention[level] = true
		}
	}
	p := pixelLayout{
		others: map[string]string{"input_blocks.0.0": "conv_in", "time_embed.0": "temb.dense.0", "time_embed.2": "temb.dense.1",
			"out.0": "norm_out", "out.2": "conv_out"},
		residual: ddpmResidual, attention: map[string]string{"norm": "norm", "proj_out": "proj_out"}, qkv: []string{"q", "k", "v"},
		middle: [3]string{"mid.block_1", "mid.attn_1", "mid.block_2"},
		down:   numbersIn("down.%d.block.%d"), downAttention: numbersIn("down.%d.attn.%d"),
		up: numbersIn("up.%d.block.%d"), upAttention: numbersIn("up.%d.attn.%d"),
		halveConv: levelName("down.%d.downsample.conv"), enlargeConv: levelName("up.%d.upsample.conv"),
	}
	return p.table(s)
}
