package family

import (
	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// CLIP is a text encoder of CLIP (Radford et al. 2021) or OpenCLIP.
const CLIP = "clip"

var clip = &Family{
	Name: CLIP,
	Looks: []Look{
		{"a CLIP text encoder", []string{"*text_model.encoder.layers.0.self_attn.q_proj.weight"}},
		{"a CLIP text encoder", []string{"encoder.layers.0.self_attn.q_proj.weight", "embeddings.token_embedding.weight"}}, // of transformers 5
		{"a CLIP text encoder in OpenCLIP's layout", []string{"*transformer.resblocks.0.attn.in_proj_weight"}},
	},
	Names: func(all []model.Stored) layout.Rename {
		if layout.Contains(all, "resblocks.") {
			return layout.OwnName
		}
		return layout.BareTextNames
	},
	Properties: func(d *Describer) {
		width := max(d.Dim("token_embedding.weight", 1), d.Dim("embeddings.token_embedding.weight", 1))
		d.Property("width", width)
		d.Property("layers", max(d.Blocks("encoder.layers."), d.Blocks("resblocks.")))
		d.Say(map[int]string{768: "CLIP-L", 1024: "OpenCLIP-H", 1280: "CLIP-G"}[width])
	},
	Lacks: func(*model.Model) string { return "a UNet; --clip-l or --clip-g takes it beside a model" },
	Role:  CLIPText,
	PartName: func(all []model.Stored) layout.Rename {
		if !layout.Contains(all, "resblocks.") {
			return layout.OwnName
		}
		return func(name string) (string, bool) { return layout.OpenCLIPName("text_model.", name) }
	},
}
