package family

import (
	"fmt"
	"math"

	"github.com/sdgo/sdgo/convert/model"
)

// MMDiTConfig describes the transformer of Stable Diffusion 3 and 3.5: the network "mmdit" of the C++ core.
type MMDiTConfig struct {
	Prefix                string // of its tensors
	Channels, OutChannels int    // of latents: 16
	Patch                 int    // latent pixels along a token's side: 2
	Width, Heads, Blocks  int    // 1536, 24, 24; of large models 2432, 38, 38
	Side                  int    // of the table of positions, in tokens: 192; of 3.5 medium 384
	Text                  int    // channels of the texts' states: 4096
	Pooled                int    // of the texts' vectors, side by side: 2048
	Norms                 bool   `json:",omitzero"` // of queries and keys, as in 3.5
	Dual                  int    `json:",omitzero"` // the first blocks whose picture attends to itself once more: of 3.5 medium 13
}

// Params are the hyperparameters of the network.
func (c MMDiTConfig) Params() map[string][]float64 {
	norms := 0
	if c.Norms {
		norms = 1
	}
	return map[string][]float64{
		"channels": one(c.Channels), "out_channels": one(c.OutChannels), "patch": one(c.Patch), "width": one(c.Width), "heads": one(c.Heads), "blocks": one(c.Blocks),
		"side": one(c.Side), "text": one(c.Text), "pooled": one(c.Pooled), "norms": one(norms), "dual": one(c.Dual),
	}
}

func (c MMDiTConfig) summary() string {
	return fmt.Sprintf("%d blocks of width %d, %d heads, at most %dx%d tokens", c.Blocks, c.Width, c.Heads, c.Side, c.Side)
}

// mmditHead is the width of a head of all published models, which no shape of Stable Diffusion 3's tells.
const mmditHead = 64

// mmdit reads the transformer's configuration.
func mmdit(r *Reader) (c MMDiTConfig) {
	c.Prefix = denoiserPrefix(r, "x_embedder.proj.weight")
	p := c.Prefix
	first, out, table := r.Shape(p+"x_embedder.proj.weight", 4), r.Shape(p+"final_layer.linear.weight", 2), r.Shape(p+"pos_embed", 3)
	c.Width, c.Channels, c.Patch = first[0], first[1], first[2]
	c.Blocks = r.Count(escaped(p) + "joint_blocks.%d.x_block.attn.qkv.weight")
	c.Dual = r.Count(escaped(p) + "joint_blocks.%d.x_block.attn2.qkv.weight")
	c.Norms = r.Has(p + "joint_blocks.0.x_block.attn.ln_q.weight")
	c.Text, c.Pooled = r.Shape(p+"context_embedder.weight", 2)[1], r.Shape(p+"y_embedder.mlp.0.weight", 2)[1]
	if c.Norms && r.Has(p+"joint_blocks.0.x_block.attn.ln_q.bias") {
		r.Fail("queries and keys with layer norms are not supported: Stable Diffusion 3.5's have RMS norms: %w", model.ErrUnrecognized)
	}
	head := mmditHead
	if c.Norms {
		head = r.Shape(p+"joint_blocks.0.x_block.attn.ln_q.weight", 1)[0]
	}
	r.Number(keyUNetHeads, 1, 1<<10, func(v float64) { head = c.Width / int(v) })
	for i := range c.Blocks {
		if r.Has(fmt.Sprintf("%sjoint_blocks.%d.x_block.attn2.qkv.weight", p, i)) != (i < c.Dual) {
			r.Fail("only the first blocks may attend to the picture twice, but not block %d: %w", i, model.ErrUnrecognized)
		}
	}
	if r.err != nil {
		return c
	}
	c.Side = int(math.Sqrt(float64(table[1])))
	switch {
	case table[0] != 1 || c.Side*c.Side != table[1] || table[2] != c.Width:
		r.Fail("tensor %q must have the shape [1, side², %d], got %v: %w", p+"pos_embed", c.Width, table[:3], model.ErrUnrecognized)
	case c.Patch < 1 || first[3] != c.Patch || out[0]%(c.Patch*c.Patch) != 0:
		r.Fail("patches of %dx%d and %d numbers of a token do not fit: %w", c.Patch, first[3], out[0], model.ErrUnrecognized)
	case head < 1 || c.Width%head != 0:
		r.Fail("a width of %d must divide into heads, got heads of %d: %w", c.Width, head, model.ErrUnrecognized)
	default:
		c.OutChannels, c.Heads = out[0]/(c.Patch*c.Patch), c.Width/head
	}
	return c
}
