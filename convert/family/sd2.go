package family

import (
	"slices"

	"github.com/sdgo/sdgo/convert/model"
)

// SD2 is Stable Diffusion 2.x: OpenCLIP ViT-H as text encoder, linear layers
// around the transformers. Its folders look like those of SD 1.x.
const SD2 = "sd2"

var sd2 = &Family{
	Name: SD2,
	Looks: []Look{
		{"Stable Diffusion 2.x", []string{"cond_stage_model.model.*", model.UNetPrefix + "input_blocks.0.0.weight"}},
		{"Stable Diffusion 2.x", []string{"conditioner.embedders.0.model.*", model.UNetPrefix + "input_blocks.0.0.weight"}}, // SD-Turbo
	},
	Runs: true, Strict: true,
	Names:    singleFile,
	Read:     stableDiffusion([]string{model.TextPrefix}, sd1OrSD2),
	Metadata: stableDiffusionMetadata,
	Slots:    stableDiffusionSlots,
}

func sd2Traits(r *Reader, c *StableDiffusion) {
	r.Model.Family, r.Model.Description = SD2, "Stable Diffusion 2.x"
	if c.UNet.HeadDim = 64; c.Variant == upscales {
		c.UNet.Heads, c.UNet.HeadDim = upscalerHeads, 0
	}
	c.Text.Activation, c.Text.ClipSkip = "gelu", 2
	// The diffusers library drops OpenCLIP's last layer, which is never used; the
	// original files keep it, and a head for training that tells them.
	original := slices.ContainsFunc(r.Model.Ignored, func(name string) bool {
		return beginsWith(name, "cond_stage_model.model.", "conditioner.embedders.0.model.")
	})
	if original || c.Text.Layers == 24 {
		c.Text.penultimate()
	}
}
