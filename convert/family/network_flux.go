package family

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/model"
)

// fluxPatch is the number of latent pixels along a token's side.
const fluxPatch = 2

// FluxConfig describes the transformer of FLUX.1 or Chroma: the network "flux" of the C++ core.
type FluxConfig struct {
	Prefix                string // of its tensors
	Channels, OutChannels int    // of latents: 16 and 16; Channels with what the model sees beside the noisy one
	Width, Heads          int    // 3072, 24
	Double, Single        int    // blocks of two streams and of one: 19, 38
	FFN                   int    // 12288
	Text                  int    // channels of T5's states: 4096
	Pooled                int    `json:",omitzero"` // of CLIP's vector: 768; 0 in Chroma
	Guidance              bool   `json:",omitzero"` // the guidance scale is an input

	// Of Chroma: the network that makes what modulates of numbers for each of its rows.
	Rows, Approximator, ApproximatorLayers int `json:",omitzero"` // 64, 5120, 5
}

// Params are the hyperparameters of the network.
func (c FluxConfig) Params() map[string][]float64 {
	guidance := 0
	if c.Guidance {
		guidance = 1
	}
	return map[string][]float64{
		"channels": one(c.Channels), "out_channels": one(c.OutChannels), "patch": one(fluxPatch), "width": one(c.Width), "heads": one(c.Heads),
		"double_blocks": one(c.Double), "single_blocks": one(c.Single), "ffn": one(c.FFN), "text": one(c.Text), "pooled": one(c.Pooled), "guidance": one(guidance),
		"rows": one(c.Rows), "approximator": one(c.Approximator), "approximator_layers": one(c.ApproximatorLayers),
	}
}

// Modulations is the number of vectors that modulate blocks and the last layer: rows that Chroma's approximator gets.
func (c FluxConfig) Modulations() int { return 3*c.Single + 12*c.Double + 2 }

// Axes are the widths, in channels of a head, that rotary embeddings turn by a token's picture, row and column.
func (c FluxConfig) Axes() [3]int {
	d := c.Width / c.Heads
	return [3]int{d / 8, d * 7 / 16, d * 7 / 16}
}

func (c FluxConfig) summary() string {
	return fmt.Sprintf("%d double and %d single blocks of width %d, %d heads, %d input channels", c.Double, c.Single, c.Width, c.Heads, c.Channels)
}

// fluxTransformer reads the transformer's configuration.
func fluxTransformer(r *Reader) (c FluxConfig) {
	c.Prefix = denoiserPrefix(r, "img_in.weight")
	p := c.Prefix
	in, out := r.Shape(p+"img_in.weight", 2), r.Shape(p+"final_layer.linear.weight", 2)
	head := r.Shape(p+"double_blocks.0.img_attn.norm.query_norm.scale", 1)[0]
	c.Width, c.Text = in[0], r.Shape(p+"txt_in.weight", 2)[1]
	c.Double = r.Count(escaped(p) + "double_blocks.%d.img_attn.qkv.weight")
	c.Single = r.Count(escaped(p) + "single_blocks.%d.linear1.weight")
	c.FFN = r.Shape(p+"double_blocks.0.img_mlp.0.weight", 2)[0]
	if r.Has(p + approximatorMark) {
		first := r.Shape(p+"distilled_guidance_layer.in_proj.weight", 2)
		c.Approximator, c.Rows = first[0], first[1]
		c.ApproximatorLayers = r.Count(escaped(p) + "distilled_guidance_layer.layers.%d.in_layer.weight")
		if r.err == nil && (c.Rows < 16 || c.Rows%16 != 0) {
			r.Fail("Chroma's rows of what modulates must have a multiple of 16 numbers, got %d: %w", c.Rows, model.ErrUnrecognized)
		}
	} else {
		c.Pooled = r.Shape(p+"vector_in.in_layer.weight", 2)[1]
		c.Guidance = r.Has(p + "guidance_in.in_layer.weight")
	}
	if r.err != nil {
		return c
	}
	const square = fluxPatch * fluxPatch
	switch {
	case in[1]%square != 0 || out[0]%square != 0 || in[1] < out[0]:
		r.Fail("tokens of %d numbers in and %d out are not squares of 2x2 latent pixels: %w", in[1], out[0], model.ErrUnrecognized)
	case head < 1 || c.Width%head != 0 || head%16 != 0:
		r.Fail("a width of %d must divide into heads of a multiple of 16 channels, got %d: %w", c.Width, head, model.ErrUnrecognized)
	case c.Single > 0 && r.Shape(p+"single_blocks.0.linear1.weight", 2)[0] != 3*c.Width+c.FFN:
		r.Fail("tensor %q must have %d rows: %w", p+"single_blocks.0.linear1.weight", 3*c.Width+c.FFN, model.ErrUnrecognized)
	default:
		c.Channels, c.OutChannels, c.Heads = in[1]/square, out[0]/square, c.Width/head
	}
	return c
}
