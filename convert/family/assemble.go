package family

import (
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Role is the place that a file of one part takes in a model that is put together
// from several.
type Role int

// The roles. Whole models, and files that belong into none, have no role.
const (
	NoRole Role = iota
	Denoiser
	Autoencoder
	CLIPText
	T5Text
	LLMText
	LLMVision
)

func (r Role) String() string {
	return [...]string{"nothing", "a UNet of latent diffusion or a transformer", "an autoencoder", "a CLIP text encoder", "a T5 text encoder", "a Qwen text encoder", "a vision tower of Qwen2.5-VL"}[r]
}

// Slots are the prefixes of the places in a model that is put together; "" where
// the family has no such place.
type Slots struct {
	Denoiser, Autoencoder string
	CLIPL, CLIPG, T5, LLM string // text encoders
	LLMVision             string // the vision tower of LLM
}

// Given says what there is to put a model together from.
type Given struct {
	CLIPL, CLIPG bool           // whether there is a file of this text encoder
	Tensors      []model.Stored // of the model that parts are put into
}

// has reports whether the model that parts are put into has a text encoder of a prefix,
// in any layout.
func (g Given) has(prefix string) bool {
	prefix = Place(prefix)
	return slices.ContainsFunc(g.Tensors, func(t model.Stored) bool { return strings.HasPrefix(t.Name, prefix) })
}

// Place is what the names of all tensors of a network in a slot begin with, whatever its
// layout.
func Place(slot string) string { return strings.TrimSuffix(slot, "transformer.") }

// isRefiner reports whether the first text encoder is all that the UNet of the model
// asks for: then it is not the first of two.
func (g Given) isRefiner() bool {
	context, width := int64(0), int64(0)
	for _, t := range g.Tensors {
		switch n := len(t.Shape); {
		case n < 2:
		case context == 0 && strings.HasPrefix(t.Name, model.UNetPrefix) && strings.HasSuffix(t.Name, ".attn2.to_k.weight"):
			context = t.Shape[1]
		case strings.HasPrefix(t.Name, model.Text1Prefix) && strings.HasSuffix(t.Name, "embeddings.token_embedding.weight"):
			width = t.Shape[1]
		}
	}
	return context == width
}

// SlotsOf are the places in a model of a family, or, of one that has none of its
// own, in Stable Diffusion.
func SlotsOf(f *Family, given Given) Slots {
	if f == nil || f.Slots == nil {
		return stableDiffusionSlots(given)
	}
	return f.Slots(given)
}
