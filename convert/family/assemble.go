package family

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
)

func (r Role) String() string {
	return [...]string{"nothing", "a UNet of latent diffusion or a transformer", "an autoencoder", "a CLIP text encoder", "a T5 text encoder"}[r]
}

// Slots are the prefixes of the places in a model that is put together; "" where
// the family has no such place.
type Slots struct {
	Denoiser, Autoencoder string
	CLIPL, CLIPG, T5      string // text encoders
}

// Given says what there is to put a model together from.
type Given struct {
	CLIPL, CLIPG bool                     // whether there is a file of this text encoder
	Has          func(prefix string) bool // whether the model that parts are put into has tensors of a prefix
}

// SlotsOf are the places in a model of a family, or, of one that has none of its
// own, in Stable Diffusion.
func SlotsOf(f *Family, given Given) Slots {
	if f == nil || f.Slots == nil {
		return stableDiffusionSlots(given)
	}
	return f.Slots(given)
}
