package family

import (
	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// SDXLRefiner is Stable Diffusion XL's refiner: OpenCLIP ViT-bigG as text
// encoder.
const SDXLRefiner = "sdxl_refiner"

var sdxlRefiner = &Family{
	Name: SDXLRefiner,
	Looks: []Look{
		{"Stable Diffusion XL's refiner", []string{"conditioner.embedders.0.*", model.UNetPrefix + "label_emb.*"}},
	},
	Runs: true, Strict: true,
	Names:     singleXLFile,
	Folder:    stableDiffusionFolder([]string{"text_encoder_2"}, FolderPart{"text_encoder_2", TextFile, layout.TextNames(model.Text1Prefix)}),
	Settings:  stableDiffusionSettings(SDXLRefiner),
	Tokenizer: "tokenizer",
	Read: stableDiffusion([]string{model.Text1Prefix}, func(r *Reader, c *StableDiffusion) {
		sdxlTraits(r, c)
		c.Text.Activation = "gelu"
	}),
	Metadata: stableDiffusionMetadata,
	Slots:    stableDiffusionSlots,
}
