package family

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/model"
)

// Embedding is a textual inversion (Gal et al. 2022): vectors for a new word.
const Embedding = "embedding"

var embedding = &Family{
	Name: Embedding,
	Looks: []Look{
		{"a textual inversion", []string{"emb_params"}},
		{"a textual inversion", []string{"string_to_param.*"}},
		{"a textual inversion for Stable Diffusion XL", []string{"clip_g", "clip_l"}},
	},
	Owns: func(name string) bool {
		return beginsWith(name, "emb_params", "string_to_param", "string_to_token", "clip_g", "clip_l")
	},
	Guess:      diffusersEmbedding,
	Properties: embeddingProperties,
}

// diffusersEmbedding tells a textual inversion of the diffusers library: nothing
// but vectors of a text encoder's width, named by the word that they stand for.
func diffusersEmbedding(all []model.Stored) string {
	if len(all) != 1 || len(all[0].Shape) == 0 || len(all[0].Shape) > 2 || !all[0].Type.Float() {
		return ""
	}
	switch width := all[0].Shape[len(all[0].Shape)-1]; width {
	case 768, 1024, 1280:
		return "a textual inversion in the diffusers library's layout"
	}
	return ""
}

func embeddingProperties(d *Describer) {
	vectors, width := 0, 0
	for _, t := range d.Model.Tensors {
		w := dimension(t, len(t.Shape)-1)
		n := 1
		if len(t.Shape) > 1 {
			n = dimension(t, 0)
		}
		vectors, width = max(vectors, n), max(width, w)
	}
	d.Property("vectors", vectors)
	d.Property("width", width)
	if vectors > 0 {
		d.Say(fmt.Sprintf("vectors: %d", vectors))
	}
	if len(d.Model.Tensors) == 1 && width != 1280 && textWidths[width] != "" {
		d.Say("for " + textWidths[width])
	}
}
