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
	Fused:      sd3Layers,
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
