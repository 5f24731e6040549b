package family

import (
	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// SDXL is Stable Diffusion XL: CLIP ViT-L and OpenCLIP ViT-bigG as text encoders.
const SDXL = "sdxl"

var sdxl = &Family{
	Name: SDXL,
	Looks: []Look{
		{"Stable Diffusion XL", []string{"conditioner.embedders.0.*", "conditioner.embedders.1.*", model.UNetPrefix + "label_emb.*"}},
		{"Stable Diffusion XL", []string{"cond_stage_model.1.*", model.UNetPrefix + "label_emb.*"}},
	},
	Runs: true, Strict: true,
	Names: singleXLFile,
	Folder: stableDiffusionFolder([]string{"text_encoder", "text_encoder_2"},
		FolderPart{"text_encoder", TextFile, layout.TextNames(model.Text1Prefix)}, FolderPart{"text_encoder_2", TextFile, layout.TextNames(model.Text2Prefix)}),
	Settings:  stableDiffusionSettings(SDXL),
	Tokenizer: "tokenizer",
	Read: stableDiffusion([]string{model.Text1Prefix, model.Text2Prefix}, func(r *Reader, c *StableDiffusion) {
		sdxlTraits(r, c)
		c.Text2.Activation = "gelu"
	}),
	Metadata: stableDiffusionMetadata,
	Slots:    stableDiffusionSlots,
}

// sdxlTraits are those that SDXL and its refiner share.
func sdxlTraits(r *Reader, c *StableDiffusion) {
	r.Model.NativeSize, r.Model.Prediction = 1024, "epsilon"
	c.UNet.HeadDim, c.VAE.ScaleFactor = 64, 0.13025
	for _, t := range []*TextConfig{&c.Text, &c.Text2} {
		t.penultimate()
		t.NoFinalNorm = true
	}
}
