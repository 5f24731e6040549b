package family

import "github.com/sdgo/sdgo/convert/layout"

// DiT is the diffusion transformer of Peebles and Xie (2023), conditioned on
// classes.
const DiT = "dit"

var dit = &Family{
	Name: DiT,
	Looks: []Look{
		{"a DiT, which draws from classes", []string{"blocks.0.adaLN_modulation.1.weight", "y_embedder.embedding_table.weight"}},
		{"a DiT in the diffusers library's layout", []string{"transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight"}},
	},
	Fused:      ditLayers,
	Properties: ditProperties,
	Groups:     transformerGroups,
	Precise:    []string{"x_embedder.", "t_embedder.", "y_embedder.", "pos_embed"},
}

func ditProperties(d *Describer) {
	d.Property("blocks", d.Blocks("blocks."))
	d.Property("width", d.Dim("final_layer.linear.weight", 1))
	if n := d.Dim("y_embedder.embedding_table.weight", 0); n > 1 {
		d.Property("classes", n-1) // the last row stands for no class
	}
}

// ditLayers are named as in facebookresearch/DiT, models.py. The diffusers
// library keeps the embedders of time and class in every block, all the same. It
// computes the table of positions, which original files have.
var ditLayers = []layout.Fusion{
	layout.One("x_embedder.proj", "pos_embed.proj"),
	layout.One("t_embedder.mlp.0", "transformer_blocks.0.norm1.emb.timestep_embedder.linear_1"),
	layout.One("t_embedder.mlp.2", "transformer_blocks.0.norm1.emb.timestep_embedder.linear_2"),
	layout.One("y_embedder.embedding_table", "transformer_blocks.0.norm1.emb.class_embedder.embedding_table"),
	layout.One("", "transformer_blocks.#.norm1.emb.timestep_embedder.linear_1"),
	layout.One("", "transformer_blocks.#.norm1.emb.timestep_embedder.linear_2"),
	layout.One("", "transformer_blocks.#.norm1.emb.class_embedder.embedding_table"),
	layout.One("blocks.#.adaLN_modulation.1", "transformer_blocks.#.norm1.linear"),
	{LDM: "blocks.#.attn.qkv", Diffusers: []string{"transformer_blocks.#.attn1.to_q", "transformer_blocks.#.attn1.to_k", "transformer_blocks.#.attn1.to_v"}},
	layout.One("blocks.#.attn.proj", "transformer_blocks.#.attn1.to_out.0"),
	layout.One("blocks.#.mlp.fc1", "transformer_blocks.#.ff.net.0.proj"),
	layout.One("blocks.#.mlp.fc2", "transformer_blocks.#.ff.net.2"),
	layout.One("final_layer.adaLN_modulation.1", "proj_out_1"),
	layout.One("final_layer.linear", "proj_out_2"),
}
