package layout

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/model"
)

var unetResnet = map[string]string{
	"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
	"norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}

// UNetNames renames the tensors of the diffusers library's UNet2DConditionModel
// to canonical names. Which modules there are is counted from all of them.
func UNetNames(all []model.Stored) Rename {
	levels, blocks, _ := Stages(all, "down")
	_, _, attention := Stages(all, "up")
	return Renamer(model.UNetPrefix, UNetModules(levels, blocks, attention))
}

// UNetModules are the modules of latent diffusion's UNet with a number of levels
// and of residual blocks in each. attention says which levels of the way up have
// attention, counted from the lowest resolution.
func UNetModules(levels, blocks int, attention map[int]bool) []Module {
	modules := []Module{
		{"conv_in", "input_blocks.0.0", nil},
		{"time_embedding.linear_1", "time_embed.0", nil},
		{"time_embedding.linear_2", "time_embed.2", nil},
		{"time_embedding.cond_proj", "time_embed.cond_proj", nil}, // LCM's
		{"class_embedding", "label_emb", nil},                     // the x4 upscaler's
		{"add_embedding.linear_1", "label_emb.0.0", nil},
		{"add_embedding.linear_2", "label_emb.0.2", nil},
		{"mid_block.resnets.0", "middle_block.0", unetResnet},
		{"mid_block.attentions.0", "middle_block.1", nil},
		{"mid_block.resnets.1", "middle_block.2", unetResnet},
		{"conv_norm_out", "out.0", nil},
		{"conv_out", "out.2", nil},
	}
	// The original layout numbers blocks and samplers in one sequence.
	for level := range levels {
		in, out := 1+level*(blocks+1), level*(blocks+1)
		for block := range blocks {
			modules = append(modules,
				Module{fmt.Sprintf("down_blocks.%d.resnets.%d", level, block), fmt.Sprintf("input_blocks.%d.0", in+block), unetResnet},
				Module{fmt.Sprintf("down_blocks.%d.attentions.%d", level, block), fmt.Sprintf("input_blocks.%d.1", in+block), nil})
		}
		for block := range blocks + 1 {
			modules = append(modules,
				Module{fmt.Sprintf("up_blocks.%d.resnets.%d", level, block), fmt.Sprintf("output_blocks.%d.0", out+block), unetResnet},
				Module{fmt.Sprintf("up_blocks.%d.attentions.%d", level, block), fmt.Sprintf("output_blocks.%d.1", out+block), nil})
		}
		after := 1
		if attention[level] {
			after = 2
		}
		modules = append(modules,
			Module{fmt.Sprintf("down_blocks.%d.downsamplers.0.conv", level), fmt.Sprintf("input_blocks.%d.0.op", in+blocks), nil},
			Module{fmt.Sprintf("up_blocks.%d.upsamplers.0.conv", level), fmt.Sprintf("output_blocks.%d.%d.conv", out+blocks, after), nil})
	}
	return modules
}
