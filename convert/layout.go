package convert

import (
	"fmt"
	"slices"
	"strings"
)

// toOriginal gives the tensors of a file of one part the names of the original
// layout, if they have the diffusers library's, and puts fused ones together.
// They keep no prefix: "input_blocks.0.0.weight". Names that are in no table
// stay as they are.
func toOriginal(arch string, all []raw) ([]raw, error) {
	has := func(piece string) bool {
		for _, t := range all {
			if strings.Contains(t.Name, piece) {
				return true
			}
		}
		return false
	}
	var rename func(string) (string, bool)
	switch {
	case arch == Flux && has("transformer_blocks."):
		return fuse(all, fluxLayers)
	case arch == SD3 && has("transformer_blocks."):
		return fuse(all, sd3Layers)
	case arch == DiT && has("transformer_blocks."):
		return fuse(all, ditLayers)
	case arch == UNet && has("down_blocks."):
		rename = bare(UNetPrefix, unetNames(all))
	case arch == ControlNet && has("controlnet_cond_embedding."):
		rename = controlNames(all)
	case arch == VAE && has("up_blocks."):
		rename = bare(VAEPrefix, vaeNames(all))
	case arch == CLIP && has("resblocks."):
		rename = ownName
	case arch == CLIP:
		rename = func(name string) (string, bool) {
			if strings.HasPrefix(name, "encoder.layers.") || strings.HasPrefix(name, "embeddings.") || strings.HasPrefix(name, "final_layer_norm.") {
				name = "text_model." + name // transformers 5 leaves the level out
			}
			return name, true
		}
	default:
		return all, nil
	}
	out := make([]raw, len(all))
	for i, t := range all {
		if to, ok := rename(t.Name); ok {
			t.Name = to
		}
		if strings.Contains(t.Name, ".mid.attn_1.") && len(t.Shape) == 2 && !t.Type.Quantized() { // attention: 1x1 convolutions in the original layout
			t.Shape = append(slices.Clone(t.Shape), 1, 1)
		}
		out[i] = t
	}
	return out, nil
}

// bare takes the prefix off what a function gives.
func bare(prefix string, rename func(string) (string, bool)) func(string) (string, bool) {
	return func(name string) (string, bool) {
		to, ok := rename(name)
		return strings.TrimPrefix(to, prefix), ok
	}
}

// controlNames are those of a ControlNet: a UNet's way down, with a convolution
// behind each block and some before the first for the hint.
func controlNames(all []raw) func(string) (string, bool) {
	levels, blocks, _ := stages(all, "down")
	return renamer("control_model.", controlModules(levels, blocks))
}

// hintLayers are the convolutions of the hint: 8 that a SiLU separates.
const hintLayers = 8

func controlModules(levels, blocks int) []module {
	modules := append(unetModules(levels, blocks, nil), module{"controlnet_mid_block", "middle_block_out.0", nil})
	for i := range levels * (blocks + 1) {
		modules = append(modules, module{fmt.Sprintf("controlnet_down_blocks.%d", i), fmt.Sprintf("zero_convs.%d.0", i), nil})
	}
	for i := range hintLayers {
		theirs := fmt.Sprintf("controlnet_cond_embedding.blocks.%d", i-1)
		switch i {
		case 0:
			theirs = "controlnet_cond_embedding.conv_in"
		case hintLayers - 1:
			theirs = "controlnet_cond_embedding.conv_out"
		}
		modules = append(modules, module{theirs, fmt.Sprintf("input_hint_block.%d", 2*i), nil})
	}
	return modules
}
