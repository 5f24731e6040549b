package family

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// ControlNet is the network of Zhang et al. (2023): a UNet's way down, with a
// convolution after each block, and some before the first for the hint.
const ControlNet = "controlnet"

var controlNet = &Family{
	Name: ControlNet,
	Looks: []Look{
		{"a ControlNet", []string{"control_model.zero_convs.0.0.weight", notWhole}},
		{"a ControlNet", []string{"zero_convs.0.0.weight", "input_hint_block.0.weight", notWhole}},
		{"a ControlNet in the diffusers library's layout", []string{"controlnet_cond_embedding.conv_in.weight", "!up_blocks.*"}},
		{"a ControlNet", []string{"controlnet_blocks.0.weight"}},
	},
	Names: func(all []model.Stored) layout.Rename {
		if !layout.Contains(all, "controlnet_cond_embedding.") {
			return nil
		}
		levels, blocks, _ := layout.Stages(all, "down")
		known := layout.Renamer("control_model.", controlNetModules(levels, blocks))
		return func(name string) (string, bool) {
			if beginsWith(name, "task_embedding", "transformer_layes.", "spatial_ch_projs.", "control_add_embedding.") {
				return "control_model." + name, true
			}
			return known(name)
		}
	},
	Owns: func(name string) bool {
		return beginsWith(name, "control_model.", "controlnet_", "zero_convs.", "input_hint_block.",
			"input_blocks.", "middle_block", "time_embed.", "label_emb.", // of the original layout
			"conv_in.", "down_blocks.", "mid_block.", "time_embedding.", "add_embedding.", "class_embedding.",
			"task_embedding", "transformer_layes.", "spatial_ch_projs.", "control_add_embedding.") // of ControlNet++
	},
	Runs:       true,
	Read:       func(r *Reader) any { return readControlNet(r) },
	Complete:   nameControlNet,
	Properties: unetProperties,
}

// notWhole tells ControlNets, which have no way up, from UNets.
const notWhole = "!*output_blocks.*"

// hintLayers are the convolutions of the hint: 8, with a SiLU between them.
const hintLayers = 8

func controlNetModules(levels, blocks int) []layout.Module {
	modules := append(layout.UNetModules(levels, blocks, nil), layout.Module{Diffusers: "controlnet_mid_block", LDM: "middle_block_out.0"})
	for i := range levels * (blocks + 1) {
		modules = append(modules, layout.Module{Diffusers: fmt.Sprintf("controlnet_down_blocks.%d", i), LDM: fmt.Sprintf("zero_convs.%d.0", i)})
	}
	for i := range hintLayers {
		name := fmt.Sprintf("controlnet_cond_embedding.blocks.%d", i-1)
		switch i {
		case 0:
			name = "controlnet_cond_embedding.conv_in"
		case hintLayers - 1:
			name = "controlnet_cond_embedding.conv_out"
		}
		modules = append(modules, layout.Module{Diffusers: name, LDM: fmt.Sprintf("input_hint_block.%d", 2*i)})
	}
	return modules
}
