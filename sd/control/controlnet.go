// Package control has networks that make a denoiser follow a picture, such as edges or a
// pose, beside the text: ControlNets, T2I-Adapters
// and IP-Adapters.
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

// ControlNet is an open ControlNet (Zhang et al. 2023, arXiv:2302.05543). Its methods may be
// called from any goroutine. It must stay open as long as a model uses it.
type ControlNet struct {
	host   *engine.Host
	net    *engine.Network
	config *convert.ControlNetConfig

	changes *engine.Adaptation // of a Control-LoRA; nil of others
}

// Factor is the number of a picture's pixels along a side of a pixel of the latent.
const Factor = 8

// OpenControlNet opens a ControlNet for Stable Diffusion 1.x, 2.x or XL: a file in the
// original layout or the diffusers library's, a folder of the library's, or the file of a
// whole model that brings one along.
func OpenControlNet(path string, o engine.Options) (*ControlNet, error) {
	n, err := Open(path, Files{}, o)
	if err != nil {
		return nil, err
	}
	c, ok := n.(*ControlNet)
	if !ok {
		defer n.Close()
		return nil, fmt.Errorf("%s: %s; expected a ControlNet: %w", path, n.Host().Weights.Description, convert.ErrUnrecognized)
	}
	return c, nil
}

// adaptation is what a Control-LoRA adds to its weights, which are the model's own; nil of others.
func (c *ControlNet) adaptation() *engine.Adaptation {
	if len(c.config.Changes) == 0 {
		return nil
	}
	var all []engine.WeightChange
	for _, x := range c.config.Changes {
		all = append(all, engine.WeightChange{Tensor: x.Weight, LowRank: []engine.LowRank{{Down: x.Down, Up: x.Up, Rank: x.Rank, Scale: 1}}})
	}
	return engine.NewAdaptation(all, func() (func() error, error) { return c.host.Weights.Intact, nil })
}

func (c *ControlNet) setUp() (err error) {
	c.net, err = c.host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the ControlNet", Arch: "controlnet",
		Prefix: convert.ControlPrefix, Params: c.config.Params()})
	if err != nil {
		return fmt.Errorf("%s: %w", c.host.Weights.Path, err)
	}
	return nil
}

// demands are the network's memory for a picture of 512 x 512 pixels with guidance.
func (c *ControlNet) demands() ([]engine.Demand, error) {
	const side, tokens = 64, 77
	d, ok, err := engine.DemandOf(c.net, c.names()[c.config.Skips()], c.shapes(2, side, side, tokens)...)
	if !ok {
		return nil, err
	}
	return []engine.Demand{d}, nil
}

// shapes are the inputs of a run without their values.
func (c *ControlNet) shapes(n, height, width, tokens int) []cgo.Input {
	u := c.config.UNet
	all := []cgo.Input{
		{Name: "x", Shape: tensor.Batch(n, []int{u.InChannels, height, width})}, {Name: "t", Shape: tensor.Batch(n, nil)},
		{Name: "hint", Shape: tensor.Batch(n, []int{u.ModelChannels, height, width})},
	}
	if u.ContextDim > 0 {
		all = append(all, cgo.Input{Name: "context", Shape: tensor.Batch(n, []int{tokens, u.ContextDim})})
	}
	if u.ADMChannels > 0 {
		all = append(all, cgo.Input{Name: "y", Shape: tensor.Batch(n, []int{u.ADMChannels})})
	}
	if c.config.Types > 0 {
		all = append(all, cgo.Input{Name: "flags", Shape: tensor.Batch(n, []int{c.config.Types})})
	}
	return all
}

// names are those of what the network returns: for each skip, and for the middle.
func (c *ControlNet) names() (all []string) {
	for k := range c.config.Skips() {
		all = append(all, fmt.Sprintf("control.%d", k))
	}
	return append(all, "control.middle")
}

// Outputs is the number of what the network returns: for each skip of the UNet, and for
// its middle.
func (c *ControlNet) Outputs() int { return c.config.Skips() + 1 }

// Pools reports whether the outputs are averaged over the picture. Such a network is for
// predictions with the prompt alone.
func (c *ControlNet) Pools() bool { return c.config.GlobalPool }

// Types is the number of kinds of pictures that a ControlNet Union knows, of which each picture is
// one; 0 of other networks.
func (c *ControlNet) Types() int { return c.config.Types }

// Misfit says why the network can't steer a UNet; "" if it can.
func (c *ControlNet) Misfit(u convert.UNetConfig) string { return c.config.Misfit(u) }

// Host is the network's host; nil of a zero value, which was never opened.
func (c *ControlNet) Host() *engine.Host {
	if c == nil {
		return nil
	}
	return c.host
}

// Name is the network's name in requests: its file's, without folder and extension.
func (c *ControlNet) Name() string {
	if c.Host() == nil {
		return ""
	}
	return c.host.Name
}

// Network is the network.
func (c *ControlNet) Network() *engine.Network { return c.net }

