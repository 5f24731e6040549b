package family

import (
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// CLIP is a text encoder of CLIP (Radford et al. 2021) or OpenCLIP, alone or with its
// image encoder.
const CLIP = "clip"

var clip = &Family{
	Name: CLIP,
	Looks: []Look{
		{"a CLIP model of texts and images", []string{"*text_model.encoder.layers.0.self_attn.q_proj.weight", "*vision_model.encoder.layers.0.self_attn.q_proj.weight"}},
		{"a CLIP text encoder", []string{"*text_model.encoder.layers.0.self_attn.q_proj.weight"}},
		{"a CLIP text encoder", []string{"encoder.layers.0.self_attn.q_proj.weight", "embeddings.token_embedding.weight"}}, // of transformers 5
		{"a CLIP model of texts and images in OpenCLIP's layout", []string{"transformer.resblocks.0.attn.in_proj_weight", "visual.*"}},
		{"a CLIP text encoder in OpenCLIP's layout", []string{"transformer.resblocks.0.attn.in_proj_weight"}},
		{"a CLIP text encoder in OpenCLIP's layout", []string{"*model.transformer.resblocks.0.attn.in_proj_weight"}},
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
		d.Property("layers", max(d.BlocksOf("encoder.layers.", isTextTower), d.BlocksOf("resblocks.", isTextTower)))
		d.Say(map[int]string{768: "CLIP-L", 1024: "OpenCLIP-H", 1280: "CLIP-G"}[width])
	},
	Lacks: func(*model.Model) string { return "a UNet; --clip-l or --clip-g takes it beside a model" },
	Role:  CLIPText,
	PartName: func(all []model.Stored) layout.Rename {
		openCLIP := layout.Contains(all, "resblocks.")
		return func(name string) (string, bool) {
			switch {
			case !isTextTower(name):
				return "", false
			case openCLIP:
				return layout.OpenCLIPName("text_model.", name)
			}
			return layout.OwnName(name)
		}
	},
}

// isTextTower reports whether a tensor of a CLIP model is not its image encoder's.
func isTextTower(name string) bool {
	return !strings.Contains(name, "vision_model.") && !strings.Contains(name, "visual") && !strings.HasPrefix(name, "logit_")
}

// CLIPVision is an image encoder of CLIP.
const CLIPVision = "clip_vision"

var clipVision = &Family{
	Name: CLIPVision,
	Looks: []Look{
		{"a CLIP image encoder", []string{"*vision_model.encoder.layers.0.self_attn.q_proj.weight", "*vision_model.embeddings.class_embedding"}},
		{"a CLIP image encoder in OpenCLIP's layout", []string{"*visual.transformer.resblocks.0.attn.in_proj_weight", "*visual.class_embedding"}},
	},
	Runs:     true,
	Read:     func(r *Reader) any { return readCLIPVision(r) },
	Complete: nameCLIPVision,
	Properties: func(d *Describer) {
		width := max(d.Dim("vision_model.embeddings.class_embedding", 0), d.Dim("visual.class_embedding", 0))
		d.Property("width", width)
		d.Property("layers", max(d.Blocks("encoder.layers."), d.Blocks("resblocks.")))
		d.Property("projection", max(d.Dim("visual_projection.weight", 0), d.Dim("visual.proj", 1)))
		d.Say(map[int]string{768: "ViT-B", 1024: "ViT-L", 1280: "ViT-H", 1664: "ViT-bigG"}[width])
	},
}

// SigLIP is a model of texts and images whose tensors have CLIP's names, and other shapes
// and layers (Zhai et al. 2023).
const SigLIP = "siglip"

var sigLIP = &Family{
	Name: SigLIP,
	Looks: []Look{
		{"a SigLIP model of texts and images", []string{"*text_model.encoder.layers.0.self_attn.q_proj.weight", "*vision_model.embeddings.patch_embedding.bias"}},
		{"a SigLIP image encoder", []string{"*vision_model.encoder.layers.0.self_attn.q_proj.weight", "*vision_model.embeddings.patch_embedding.bias"}},
		{"a SigLIP text encoder", []string{"*text_model.encoder.layers.0.self_attn.q_proj.weight", "*text_model.head.weight"}},
	},
	Properties: func(d *Describer) {
		d.Property("width", max(d.Dim("token_embedding.weight", 1), d.Dim("patch_embedding.bias", 0)))
		d.Property("layers", d.Blocks("encoder.layers."))
	},
}
