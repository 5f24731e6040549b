package family

import "github.com/sdgo/sdgo/convert/model"

// T5 is the encoder of T5 (Raffel et al. 2020).
const T5 = "t5"

var t5 = &Family{
	Name: T5,
	Looks: []Look{
		{"a T5 text encoder", []string{"*encoder.block.0.layer.0.SelfAttention.q.weight"}},
		{"a T5 text encoder with llama.cpp's names", []string{"enc.blk.0.attn_q.weight"}},
	},
	Properties: func(d *Describer) {
		width := max(d.Dim("shared.weight", 1), d.Dim("token_embd.weight", 1), d.Dim("embed_tokens.weight", 1))
		d.Property("width", width)
		d.Property("layers", max(d.Blocks("encoder.block."), d.Blocks("enc.blk.")))
		d.Say(map[int]string{4096: "T5-XXL", 2048: "T5-XL", 1024: "T5-Large"}[width])
	},
	Role:       T5Text,
	TextPrefix: model.T5Prefix,
	Precise:    []string{"shared.", "relative_attention_bias."},
}