// Close waits for the requests that use the network, frees it and unmaps the file. Closing
// again does nothing.
func (c *ControlNet) Close() error {
	if c.Host() == nil {
		return nil
	}
	return c.host.Close()
}

// Hint encodes a picture, [3, 8·height, 8·width] in [0, 1], for latents of height and width. kind
// is its kind, below Types; 0 for a network without any.
func (c *ControlNet) Hint(ctx context.Context, picture tensor.Tensor, kind int) (tensor.Tensor, error) {
	hint := tensor.New(c.config.UNet.ModelChannels, picture.Height()/Factor, picture.Width()/Factor)
	in := []cgo.Input{{Name: "picture", Shape: picture.Batch(1), F32: picture.Data}}
	if c.config.Types > 0 {
		in = append(in, cgo.Input{Name: "type", Shape: []int64{1, 1}, I32: []int32{int32(kind)}})
	}
	return hint, c.net.RunFinite(ctx, in, []cgo.Output{{Name: "hint", Data: hint.Data}})
}

// Item is what the network needs for one of a batch of latents: an encoded picture, and
// factors of its outputs, of which nil are all 1.
type Item struct {
	Hint  tensor.Tensor
	Scale []float32
	Kind  int // of the picture: see Hint
}

// Counts reports whether any of the network's outputs does.
func (i Item) Counts() bool {
	return i.Scale == nil || slices.ContainsFunc(i.Scale, func(v float32) bool { return v != 0 })
}

// Run returns what is added to a UNet for a batch: x are the latents, one after the other,
// and in the UNet's own inputs. To the result of other networks, before, this one's is
// added. With shallow it is only what is added to the first skip. Latents whose items do not count are
// not computed.
func (c *ControlNet) Run(ctx context.Context, x cgo.Input, in []cgo.Input, items []Item, before Residuals, shallow bool) (Residuals, error) {
	if slices.ContainsFunc(items, func(i Item) bool { return !i.Counts() }) {
		return c.runSome(ctx, x, in, items, before, shallow)
	}
	inputs := []cgo.Input{x}
	for _, i := range in {
		if i.Name == "t" || i.Name == "context" && c.config.UNet.ContextDim > 0 || i.Name == "y" && c.config.UNet.ADMChannels > 0 {
			inputs = append(inputs, i)
		}
	}
	inputs = append(inputs, hintsOf(items))
	if c.config.Types > 0 {
		inputs = append(inputs, c.flagsOf(items))
	}
	if slices.ContainsFunc(items, func(i Item) bool { return i.Scale != nil }) {
		inputs = append(inputs, c.scalesOf(items))
	}
	given, err := before.On(c.net.Device())
	if err != nil {
		return Residuals{}, err
	}
	names := c.names()
	if shallow {
		names = names[:1]
	}
	outputs := make([]cgo.Output, len(names))
	for i, name := range names {
		outputs[i].Name = name
	}
	if err := c.net.Run(ctx, append(inputs, given...), outputs, c.changes); err != nil {
		return Residuals{}, err
	}
	r := Residuals{device: c.net.Device()}
	for _, o := range outputs {
		r.names, r.values = append(r.names, o.Name), append(r.values, o.Value)
	}
	return r, nil
}

// hintsOf are the encoded pictures of a batch.
func hintsOf(items []Item) cgo.Input {
	in := cgo.Input{Name: "hint", Shape: items[0].Hint.Batch(len(items)), F32: items[0].Hint.Data}
	if len(items) > 1 {
		in.F32 = make([]float32, 0, len(items)*len(items[0].Hint.Data))
		for _, i := range items {
			in.F32 = append(in.F32, i.Hint.Data...)
		}
	}
	return in
}

// flagsOf say of each of a batch which kind of picture it is.
func (c *ControlNet) flagsOf(items []Item) cgo.Input {
	n := c.config.Types
	in := cgo.Input{Name: "flags", Shape: []int64{int64(len(items)), int64(n)}, F32: make([]float32, len(items)*n)}
	for i, item := range items {
		in.F32[i*n+item.Kind] = 1
	}
	return in
}

// scalesOf are the factors of a batch.
func (c *ControlNet) scalesOf(items []Item) cgo.Input {
	n := c.Outputs()
	in := cgo.Input{Name: "scale", Shape: []int64{int64(len(items)), int64(n)}}
	for _, i := range items {
		if i.Scale == nil {
			in.F32 = append(in.F32, slices.Repeat([]float32{1}, n)...)
		}
		in.F32 = append(in.F32, i.Scale...)
	}
	return in
}

// Estimate is the memory of a run for n latents, in bytes.
func (c *ControlNet) Estimate(ctx context.Context, n, height, width, tokens int) (uint64, error) {
	outputs := make([]cgo.Output, c.Outputs())
	for i, name := range c.names() {
		outputs[i].Name = name
	}
	return c.net.Estimate(ctx, c.shapes(n, height, width, tokens), outputs, c.changes)
}
