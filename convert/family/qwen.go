package family

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Qwen is the text stack of Qwen's language models, which models of pictures have for text
// encoders: Qwen3, and Qwen2.5 with or without eyes.
const Qwen = "qwen"

var qwen = &Family{
	Name: Qwen,
	Looks: []Look{
		{"a Qwen3 text encoder", []string{"*layers.0.self_attn.q_norm.weight", "*layers.0.mlp.gate_proj.weight", "!layers.0.pre_feedforward_layernorm.weight"}},
		{"a Qwen2.5 text encoder", []string{"*layers.0.self_attn.q_proj.bias", "*layers.0.mlp.gate_proj.weight"}},
		{"a Qwen3 text encoder with llama.cpp's names", []string{"blk.0.attn_q_norm.weight", "blk.0.ffn_gate.weight", "!blk.0.post_ffw_norm.weight"}},
		{"a Qwen2.5 text encoder with llama.cpp's names", []string{"blk.0.attn_q.bias", "blk.0.ffn_gate.weight"}},
	},
	Owns:     func(name string) bool { return qwenName(name) != name || strings.HasPrefix(name, "layers.") },
	Rewrite:  flatPatches,
	Runs:     true,
	Alone:    true,
	Read:     func(r *Reader) any { return readQwen(r, "") },
	Role:     LLMText,
	PartName: qwenPart,
	TextPrefix: func(all []model.Stored) string {
		for _, t := range all {
			if strings.HasSuffix(t.Name, "embed_tokens.weight") && len(t.Shape) == 2 {
				return qwenSlot(t.Shape[1])
			}
		}
		return model.Qwen4BPrefix
	},
	Complete: func(m *model.Model) error { renameAll(m, qwenName); return nil },
	Properties: func(d *Describer) {
		width := max(d.Dim("model.embed_tokens.weight", 1), d.Dim("embed_tokens.weight", 1), d.Dim("token_embd.weight", 1))
		d.Property("width", width)
		d.Property("layers", max(d.Blocks("model.layers."), d.Blocks("layers."), d.Blocks("blk.")))
		d.Say(map[int]string{1024: "0.6B", 2560: "4B", 4096: "8B", 3584: "7B"}[width])
		if d.Has(towerPrefix + "blocks.0.mlp.gate_proj.weight") {
			d.Say("with its vision tower")
		}
	},
	Precise: []string{"embed_tokens.", "token_embd.", "visual.blocks.", "visual.merger.", "visual.patch_embed."},
}

// flatPatches makes the convolution with which Qwen2.5-VL's eyes begin, of five dimensions that do not overlap, the layer of patches
// that it is: no file of GGUF's, and nothing here, has more than four.
func flatPatches(all []model.Stored) ([]model.Stored, error) {
	for i, t := range all {
		all[i] = flatPatch(t)
	}
	return all, nil
}

func flatPatch(t model.Stored) model.Stored {
	if len(t.Shape) == 5 && strings.HasSuffix(t.Name, "patch_embed.proj.weight") && t.Shape[0] > 0 {
		t.Shape = []int64{t.Shape[0], t.Elements() / t.Shape[0]}
	}
	return t
}

// QwenConfig describes the text stack of a Qwen model.
type QwenConfig struct {
	Vocabulary, Width, Heads, KVHeads, HeadChannels, Layers, FFN int
	QKNorm                                                       bool    // Qwen3
	QKVBias                                                      bool    // Qwen2.5
	RopeBase                                                     float64 // of the angles of the rotary embedding
}

// Params are the hyperparameters of the network "qwen_text".
func (c QwenConfig) Params() map[string][]float64 {
	return map[string][]float64{
		"vocabulary": one(c.Vocabulary), "width": one(c.Width), "heads": one(c.Heads), "kv_heads": one(c.KVHeads), "head_channels": one(c.HeadChannels),
		"layers": one(c.Layers), "ffn": one(c.FFN), "qk_norm": flag(c.QKNorm), "qkv_bias": flag(c.QKVBias), "eps": {1e-6},
	}
}

func (c QwenConfig) summary() string {
	return fmt.Sprintf("Qwen, %d layers of width %d, %d heads, vocabulary %d", c.Layers, c.Width, c.Heads, c.Vocabulary)
}

// version is the language model's.
func (c QwenConfig) version() string {
	if c.QKVBias {
		return "a Qwen2.5"
	}
	return "a Qwen3"
}

func flag(on bool) []float64 {
	if on {
		return []float64{1}
	}
	return []float64{0}
}

// qwenHead is the width of the heads of all published models.
const qwenHead = 128

// readQwen reads a text stack whose tensors' names begin so.
func readQwen(r *Reader, prefix string) *QwenConfig {
	p := prefix
	embedding := r.Shape(p+"embed_tokens.weight", 2)
	c := &QwenConfig{
		Vocabulary: embedding[0], Width: embedding[1], HeadChannels: qwenHead, RopeBase: 1e6,
		Layers:  r.Count(p + "layers.%d.self_attn.q_proj.weight"),
		FFN:     r.Shape(p+"layers.0.mlp.gate_proj.weight", 2)[0],
		QKNorm:  r.Has(p + "layers.0.self_attn.q_norm.weight"),
		QKVBias: r.Has(p + "layers.0.self_attn.q_proj.bias"),
	}
	if c.QKNorm {
		c.HeadChannels = r.Shape(p+"layers.0.self_attn.q_norm.weight", 1)[0]
	}
	r.Number(keyRope, 1, 1e9, func(v float64) { c.RopeBase = v })
	for _, key := range []string{"qwen2.rope.freq_base", "qwen2vl.rope.freq_base"} { // llama.cpp's
		r.Number(key, 1, 1e9, func(v float64) { c.RopeBase = v })
	}
	q, k := r.Shape(p+"layers.0.self_attn.q_proj.weight", 2)[0], r.Shape(p+"layers.0.self_attn.k_proj.weight", 2)[0]
	if n := c.HeadChannels; n < 2 || n%2 != 0 || q%n != 0 || k%n != 0 || q%k != 0 {
		r.Fail("heads of %d channels must divide %d channels of queries and %d of keys, and keys the queries", n, q, k)
		return c
	}
	c.Heads, c.KVHeads = q/c.HeadChannels, k/c.HeadChannels
	return c
}

var (
	qwenGGUF = regexp.MustCompile(`^blk\.(\d+)\.([a-z_]+)\.(weight|bias)$`)

	// llama.cpp's names of a layer's tensors, and the authors'.
	qwenLayers = map[string]string{
		"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
		"attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm",
		"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
	}
	qwenOthers = map[string]string{"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}
)

// qwenName is a tensor's name in the text stack.
func qwenName(name string) string {
	if to, ok := qwenOthers[name]; ok {
		return to
	}
	if m := qwenGGUF.FindStringSubmatch(name); m != nil && qwenLayers[m[2]] != "" {
		return "layers." + m[1] + "." + qwenLayers[m[2]] + "." + m[3]
	}
	for _, prefix := range []string{"model.language_model.", "language_model.model.", "model."} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && (strings.HasPrefix(rest, "layers.") || rest == "embed_tokens.weight" || rest == "norm.weight") {
			return rest
		}
	}
	return name
}
