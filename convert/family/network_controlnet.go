package family

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// ControlNetConfig describes a ControlNet for a UNet of latent diffusion.
type ControlNetConfig struct {
	// UNet is the UNet whose way down and middle the network has. It has no output.
	UNet UNetConfig

	// HintWidths are the channels of the network that encodes the picture, of each of its
	// four sizes: 16 32 96 256. PictureChannels are the picture's: 3.
	HintWidths      []int
	PictureChannels int

	// GlobalPool says that what the network returns is averaged over the picture, as that for
	// shuffled pictures does (diffusers: global_pool_conditions).
	GlobalPool bool `json:",omitzero"`
}

// Params are the hyperparameters of the network "controlnet".
func (c ControlNetConfig) Params() map[string][]float64 {
	params := c.UNet.Params()
	delete(params, "out_channels")
	delete(params, "output_depth")
	if c.UNet.ContextDim == 0 { // without attention, which the blocks need no number for
		params["context_dim"] = one(1)
	}
	if c.GlobalPool {
		params["global_pool"] = one(1)
	}
	params["hint_widths"], params["picture_channels"] = each(c.HintWidths), one(c.PictureChannels)
	return params
}

// Skips is the number of the UNet's skips, to each of which the network adds something,
// as it does to the middle.
func (c ControlNetConfig) Skips() int { return len(c.UNet.ChannelMult) * (c.UNet.NumResBlocks + 1) }

// Weights are those of Zhang's cldm/cldm.py, ControlNet.
func (c ControlNetConfig) Weights() []Weight {
	u := c.UNet
	w := &unetWeights{weights{prefix: model.ControlPrefix}, u}
	w.linear("time_embed.0", 4*u.ModelChannels, u.ModelChannels)
	w.linear("time_embed.2", 4*u.ModelChannels, 4*u.ModelChannels)
	if u.ADMChannels > 0 {
		w.linear("label_emb.0.0", 4*u.ModelChannels, u.ADMChannels)
		w.linear("label_emb.0.2", 4*u.ModelChannels, 4*u.ModelChannels)
	}
	w.conv("input_blocks.0.0", u.ModelChannels, u.InChannels, 3)
	skips := w.down()
	w.middle(w.width(len(u.ChannelMult) - 1))
	for k, channels := range skips {
		w.conv(fmt.Sprintf("zero_convs.%d.0", k), channels, channels, 1)
	}
	last := w.width(len(u.ChannelMult) - 1)
	w.conv("middle_block_out.0", last, last, 1)
	in := c.PictureChannels
	for i, out := range c.hintLayers() {
		w.conv(fmt.Sprintf("input_hint_block.%d", 2*i), out, in, 3)
		in = out
	}
	return w.all
}

// hintLayers are the output channels of the convolutions that encode the picture.
func (c ControlNetConfig) hintLayers() (all []int) {
	all = []int{c.HintWidths[0]}
	for i := range len(c.HintWidths) - 1 {
		all = append(all, c.HintWidths[i], c.HintWidths[i+1])
	}
	return append(all, c.UNet.ModelChannels)
}

// Networks lists the network, for people and programs to read.
func (c *ControlNetConfig) Networks() []model.Network {
	return []model.Network{{Key: "controlnet", Name: "ControlNet", Config: c, Summary: c.UNet.summary()}}
}

// nameControlNet gives the tensors of a file of the network alone the names that they
// have in a whole model.
func nameControlNet(m *model.Model) error {
	for i, t := range m.Tensors {
		if !strings.HasPrefix(t.Name, model.ControlPrefix) {
			m.Rename(i, model.ControlPrefix+t.Name)
		}
	}
	return nil
}

// OfControlNet are the tensors of the ControlNet in a file of a whole model; all of them if
// it has none, or is of another kind.
func OfControlNet(all []model.Stored) []model.Stored {
	var own []model.Stored
	whole := false
	for _, t := range all {
		whole = whole || strings.HasPrefix(t.Name, model.UNetPrefix)
		if strings.HasPrefix(t.Name, model.ControlPrefix) {
			own = append(own, t)
		}
	}
	if !whole || own == nil {
		return all
	}
	return own
}

// readControlNet reads the configuration of a ControlNet, whose tensors may have their
// names in a file of the network alone.
func readControlNet(r *Reader) *ControlNetConfig {
	named := &Reader{Model: r.Model.Copy()}
	if err := nameControlNet(named.Model); err != nil {
		r.Fail("%w", err)
	}
	c := &ControlNetConfig{}
	if c.read(named); named.err != nil {
		r.Fail("%w", named.err)
	}
	return c
}

