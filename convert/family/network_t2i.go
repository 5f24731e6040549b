package family

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/sdgo/sdgo/convert/model"
)

// T2IAdapterConfig describes a T2I-Adapter.
type T2IAdapterConfig struct {
	// PictureChannels are those of the picture: 3, or 1 of a grey one. Squares of Fold x Fold of
	// its pixels become channels: 8, or 16 for Stable Diffusion XL.
	PictureChannels, Fold int

	Channels  []int // of each feature: 320 640 1280 1280
	Halves    []int // for each feature: 1 where its sides are half those of the one before
	ResBlocks int   // residual blocks of each feature: 2, of light networks 4
	Light     bool  // of the authors' light networks
}

// Params are the hyperparameters of the network "t2i_adapter".
func (c T2IAdapterConfig) Params() map[string][]float64 {
	light := 0
	if c.Light {
		light = 1
	}
	return map[string][]float64{"in_channels": one(c.PictureChannels * c.Fold * c.Fold), "channels": each(c.Channels), "halves": each(c.Halves),
		"res_blocks": one(c.ResBlocks), "light": one(light)}
}

// Multiple is what the sides of a picture must be multiples of, in pixels.
func (c T2IAdapterConfig) Multiple() int {
	n := c.Fold
	for _, halves := range c.Halves {
		n <<= halves
	}
	return n
}

// Weights are those of the authors' ldm/modules/encoders/adapter.py, Adapter and
// Adapter_light.
func (c T2IAdapterConfig) Weights() []Weight {
	w := &weights{}
	in := c.PictureChannels * c.Fold * c.Fold
	if !c.Light {
		w.conv("conv_in", c.Channels[0], in, 3)
		in = c.Channels[0]
	}
	for i, out := range c.Channels {
		if c.Light {
			level := fmt.Sprintf("body.%d.", i)
			w.conv(level+"in_conv", out/narrowT2I, in, 1)
			for n := range c.ResBlocks {
				w.conv(fmt.Sprintf("%sbody.%d.block1", level, n), out/narrowT2I, out/narrowT2I, 3)
				w.conv(fmt.Sprintf("%sbody.%d.block2", level, n), out/narrowT2I, out/narrowT2I, 3)
			}
			w.conv(level+"out_conv", out, out/narrowT2I, 1)
			in = out
			continue
		}
		if in != out {
			w.conv(fmt.Sprintf("body.%d.in_conv", i*c.ResBlocks), out, in, 1)
		}
		for n := i * c.ResBlocks; n < (i+1)*c.ResBlocks; n++ {
			w.conv(fmt.Sprintf("body.%d.block1", n), out, out, 3)
			w.conv(fmt.Sprintf("body.%d.block2", n), out, out, 1)
		}
		in = out
	}
	return w.all
}

// narrowT2I is how many times fewer channels a light network has within a level.
const narrowT2I = 4

// NewT2IAdapterConfig describes a T2I-Adapter for grey pictures that fits a UNet: with
// features for as many of its levels as the layout can have, and a number of residual blocks
// for each.
func NewT2IAdapterConfig(u UNetConfig, blocks int) (*T2IAdapterConfig, error) {
	for _, fold := range []int{8, 16} {
		c := &T2IAdapterConfig{PictureChannels: 1, Fold: fold, ResBlocks: blocks}
		for _, p := range u.places() {
			longer := *c
			longer.Channels = append(slices.Clone(c.Channels), p.channels)
			longer.Halves = longer.halves()
			if longer.Misfit(u) != "" {
				break
			}
			c = &longer
		}
		if len(c.Channels) > 0 {
			return c, nil
		}
	}
	return nil, errors.New("no T2I-Adapter fits a UNet whose first level has its features at another size than 1/1 or 1/2 of the latent's")
}

// Metadata is what no shape tells of the file.
func (c T2IAdapterConfig) Metadata() map[string]string {
	return map[string]string{keyT2IBlocks: strconv.Itoa(c.ResBlocks)}
}

// halves are the usual ones.
func (c T2IAdapterConfig) halves() (all []int) {
	for i := range c.Channels {
		halves := 0
		if i > 0 && (c.Fold == 8 || i == 2) { // of XL's the third alone
			halves = 1
		}
		all = append(all, halves)
	}
	return all
}

