package catalog

import (
	"github.com/sdgo/sdgo/convert"
)

// Follows is how a network follows a picture.
type Follows struct {
	Network string // "ControlNet", "T2I-Adapter", "IP-Adapter" or "image encoder"
	Base    string // the models that it is for, such as "Stable Diffusion 1.x"; "" if unknown

	ip     *convert.IPAdapterConfig
	vision *convert.CLIPVisionConfig
}

// bases are the models of a width of the text's states.
var bases = map[int]string{768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "Stable Diffusion XL"}

// describeControl describes a network that follows pictures, or that shows them to one.
func (e *Entry) describeControl(m *convert.Model) {
	e.Kind, e.Follows = Control, &Follows{Network: "ControlNet"}
	switch c := m.Config.(type) {
	case *convert.ControlNetConfig:
		e.Follows.Base = bases[c.UNet.ContextDim]
	case *convert.T2IAdapterConfig:
		e.Follows.Network = "T2I-Adapter"
	case *convert.IPAdapterConfig:
		e.Follows.Network, e.Follows.Base, e.Follows.ip = "IP-Adapter", bases[c.ContextDim], c
	case *convert.CLIPVisionConfig:
		e.Kind, e.Follows.Network, e.Follows.vision = Vision, "image encoder", c
	}
}

// VisionFor finds the image encoder by which a network sees pictures: the first that gives
// what it takes. need is false of networks that see them by themselves.
func (c *Catalog) VisionFor(e Entry) (vision Entry, need, ok bool) {
	if e.Follows == nil || e.Follows.ip == nil || !e.Follows.ip.SeesPictures() {
		return Entry{}, false, true
	}
	for _, v := range c.Entries(Vision) {
		if v.Follows.vision != nil && e.Follows.ip.Takes(*v.Follows.vision) {
			return v, true, true
		}
	}
	return Entry{}, true, false
}
