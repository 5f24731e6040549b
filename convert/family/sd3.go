package family

import (
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// SD3 is Stable Diffusion 3 and 3.5.
const SD3 = "sd3"

var sd3 = &Family{
	Name: SD3,
	Looks: []Look{
		{"Stable Diffusion 3.5", []string{"*joint_blocks.0.x_block.attn.ln_q.weight"}},
		{"Stable Diffusion 3", []string{"*joint_blocks.0.context_block.attn.qkv.weight"}},
		{"Stable Diffusion 3 in the diffusers library's layout", []string{"*transformer_blocks.0.attn.add_q_proj.weight", "*pos_embed.proj.weight"}},
	},
	Runs:    true,
	Rewrite: originalTransformer(sd3Layers, "joint_blocks.0.context_block.attn.qkv.weight", "transformer_blocks."),
	Settings: flowFiles("SD3Transformer2DModel", mmditMarks, func(c *config) {
		if n, ok := c.number("num_attention_heads", 1, 1<<10); ok {
			c.say(keyUNetHeads, n)
		}
	}, map[place]func(c *config) []string{inFirstText: clipFile("quick_gelu"), inSecondText: clipFile("gelu"), inThirdText: t5File}),
	Read:      readSD3,
	Metadata:  describeTexts,
	Tokenizer: "tokenizer", T5Tokenizer: "tokenizer_3",
	Complete:   completeT5,
	Properties: sd3Properties,
	Groups:     transformerGroups,
	Role:       Denoiser,
	Slots: func(Given) Slots {
		return Slots{Denoiser: model.UNetPrefix, Autoencoder: model.VAEPrefix, CLIPL: model.CLIPLPrefix, CLIPG: model.CLIPGPrefix, T5: model.T5Prefix}
	},
	Precise: []string{"context_embedder."},
}

func sd3Properties(d *Describer) {
	blocks := d.Blocks("joint_blocks.")
	d.Property("width", d.Dim("x_embedder.proj.weight", 0))
	d.Property("blocks", blocks)
	if d.Has("joint_blocks.0.x_block.attn.ln_q.weight") {
		d.Model.Description = strings.Replace(d.Model.Description, "Stable Diffusion 3 ", "Stable Diffusion 3.5 ", 1)
	}
	switch {
	case d.Has("joint_blocks.0.x_block.attn2.qkv.weight") || blocks == 24:
		d.Say("medium")
	case blocks == 38:
		d.Say("large")
	}
}

// SD3Model is the configuration of Stable Diffusion 3 and 3.5. Of networks that the file lacks, the layers or channels are 0.
type SD3Model struct {
	Transformer  MMDiTConfig
	CLIPL, CLIPG TextConfig
	T5           T5Config // which may be left out
	VAE          VAEConfig
	Flow         Flow
}

// Carry keeps what is read off a whole file when one of its networks is replaced.
func (c *SD3Model) Carry(map[string]string) {}

// Networks lists the networks, for people and programs to read.
func (c *SD3Model) Networks() []model.Network {
	return withTexts([]model.Network{{Key: "transformer", Name: "transformer", Config: c.Transformer, Summary: c.Transformer.summary() + ", " + c.Flow.summary()}}, c.T5, c.VAE, c.CLIPL, c.CLIPG)
}

func readSD3(r *Reader) any {
	c := &SD3Model{Transformer: mmdit(r)}
	tokenizers(r)
	r.Model.NativeSize = 1024
	c.CLIPL, c.CLIPG = clipOf(r, model.CLIPLPrefix, "quick_gelu"), clipOf(r, model.CLIPGPrefix, "gelu")
	c.T5, c.VAE = t5Of(r, model.T5Prefix), vaeOf(r, 1.5305, 0.0609)
	c.Flow = flowOf(r, Flow{Shift: 3})
	t := c.Transformer
	both := c.CLIPL.Layers > 0 && c.CLIPG.Layers > 0
	switch {
	case r.err != nil:
	case c.T5.Layers > 0 && c.T5.Width != t.Text:
		r.Fail("a T5 text encoder of width %d does not fit a transformer that needs %d", c.T5.Width, t.Text)
	case both && c.CLIPL.Width+c.CLIPG.Width > t.Text:
		r.Fail("CLIP text encoders of width %d and %d do not fit a transformer that needs at most %d together", c.CLIPL.Width, c.CLIPG.Width, t.Text)
	case both && c.CLIPL.Pooled > 0 && c.CLIPG.Pooled > 0 && c.CLIPL.Pooled+c.CLIPG.Pooled != t.Pooled:
		r.Fail("CLIP text encoders with vectors of %d and %d numbers do not fit a transformer that needs %d", c.CLIPL.Pooled, c.CLIPG.Pooled, t.Pooled)
	case both && c.CLIPL.ContextLength != c.CLIPG.ContextLength:
		r.Fail("text encoders of %d and %d tokens do not fit together", c.CLIPL.ContextLength, c.CLIPG.ContextLength)
	case c.VAE.EmbedDim > 0 && c.VAE.EmbedDim != t.OutChannels:
		r.Fail("an autoencoder with %d latent channels does not fit a transformer with %d", c.VAE.EmbedDim, t.OutChannels)
	}
	return c
}

// sd3Layers are named as in Stability-AI/sd3.5, mmditx.py.
var sd3Layers = []layout.Fusion{
	layout.One("pos_embed", "pos_embed.pos_embed"),
	layout.One("x_embedder.proj", "pos_embed.proj"),
	layout.One("context_embedder", "context_embedder"),
	layout.One("t_embedder.mlp.0", "time_text_embed.timestep_embedder.linear_1"),
	layout.One("t_embedder.mlp.2", "time_text_embed.timestep_embedder.linear_2"),
	layout.One("y_embedder.mlp.0", "time_text_embed.text_embedder.linear_1"),
	layout.One("y_embedder.mlp.2", "time_text_embed.text_embedder.linear_2"),
	layout.One("joint_blocks.#.x_block.adaLN_modulation.1", "transformer_blocks.#.norm1.linear"),
	// The last block only shifts and scales its text, in the library's order.
	{LDM: "joint_blocks.#.context_block.adaLN_modulation.1", Diffusers: []string{"transformer_blocks.#.norm1_context.linear"},
		Swapped: true, SwappedWithout: "transformer_blocks.#.attn.to_add_out.weight"},
	{LDM: "joint_blocks.#.x_block.attn.qkv", Diffusers: []string{"transformer_blocks.#.attn.to_q", "transformer_blocks.#.attn.to_k", "transformer_blocks.#.attn.to_v"}},
	{LDM: "joint_blocks.#.context_block.attn.qkv", Diffusers: []string{"transformer_blocks.#.attn.add_q_proj", "transformer_blocks.#.attn.add_k_proj", "transformer_blocks.#.attn.add_v_proj"}},
	layout.One("joint_blocks.#.x_block.attn.ln_q", "transformer_blocks.#.attn.norm_q"),
	layout.One("joint_blocks.#.x_block.attn.ln_k", "transformer_blocks.#.attn.norm_k"),
	layout.One("joint_blocks.#.context_block.attn.ln_q", "transformer_blocks.#.attn.norm_added_q"),
	layout.One("joint_blocks.#.context_block.attn.ln_k", "transformer_blocks.#.attn.norm_added_k"),
	layout.One("joint_blocks.#.x_block.attn.proj", "transformer_blocks.#.attn.to_out.0"),
	layout.One("joint_blocks.#.context_block.attn.proj", "transformer_blocks.#.attn.to_add_out"),
	{LDM: "joint_blocks.#.x_block.attn2.qkv", Diffusers: []string{"transformer_blocks.#.attn2.to_q", "transformer_blocks.#.attn2.to_k", "transformer_blocks.#.attn2.to_v"}},
	layout.One("joint_blocks.#.x_block.attn2.ln_q", "transformer_blocks.#.attn2.norm_q"),
	layout.One("joint_blocks.#.x_block.attn2.ln_k", "transformer_blocks.#.attn2.norm_k"),
	layout.One("joint_blocks.#.x_block.attn2.proj", "transformer_blocks.#.attn2.to_out.0"),
	layout.One("joint_blocks.#.x_block.mlp.fc1", "transformer_blocks.#.ff.net.0.proj"),
	layout.One("joint_blocks.#.x_block.mlp.fc2", "transformer_blocks.#.ff.net.2"),
	layout.One("joint_blocks.#.context_block.mlp.fc1", "transformer_blocks.#.ff_context.net.0.proj"),
	layout.One("joint_blocks.#.context_block.mlp.fc2", "transformer_blocks.#.ff_context.net.2"),
	layout.One("final_layer.linear", "proj_out"),
	{LDM: "final_layer.adaLN_modulation.1", Diffusers: []string{"norm_out.linear"}, Swapped: true},
}