// Networks lists the network, for people and programs to read.
func (c *T2IAdapterConfig) Networks() []model.Network {
	return []model.Network{{Key: "t2i_adapter", Name: "T2I-Adapter", Config: c, Summary: fmt.Sprintf("%d features of %v channels, %d blocks each, pictures of %d channels in squares of %d pixels",
		len(c.Channels), c.Channels, c.ResBlocks, c.PictureChannels, c.Fold)}}
}

// readT2IAdapter reads the configuration of a T2I-Adapter with original names.
func readT2IAdapter(r *Reader) *T2IAdapterConfig {
	c := &T2IAdapterConfig{ResBlocks: usualT2IBlocks, Light: r.Has("body.0.out_conv.weight")}
	r.Number(keyT2IBlocks, 1, 64, func(v float64) { c.ResBlocks = int(v) })
	first := "conv_in.weight"
	if c.Light {
		first, c.ResBlocks = "body.0.in_conv.weight", r.Count("body.0.body.%d.block1.weight")
	}
	c.readPicture(r, r.Shape(first, 4)[1])
	if c.Light {
		for i := range r.Count("body.%d.out_conv.weight") {
			c.Channels = append(c.Channels, r.Shape(fmt.Sprintf("body.%d.out_conv.weight", i), 4)[0])
		}
	} else if n := r.Count("body.%d.block1.weight"); r.err == nil {
		if n == 0 || n%c.ResBlocks != 0 {
			r.Fail("%d residual blocks, %d for each level: %w", n, c.ResBlocks, model.ErrUnrecognized)
		}
		for i := 0; i < n; i += c.ResBlocks {
			c.Channels = append(c.Channels, r.Shape(fmt.Sprintf("body.%d.block1.weight", i), 4)[0])
		}
	}
	if r.err == nil && (len(c.Channels) == 0 || len(c.Channels) > maxLevels) {
		r.Fail("a T2I-Adapter must have 1 to %d features, got %d", maxLevels, len(c.Channels))
	}
	c.Halves = c.halves()
	if r.err == nil {
		r.complete(nil, c.Weights())
	}
	return c
}

// readPicture finds what the first layer's channels are.
func (c *T2IAdapterConfig) readPicture(r *Reader, channels int) {
	for _, fold := range []int{8, 16} {
		for _, n := range []int{1, 3} {
			if channels == n*fold*fold {
				c.Fold, c.PictureChannels = fold, n
			}
		}
	}
	if r.err == nil && c.Fold == 0 {
		r.Fail("a T2I-Adapter must take 64, 192, 256 or 768 channels, got %d: %w", channels, model.ErrUnrecognized)
	}
}

// Misfit says why the network's features can't be added to a UNet; "" if they can.
func (c T2IAdapterConfig) Misfit(u UNetConfig) string {
	places := u.places()
	if len(c.Channels) > len(places) {
		return fmt.Sprintf("it has %d features, the model has places for %d", len(c.Channels), len(places))
	}
	shift := map[int]int{8: 0, 16: 1}[c.Fold] // halvings of the latent
	for i, channels := range c.Channels {
		shift += c.Halves[i]
		if p := places[i]; p.channels != channels || p.shift != shift {
			return fmt.Sprintf("feature %d has %d channels at 1/%d of the latent's size, the model's level %d at 1/%d", i, channels, 1<<shift, p.channels, 1<<p.shift)
		}
	}
	return ""
}

// featurePlace is what features are added to: its channels, and how often its sides are half the
// latent's.
type featurePlace struct{ channels, shift int }

// places are those of a UNet's levels and its middle: of a level with attention, and of the
// last one, its last residual block; else what is half as large.
func (c UNetConfig) places() (all []featurePlace) {
	depths, last := c.inputDepths(), len(c.ChannelMult)-1
	for level, mult := range c.ChannelMult {
		attends := false
		for i := range c.NumResBlocks {
			attends = attends || depths[level*c.NumResBlocks+i] > 0
		}
		shift := level
		if !attends && level < last {
			shift++
		}
		all = append(all, featurePlace{c.ModelChannels * mult, shift})
	}
	return append(all, featurePlace{c.ModelChannels * c.ChannelMult[last], last})
}
