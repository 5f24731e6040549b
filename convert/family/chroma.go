package family

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// Chroma is a model made of FLUX.1 schnell without its layers of modulation: one small network computes for all blocks
// what they gave.
const Chroma = "chroma"

// approximatorMark is a tensor of that network.
const approximatorMark = "distilled_guidance_layer.in_proj.weight"

var chroma = &Family{
	Name: Chroma,
	Looks: []Look{
		{"Chroma", []string{"*" + approximatorMark, "*double_blocks.0.img_attn.qkv.weight"}},
		{"Chroma in the diffusers library's layout", []string{"*" + approximatorMark, "*transformer_blocks.0.attn.add_q_proj.weight"}},
	},
	Runs:     true,
	Rewrite:  originalTransformer(chromaLayers(), "double_blocks.0.img_attn.qkv.weight", "single_transformer_blocks."),
	Settings: flowFiles("ChromaTransformer2DModel", fluxMarks, axes, map[place]func(c *config) []string{inFirstText: t5File}),
	Read:     readFlux,
	Metadata: describeTexts, T5Tokenizer: "tokenizer",
	Complete: completeT5,
	Properties: func(d *Describer) {
		fluxProperties(d)
		if d.Has("nerf_final_layer_conv.conv.weight") {
			d.Say("Radiance: on pixels")
		}
	},
	Groups: transformerGroups,
	Role:   Denoiser,
	Slots: func(Given) Slots {
		return Slots{Denoiser: model.UNetPrefix, Autoencoder: model.VAEPrefix, T5: model.T5Prefix}
	},
	Precise: []string{"distilled_guidance_layer."},
}

// chromaLayers are named as in lodestone-rock/flow, src/models/chroma.
func chromaLayers() []layout.Fusion {
	all := append([]layout.Fusion{}, fluxLayers...)
	const p = "distilled_guidance_layer."
	for _, name := range []string{"in_proj", "out_proj"} {
		all = append(all, layout.One(p+name, p+name))
	}
	for i := range 32 { // the published ones have 5
		layer := fmt.Sprintf("%slayers.%d.", p, i)
		all = append(all, layout.One(layer+"in_layer", layer+"linear_1"), layout.One(layer+"out_layer", layer+"linear_2"),
			layout.One(fmt.Sprintf("%snorms.%d.scale", p, i), fmt.Sprintf("%snorms.%d.weight", p, i)))
	}
	return all
}