func (c *ControlNetConfig) read(r *Reader) {
	for name, what := range map[string]string{
		"task_embedding": "a ControlNet Union", "lora_controlnet": "a Control-LoRA", "difference": "differences from a UNet",
		"controlnet_blocks.0.weight": "a ControlNet for a transformer",
	} {
		if r.Has(model.ControlPrefix + name) {
			r.Fail("it is %s, which is not supported yet: %w", what, model.ErrUnrecognized)
		}
	}
	// The readers of a UNet's parts know them by the UNet's names.
	u := &Reader{Model: &model.Model{Metadata: r.Model.Metadata}}
	for _, t := range r.Model.Tensors {
		if rest, ok := strings.CutPrefix(t.Name, model.ControlPrefix); ok {
			t.Name = model.UNetPrefix + rest
			u.Model.Add(t)
		}
	}
	unetInput(u, &c.UNet)
	u.unetDown(&c.UNet)
	u.unetMiddle(&c.UNet)
	c.UNet.OutputDepth = UNetConfig{NumResBlocks: c.UNet.NumResBlocks, TransformerDepth: c.UNet.TransformerDepth}.outputDepths()
	c.UNet.uniform()
	c.UNet.OutputDepth = nil
	if u.err != nil {
		r.Fail("%s", strings.ReplaceAll(u.err.Error(), model.UNetPrefix, model.ControlPrefix))
		return
	}
	c.readHint(r)
	c.readHeads(r)
	if r.err == nil {
		r.complete(nil, c.Weights())
	}
}

// readHint reads the network that encodes the picture: convolutions in places 0, 2 … 14,
// of which those in 4, 8 and 12 halve its sides.
func (c *ControlNetConfig) readHint(r *Reader) {
	for _, place := range []int{0, 4, 8, 12} {
		shape := r.Shape(fmt.Sprintf("%sinput_hint_block.%d.weight", model.ControlPrefix, place), 4)
		c.HintWidths = append(c.HintWidths, shape[0])
		if place == 0 {
			c.PictureChannels = shape[1]
		}
	}
	if r.err == nil && c.PictureChannels != 3 {
		r.Fail("a ControlNet must see 3 channels of a picture, got %d: %w", c.PictureChannels, model.ErrUnrecognized)
	}
}

// readHeads sets the heads, which no shape tells: those of SD 1, whose transformers have
// convolutions around them, or of later ones, unless the file says them.
func (c *ControlNetConfig) readHeads(r *Reader) {
	if c.UNet.Heads = 8; c.UNet.LinearProjection {
		c.UNet.Heads, c.UNet.HeadDim = 0, 64
	}
	r.Number(keyUNetHeads, 1, maxHeads, func(v float64) { c.UNet.Heads, c.UNet.HeadDim = int(v), 0 })
	r.Number(keyUNetHeadDim, 1, maxHeadDim, func(v float64) { c.UNet.Heads, c.UNet.HeadDim = 0, int(v) })
	r.headList(&c.UNet)
	c.UNet.Norms.apply(r, keyUNetGroups, keyUNetEps)
	c.GlobalPool = r.Model.Metadata[keyGlobalPool] == "true"
}

// Misfit says why the network can't steer a UNet; "" if it can.
func (c ControlNetConfig) Misfit(u UNetConfig) string {
	own := c.UNet
	switch {
	case own.ModelChannels != u.ModelChannels || !slices.Equal(own.ChannelMult, u.ChannelMult) || own.NumResBlocks != u.NumResBlocks:
		return fmt.Sprintf("it is for UNets of %d channels x %v with %d blocks a level, got %d channels x %v with %d", own.ModelChannels, own.ChannelMult,
			own.NumResBlocks, u.ModelChannels, u.ChannelMult, u.NumResBlocks)
	case own.ContextDim > 0 && own.ContextDim != u.ContextDim:
		return fmt.Sprintf("it is %s, whose text has width %d; the model's has %d", orUnknown(textWidths[own.ContextDim]), own.ContextDim, u.ContextDim)
	case own.ADMChannels > 0 && own.ADMChannels != u.ADMChannels:
		return fmt.Sprintf("it takes %d numbers about the whole picture, the model has %d", own.ADMChannels, u.ADMChannels)
	case own.InChannels != u.OutChannels:
		return fmt.Sprintf("it sees latents of %d channels, the model's have %d", own.InChannels, u.OutChannels)
	}
	return ""
}

func orUnknown(base string) string {
	if base == "" {
		return "for another model"
	}
	return "for " + base
}
