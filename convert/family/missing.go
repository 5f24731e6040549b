package family

import (
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// What adds a network that a file lacks: flags of the program and fields of sd.Options.
const (
	addVAE   = "--vae FILE adds one while drawing, convert --vae FILE for good"
	addCLIPG = "--clip-g FILE adds it while drawing, convert --clip-g FILE for good"
)

// Parts of names that tell UNets apart.
const (
	xlVector    = "label_emb.0.0.weight" // of SDXL's sizes and pooled text
	diffusersXL = "add_embedding.linear_1.weight"
	textKeys    = ".attn2.to_k.weight" // whose columns are the text's width
)

// lacksOfUNet says what a file of a UNet lacks to be drawn with, and what adds it.
func lacksOfUNet(m *model.Model) string {
	has := func(part string) bool {
		return slices.ContainsFunc(m.Tensors, func(t model.Tensor) bool { return strings.Contains(t.Name, part) })
	}
	context := 0
	for _, t := range m.Tensors {
		if strings.HasSuffix(t.Name, textKeys) {
			context = dimension(t, 1)
			break
		}
	}
	first, second := has("conditioner.embedders.0."), has("conditioner.embedders.1.")
	var all []string
	switch xl := has(xlVector) || has(diffusersXL); {
	case xl && context == 1280: // the refiner's only one
		all = append(all, "its text encoder (--clip-g FILE)")
	case xl && !first && !second:
		all = append(all, "its two text encoders (--clip-l FILE and --clip-g FILE)")
	case xl && !first:
		all = append(all, "its first text encoder (--clip-l FILE)")
	case xl:
		all = append(all, "its second text encoder (--clip-g FILE)")
	default:
		all = append(all, "its text encoder (--clip-l FILE)")
	}
	if !has(model.VAEPrefix + "decoder.") {
		all = append(all, "an autoencoder, VAE (--vae FILE)")
	}
	return strings.Join(all, " and ") + "; these flags add them while drawing, convert's for good"
}
