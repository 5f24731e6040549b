package control

import (
	"context"
	"fmt"
	"slices"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Network is an open network that makes a denoiser follow a picture or a face: a *[ControlNet], a
// *[T2IAdapter] or an *[IPAdapter].
type Network interface {
	Name() string
	Host() *engine.Host
	Network() *engine.Network
	Close() error

	// Misfit says why the network can't steer a UNet; "" if it can.
	Misfit(u convert.UNetConfig) string
}

// Files are other files that some networks need.
type Files struct {
	CLIPVision string // the image encoder by which an IP-Adapter sees pictures

	// Base opens the model whose UNet a Control-LoRA changes, or a file of differences; nil if there is none.
	Base func() (*convert.Model, error)
}

// Open opens a ControlNet ([OpenControlNet]), a T2I-Adapter ([OpenT2IAdapter]) or an
// IP-Adapter, whichever a file is.
func Open(path string, with Files, o engine.Options) (Network, error) {
	h, err := engine.Open(engine.NameOf(path), o, func() (*convert.Model, error) { return convert.OpenControlNet(path, with.Base) })
	if err != nil {
		return nil, err
	}
	var n Network
	var setUp func() error
	var demands func() ([]engine.Demand, error)
	switch config := h.Weights.Config.(type) {
	case *convert.ControlNetConfig:
		c := &ControlNet{host: h, config: config}
		c.changes = c.adaptation()
		n, setUp, demands = c, c.setUp, c.demands
	case *convert.T2IAdapterConfig:
		a := &T2IAdapter{host: h, config: config}
		n, setUp, demands = a, a.setUp, a.demands
	case *convert.IPAdapterConfig:
		a := &IPAdapter{host: h, config: config}
		n, setUp, demands = a, a.setUp, a.demands
		if config.SeesPictures() {
			if a.vision, err = openVision(with.CLIPVision, o); err != nil {
				err = fmt.Errorf("%s: %w", path, err)
			}
		}
	default:
		_, err = convert.ConfigAs[*convert.ControlNetConfig](h.Weights, "a ControlNet, a T2I-Adapter or an IP-Adapter for Stable Diffusion")
	}
	if err == nil {
		if err = h.Place(setUp, demands); err != nil {
			if a, ok := n.(*IPAdapter); ok {
				a.abandon()
			}
		}
	}
	if err != nil {
		h.Abandon()
		return nil, err
	}
	return n, nil
}

// T2IAdapter is an open T2I-Adapter (Mou et al. 2023, arXiv:2302.08453). Its methods may be
// called from any goroutine. It must stay open as long as a model uses it.
type T2IAdapter struct {
	host   *engine.Host
	net    *engine.Network
	config *convert.T2IAdapterConfig
}

// OpenT2IAdapter opens a T2I-Adapter, full or light, in its authors' layout or the diffusers
// library's.
func OpenT2IAdapter(path string, o engine.Options) (*T2IAdapter, error) {
	n, err := Open(path, Files{}, o)
	if err != nil {
		return nil, err
	}
	a, ok := n.(*T2IAdapter)
	if !ok {
		defer n.Close()
		return nil, fmt.Errorf("%s: %s; expected a T2I-Adapter: %w", path, n.Host().Weights.Description, convert.ErrUnrecognized)
	}
	return a, nil
}

func (a *T2IAdapter) setUp() (err error) {
	a.net, err = a.host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the T2I-Adapter", Arch: "t2i_adapter", Params: a.config.Params()})
	if err != nil {
		return fmt.Errorf("%s: %w", a.host.Weights.Path, err)
	}
	return nil
}

// demands are the network's memory for a picture of 512 x 512 pixels.
func (a *T2IAdapter) demands() ([]engine.Demand, error) {
	const side = 512
	n := side / a.config.Fold
	shape := tensor.Batch(1, []int{a.config.PictureChannels * a.config.Fold * a.config.Fold, n, n})
	d, ok, err := engine.DemandOf(a.net, a.names()[len(a.config.Channels)-1], cgo.Input{Name: "picture", Shape: shape})
	if !ok {
		return nil, err
	}
	return []engine.Demand{d}, nil
}

// names are those of the features.
func (a *T2IAdapter) names() (all []string) {
	for i := range a.config.Channels {
		all = append(all, fmt.Sprintf("feature.%d", i))
	}
	return all
}

// Misfit says why the network's features can't be added to a UNet; "" if they can.
func (a *T2IAdapter) Misfit(u convert.UNetConfig) string { return a.config.Misfit(u) }

// Host is the network's host; nil of a zero value, which was never opened.
func (a *T2IAdapter) Host() *engine.Host {
	if a == nil {
		return nil
	}
	return a.host
}

// Name is the network's name in requests: its file's, without folder and extension.
func (a *T2IAdapter) Name() string {
	if a.Host() == nil {
		return ""
	}
	return a.host.Name
}

// Network is the network.
func (a *T2IAdapter) Network() *engine.Network { return a.net }

// Close waits for the requests that use the network, frees it and unmaps the file. Closing
// again does nothing.
func (a *T2IAdapter) Close() error {
	if a.Host() == nil {
		return nil
	}
	return a.host.Close()
}

// Features is the number of features.
func (a *T2IAdapter) Features() int { return len(a.config.Channels) }

// Encode returns the features of a picture, [3, 8·height, 8·width] in [0, 1], for latents of
// height and width. Sides that do not halve as often as the network halves them are
// continued by their edges, which the features then lack.
func (a *T2IAdapter) Encode(ctx context.Context, picture tensor.Tensor) ([]tensor.Tensor, error) {
	height, width := picture.Height()/Factor, picture.Width()/Factor
	if a.config.PictureChannels == 1 {
		picture = Grey(picture)
	}
	folded := picture.PadEdge(a.config.Multiple()).PixelUnshuffle(a.config.Fold)
	in := []cgo.Input{{Name: "picture", Shape: folded.Batch(1), F32: folded.Data}}
	features, outputs := make([]tensor.Tensor, a.Features()), make([]cgo.Output, a.Features())
	h, w := folded.Height(), folded.Width()
	for i, channels := range a.config.Channels {
		h, w = h>>a.config.Halves[i], w>>a.config.Halves[i]
		features[i] = tensor.New(channels, h, w)
		outputs[i] = cgo.Output{Name: a.names()[i], Data: features[i].Data}
	}
	if err := a.net.RunFinite(ctx, in, outputs); err != nil {
		return nil, err
	}
	shift := 0
	if a.config.Fold > Factor {
		shift = 1
	}
	for i := range features {
		shift += a.config.Halves[i]
		up := 1<<shift - 1 // halving rounds up
		features[i] = features[i].Crop(tensor.Span{End: (height + up) >> shift}, tensor.Span{End: (width + up) >> shift})
	}
	return features, nil
}

// Grey is the luma of a picture, ITU-R BT.601's, as PIL has it.
func Grey(picture tensor.Tensor) tensor.Tensor {
	out := tensor.New(1, picture.Height(), picture.Width())
	n := len(out.Data)
	for i := range out.Data {
		out.Data[i] = 0.299*picture.Data[i] + 0.587*picture.Data[n+i] + 0.114*picture.Data[2*n+i]
	}
	return out
}

// Features are what T2I-Adapters add to a UNet, for each of a batch: for each level an
// image. nil is nothing.
type Features [][]tensor.Tensor

// Sum adds features, of which one may have fewer levels.
func Sum(a, b []tensor.Tensor) []tensor.Tensor {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	for i, f := range b {
		out[i] = f.Like()
		for k, v := range f.Data {
			out[i].Data[k] = v + a[i].Data[k]
		}
	}
	return out
}

// Inputs are the features as inputs of a UNet with a number of levels.
func (f Features) Inputs(levels int) (all []cgo.Input) {
	if len(f) == 0 {
		return nil
	}
	longest := slices.MaxFunc(f, func(a, b []tensor.Tensor) int { return len(a) - len(b) })
	for i, first := range longest {
		name := fmt.Sprintf("feature.%d", i)
		if i == levels {
			name = "feature.middle"
		}
		in := cgo.Input{Name: name, Shape: first.Batch(len(f)), F32: make([]float32, 0, len(f)*len(first.Data))}
		for _, one := range f {
			if i < len(one) {
				in.F32 = append(in.F32, one[i].Data...)
			} else {
				in.F32 = append(in.F32, make([]float32, len(first.Data))...)
			}
		}
		all = append(all, in)
	}
	return all
}
