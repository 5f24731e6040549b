package family

import (
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// UNet is a UNet of latent diffusion without its text encoder and autoencoder.
const UNet = "unet"

var unet = &Family{
	Name: UNet,
	Looks: []Look{
		{"a UNet of latent diffusion", []string{"*input_blocks.*.1.transformer_blocks.0.attn2.to_k.weight", "!" + classTable}},
		{"a UNet of latent diffusion", []string{"*.transformer_blocks.0.attn2.to_k.weight", "*output_blocks.0.0.in_layers.2.weight", "!" + classTable}}, // pruned
		{"a UNet of latent diffusion in the diffusers library's layout", []string{"*down_blocks.*.attentions.0.transformer_blocks.0.attn2.to_k.weight"}},
		{"a UNet of latent diffusion in the diffusers library's layout", []string{"*.attn2.to_k.weight", "*up_blocks.0.resnets.0.time_emb_proj.weight"}},
	},
	Names: func(all []model.Stored) layout.Rename {
		if !layout.Contains(all, "down_blocks.") {
			return layout.Renumbered(all, layout.OwnName)
		}
		return layout.Without(model.UNetPrefix, layout.UNetNames(all))
	},
	Properties:   unetProperties,
	Architecture: wholeModel,
	Lacks:        lacksOfUNet,
	Role:         Denoiser,
	Slots:        stableDiffusionSlots,
}

// unetProperties are those of latent diffusion's UNet, or of a copy of its half.
func unetProperties(d *Describer) {
	in := d.Dim("input_blocks.0.0.weight", 1)
	context := 0
	for _, t := range d.Model.Tensors {
		if context == 0 && strings.HasSuffix(t.Name, ".attn2.to_k.weight") {
			context = dimension(t, 1)
		}
	}
	d.Property("in_channels", in)
	d.Property("width", d.Dim("input_blocks.0.0.weight", 0))
	d.Property("context", context)
	d.Say(textWidths[context])
	d.Say(unetOf(d.Model).prunedName())
	switch in {
	case 9:
		d.Say("inpainting")
	case 8:
		d.Say("editing pictures")
	}
}

// unetOf is the configuration of a file of a UNet, whose tensors may have no prefix; the
// zero value if it is none that can be run.
func unetOf(m *model.Model) UNetConfig {
	prefixed := &model.Model{}
	for _, t := range m.Tensors {
		t.Name = model.UNetPrefix + strings.TrimPrefix(t.Name, model.UNetPrefix)
		if prefixed.Index(t.Name) < 0 {
			prefixed.Add(t)
		}
	}
	r := &Reader{Model: prefixed}
	if c := r.UNet(); r.err == nil {
		return c
	}
	return UNetConfig{}
}

// wholeModel is the family of the whole model, which ComfyUI-GGUF expects files
// of its UNet to have.
func wholeModel(m *model.Model) string {
	for _, p := range m.Properties {
		if whole := map[int]string{768: SD1, 1024: SD2, 1280: SDXLRefiner, 2048: SDXL}[p.Value]; p.Name == "context" && whole != "" {
			return whole
		}
	}
	return UNet
}
