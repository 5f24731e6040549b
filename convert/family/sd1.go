package family

import (
	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// SD1 is Stable Diffusion 1.x: CLIP ViT-L as text encoder, 1x1 convolutions
// around the transformers.
const SD1 = "sd1"

var sd1 = &Family{
	Name: SD1,
	Looks: []Look{
		{"Stable Diffusion 1.x", []string{"cond_stage_model.transformer.*", model.UNetPrefix + "input_blocks.0.0.weight"}},
		{"Stable Diffusion 1.x", []string{"conditioner.embedders.0.transformer.*", model.UNetPrefix + "input_blocks.0.0.weight"}},
	},
	Runs: true, Strict: true,
	Names:     singleFile,
	Folder:    stableDiffusionFolder([]string{"text_encoder"}, FolderPart{"text_encoder", TextFile, layout.TextNames(model.TextPrefix)}),
	Settings:  stableDiffusionSettings(SD1),
	Tokenizer: "tokenizer",
	Read:      stableDiffusion([]string{model.TextPrefix}, sd1OrSD2),
	Metadata:  stableDiffusionMetadata,
	Slots:     stableDiffusionSlots,
	Precise:   []string{"embedding", "time_embed.", "label_emb.", model.VAEPrefix}, // an autoencoder's errors are seen at once
}

// sd1OrSD2 tells the two families apart: files of both may have the same names.
func sd1OrSD2(r *Reader, c *StableDiffusion) {
	said := r.Model.Metadata[model.KeyArchitecture]
	if said == SD2 || said != SD1 && c.UNet.LinearProjection {
		sd2Traits(r, c)
		return
	}
	r.Model.Family, r.Model.Description, r.Model.Prediction = SD1, "Stable Diffusion 1.x", "epsilon"
	c.UNet.Heads = 8
}
