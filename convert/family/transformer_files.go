package family

import (
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// originalTransformer makes the Rewrite of a family whose denoiser is a transformer: files of it
// alone, with or without the prefix that their program gives them, and whole models of ComfyUI and
// stable-diffusion.cpp, with text encoders and autoencoder. mark is the end of the name of a tensor that
// all of its layouts have, inPieces part of a name of the diffusers library's. layers are nil where that has the original's names.
func originalTransformer(layers []layout.Fusion, mark, inPieces string) func(all []model.Stored) ([]model.Stored, error) {
	return func(all []model.Stored) ([]model.Stored, error) {
		front := ""
		for _, t := range all {
			if rest, ok := strings.CutSuffix(t.Name, mark); ok && (rest == "" || strings.HasSuffix(rest, ".")) {
				front = rest
				break
			}
		}
		var own, text, vae, others []model.Stored
		for _, t := range all {
			switch {
			case strings.HasPrefix(t.Name, "text_encoders."):
				text = append(text, t)
			case strings.HasPrefix(t.Name, model.VAEPrefix), strings.HasPrefix(t.Name, "vae."):
				t.Name = strings.TrimPrefix(strings.TrimPrefix(t.Name, model.VAEPrefix), "vae.")
				vae = append(vae, t)
			case front == "" || strings.HasPrefix(t.Name, front):
				t.Name = t.Name[len(front):]
				own = append(own, t)
			default:
				others = append(others, t)
			}
		}
		var err error
		if layers != nil && layout.Contains(own, inPieces) {
			if own, err = layout.Fuse(own, layers); err != nil {
				return nil, err
			}
		}
		if front == model.UNetPrefix || len(text)+len(vae) > 0 {
			for i := range own {
				own[i].Name = model.UNetPrefix + own[i].Name
			}
		}
		if vae, err = originalVAE(vae); err != nil {
			return nil, err
		}
		return slices.Concat(own, originalText(text), vae, others), nil
	}
}

// originalVAE gives the tensors of an autoencoder of any layout, without a prefix, their canonical
// names.
func originalVAE(all []model.Stored) ([]model.Stored, error) {
	all, err := vaeOriginal(all)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].Name = model.VAEPrefix + all[i].Name
	}
	return all, nil
}

// originalText gives Qwen's text stacks of whole models their canonical names. What is beside them in such
// files (the layer that predicts words, a scale of CLIP's) is left out.
func originalText(all []model.Stored) []model.Stored {
	slot := model.Qwen4BPrefix
	for _, t := range all {
		if m := qwenWhole.FindStringSubmatch(t.Name); m != nil && qwenName(m[2]) == "embed_tokens.weight" && len(t.Shape) == 2 {
			slot = qwenSlot(t.Shape[1])
		}
	}
	part, out := qwenPart(all), make([]model.Stored, 0, len(all))
	for _, t := range all {
		m := qwenWhole.FindStringSubmatch(t.Name)
		if m == nil {
			out = append(out, t)
			continue
		}
		if name, ok := part(m[2]); ok {
			t.Name = slot + name
			out = append(out, flatPatch(t))
		}
	}
	return out
}

// Adaptable is what files of changes to weights need to know of a model whose denoiser is a transformer: what the names of the
// denoiser's and of the text encoders' tensors begin with ("" for no text encoder), and the diffusers library's names.
type Adaptable struct {
	Denoiser, Text, Text2 string
	Layers                []layout.Fusion
}

// inOrder are the layers whose rows the diffusers library has in the same order: changes of others have no place.
func inOrder(layers []layout.Fusion) []layout.Fusion {
	return slices.DeleteFunc(slices.Clone(layers), func(f layout.Fusion) bool { return f.Swapped })
}

// Pieces are the diffusers library's names of the pieces of a tensor of the denoiser, in the order of their rows.
func (a Adaptable) Pieces(name string) []string { return layout.Pieces(a.Layers, name) }
