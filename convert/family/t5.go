package family

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// T5 is the encoder of T5 (Raffel et al. 2020).
const T5 = "t5"

var t5 = &Family{
	Name: T5,
	Looks: []Look{
		{"a T5 text encoder", []string{"*encoder.block.0.layer.0.SelfAttention.q.weight"}},
		{"a T5 text encoder with llama.cpp's names", []string{"enc.blk.0.attn_q.weight"}},
	},
	Runs:     true,
	Alone:    true,
	Read:     func(r *Reader) any { return readT5(r, "") },
	Complete: func(m *model.Model) error { renameAll(m, t5Name); return nil },
	Properties: func(d *Describer) {
		width := max(d.Dim("shared.weight", 1), d.Dim("token_embd.weight", 1), d.Dim("embed_tokens.weight", 1))
		d.Property("width", width)
		d.Property("layers", max(d.Blocks("encoder.block."), d.Blocks("enc.blk.")))
		d.Say(map[int]string{4096: "T5-XXL", 2048: "T5-XL", 1024: "T5-Large"}[width])
	},
	Role:       T5Text,
	TextPrefix: func([]model.Stored) string { return model.T5Prefix },
	Precise:    []string{"shared.", "relative_attention_bias."},
}

// T5Config describes T5's encoder, version 1.1, or umT5's.
type T5Config struct {
	Vocabulary, Width, Heads, HeadChannels, Layers, FFN int
	Buckets                                             int // of distances between tokens: 32
	BiasLayers                                          int // with a table of them: 1, in umT5 all
}

// Params are the hyperparameters of the network "t5_encoder".
func (c T5Config) Params() map[string][]float64 {
	return map[string][]float64{
		"vocabulary": one(c.Vocabulary), "width": one(c.Width), "heads": one(c.Heads), "head_channels": one(c.HeadChannels),
		"layers": one(c.Layers), "ffn": one(c.FFN), "buckets": one(c.Buckets), "bias_layers": one(c.BiasLayers), "eps": {1e-6},
	}
}

// readT5 reads an encoder whose names have a prefix.
func readT5(r *Reader, prefix string) *T5Config {
	first, block := prefix+"encoder.block.0.layer.", escaped(prefix)+"encoder.block.%d.layer."
	if r.Has(first + "1.DenseReluDense.wi.weight") {
		r.Fail("T5 of version 1.0, whose feed-forward layers have no gate, is not supported: %w", model.ErrUnrecognized)
		return &T5Config{}
	}
	embedding, bias := r.Shape(prefix+"shared.weight", 2), r.Shape(first+"0.SelfAttention.relative_attention_bias.weight", 2)
	c := &T5Config{
		Vocabulary: embedding[0], Width: embedding[1], Buckets: bias[0], Heads: bias[1],
		Layers:     r.Count(block + "0.SelfAttention.q.weight"),
		BiasLayers: r.Count(block + "0.SelfAttention.relative_attention_bias.weight"),
		FFN:        r.Shape(first+"1.DenseReluDense.wi_0.weight", 2)[0],
	}
	inner := r.Shape(first+"0.SelfAttention.q.weight", 2)[0]
	switch {
	case c.Heads < 1 || inner%c.Heads != 0:
		r.Fail("the %d heads of T5's table of distances must divide the %d channels of its queries", c.Heads, inner)
		return c
	case c.Buckets != t5Buckets:
		r.Fail("T5's table of distances must have %d rows, got %d", t5Buckets, c.Buckets)
		return c
	case c.BiasLayers != 1 && c.BiasLayers != c.Layers:
		r.Fail("one of T5's layers, or each, must have a table of distances, got %d of %d", c.BiasLayers, c.Layers)
		return c
	}
	c.HeadChannels = inner / c.Heads
	return c
}

// t5Buckets is the number of buckets of all published models.
const t5Buckets = 32

var (
	t5GGUF = regexp.MustCompile(`^enc\.blk\.(\d+)\.(.+)\.weight$`)

	// llama.cpp's names of a layer's tensors, and the authors'.
	t5Layers = map[string]string{
		"attn_q": "0.SelfAttention.q", "attn_k": "0.SelfAttention.k", "attn_v": "0.SelfAttention.v", "attn_o": "0.SelfAttention.o",
		"attn_rel_b": "0.SelfAttention.relative_attention_bias", "attn_norm": "0.layer_norm", "ffn_gate": "1.DenseReluDense.wi_0",
		"ffn_up": "1.DenseReluDense.wi_1", "ffn_down": "1.DenseReluDense.wo", "ffn_norm": "1.layer_norm",
	}
	t5Others = map[string]string{
		"token_embd.weight": "shared.weight", "encoder.embed_tokens.weight": "shared.weight", "enc.output_norm.weight": "encoder.final_layer_norm.weight",
	}
)

// t5Name is the authors' name of a tensor in a file of an encoder alone.
func t5Name(name string) string {
	name = strings.TrimPrefix(name, model.T5Prefix)
	if to, ok := t5Others[name]; ok {
		return to
	}
	if m := t5GGUF.FindStringSubmatch(name); m != nil && t5Layers[m[2]] != "" {
		return fmt.Sprintf("encoder.block.%s.layer.%s.weight", m[1], t5Layers[m[2]])
	}
	return name
}

// renameAll gives tensors other names, but for those that are taken: a table that is there
// twice.
func renameAll(m *model.Model, rename func(string) string) {
	for i, t := range m.Tensors {
		if name := rename(t.Name); name != t.Name && m.Index(name) < 0 {
			m.Rename(i, name)
		}
	}
}
