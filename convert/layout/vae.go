package layout

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/model"
)

var (
	vaeResnet    = map[string]string{"conv_shortcut": "nin_shortcut"}
	vaeAttention = map[string]string{
		"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
		"query": "q", "key": "k", "value": "v", "proj_attn": "proj_out",
	}
)

// directions are how the halves of an autoencoder name their levels.
var directions = map[string]string{"encoder": "down", "decoder": "up"}

// VAENames renames the tensors of the diffusers library's AutoencoderKL to
// canonical names. Which modules there are is counted from all of them.
func VAENames(all []model.Stored) Rename {
	return Renamer(model.VAEPrefix, VAEModules(func(half string) (levels, blocks int) {
		levels, blocks, _ = Stages(all, directions[half])
		return levels, blocks
	}))
}

// VAEModules are the modules of latent diffusion's autoencoder. stages gives the
// levels of a half, "encoder" or "decoder", and the residual blocks of each.
func VAEModules(stages func(half string) (levels, blocks int)) []Module {
	modules := []Module{{"quant_conv", "quant_conv", nil}, {"post_quant_conv", "post_quant_conv", nil}, {"quantize", "quantize", nil}}
	for half, direction := range directions {
		levels, blocks := stages(half)
		name := func(format string, args ...any) string { return half + "." + fmt.Sprintf(format, args...) }
		modules = append(modules,
			Module{name("conv_in"), name("conv_in"), nil},
			Module{name("conv_norm_out"), name("norm_out"), nil},
			Module{name("conv_out"), name("conv_out"), nil},
			Module{name("mid_block.resnets.0"), name("mid.block_1"), vaeResnet},
			Module{name("mid_block.attentions.0"), name("mid.attn_1"), vaeAttention},
			Module{name("mid_block.resnets.1"), name("mid.block_2"), vaeResnet})
		for i := range levels {
			level, sampler := i, "downsample"
			if direction == "up" { // the original layout counts from full resolution
				level, sampler = levels-1-i, "upsample"
			}
			for block := range blocks {
				modules = append(modules, Module{name("%s_blocks.%d.resnets.%d", direction, i, block), name("%s.%d.block.%d", direction, level, block), vaeResnet})
			}
			modules = append(modules, Module{name("%s_blocks.%d.%srs.0.conv", direction, i, sampler), name("%s.%d.%s.conv", direction, level, sampler), nil})
		}
	}
	return modules
}
