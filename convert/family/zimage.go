package family

import (
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// ZImage is Z-Image, base and Turbo.
const ZImage = "zimage"

var zImage = &Family{
	Name: ZImage,
	Looks: []Look{
		{"Z-Image", []string{"*noise_refiner.0.attention.qkv.weight", "*layers.0.adaLN_modulation.0.weight", "*cap_pad_token"}},
		{"Z-Image in the diffusers library's layout", []string{"*noise_refiner.0.attention.to_q.weight", "*layers.0.adaLN_modulation.0.weight", "*cap_pad_token"}},
	},
	Rewrite:       originalTransformer(zImageLayers(), "cap_pad_token", "all_x_embedder."),
	Runs:          true,
	Read:          func(r *Reader) any { return readZImage(r) },
	Settings:      flowSettings("ZImageTransformer2DModel", zImageMarks),
	Metadata:      zImageMetadata,
	QwenTokenizer: "tokenizer",
	Groups:        transformerGroups,
	Role:          Denoiser,
	Properties:    zImageProperties,
	Slots: func(Given) Slots {
		return Slots{Denoiser: model.UNetPrefix, Autoencoder: model.VAEPrefix, LLM: model.Qwen4BPrefix}
	},
	Precise: []string{"x_embedder.", "cap_embedder.", "t_embedder.", "final_layer."},
}

func zImageProperties(d *Describer) {
	d.Property("width", d.Dim("x_embedder.weight", 0))
	d.Property("layers", d.BlocksOf("layers.", func(name string) bool { return !strings.HasPrefix(name, "text_encoders.") })) // whose layers count apart
}

func zImageMetadata(m *model.Model, add func(key string, value any)) {
	describeTokenizers(m, add)
	if c, ok := m.Config.(*ZImageConfig); ok {
		addNative(m, add)
		addFlow(c.Flow, add)
		describeFlowVAE(c.VAE, add)
	}
}

// zImageMarks are the fields that ZImageTransformer2DModel reads.
var zImageMarks = []mark{
	{in: inDenoiserFolder, name: "in_channels", verdict: shaped},
	{in: inDenoiserFolder, name: "dim", verdict: shaped},
	{in: inDenoiserFolder, name: "n_layers", verdict: shaped},
	{in: inDenoiserFolder, name: "n_refiner_layers", verdict: shaped},
	{in: inDenoiserFolder, name: "n_heads", verdict: shaped},
	{in: inDenoiserFolder, name: "n_kv_heads", verdict: shaped},
	{in: inDenoiserFolder, name: "cap_feat_dim", verdict: shaped},
	{in: inDenoiserFolder, name: "siglip_feat_dim", verdict: only, values: []any{nil}, why: "pictures are no conditions of this model"},
	{in: inDenoiserFolder, name: "all_patch_size", verdict: only, values: []any{2.0}, why: "tokens are squares of two by two"},
	{in: inDenoiserFolder, name: "all_f_patch_size", verdict: only, values: []any{1.0}, why: "there is one frame"},
	{in: inDenoiserFolder, name: "norm_eps", verdict: only, values: []any{1e-5}, why: "the norms have this"},
	{in: inDenoiserFolder, name: "qk_norm", verdict: only, values: []any{true}, why: "queries and keys are normalised"},
	{in: inDenoiserFolder, name: "rope_theta", verdict: only, values: []any{256.0}, why: "positions turn heads by angles of this base"},
	{in: inDenoiserFolder, name: "t_scale", verdict: only, values: []any{1000.0}, why: "times are embedded in thousandths"},
	{in: inDenoiserFolder, name: "axes_dims", verdict: harmless, why: "a quarter and three and three eighths of a head, which no other file has"},
	{in: inDenoiserFolder, name: "axes_lens", verdict: harmless, why: "positions have no end"},
}

// ZImageConfig describes Z-Image's transformer, and what its file has beside it.
type ZImageConfig struct {
	Prefix                                                                      string // of its tensors
	Channels, Patch, Width, Heads, Layers, Refiners, FFN, Text, Time, TimeInner int

	Flow      Flow
	LLM       *QwenConfig `json:",omitempty"` // the text encoder; nil without one
	LLMPrefix string      `json:",omitempty"`
	VAE       *VAEConfig  `json:",omitempty"` // nil without one
}

// Params are the hyperparameters of the network "zimage".
func (c ZImageConfig) Params() map[string][]float64 {
	return map[string][]float64{
		"channels": one(c.Channels), "patch": one(c.Patch), "width": one(c.Width), "heads": one(c.Heads), "layers": one(c.Layers), "refiners": one(c.Refiners),
		"ffn": one(c.FFN), "text": one(c.Text), "time": one(c.Time), "time_inner": one(c.TimeInner),
	}
}

// Adaptable says what LoRAs change of the model.
func (c *ZImageConfig) Adaptable() Adaptable {
	return Adaptable{Denoiser: c.Prefix, Text: strings.TrimSuffix(c.LLMPrefix, "model."), Layers: zImageLayers()}
}

// Networks lists the networks, with their hyperparameters.
func (c *ZImageConfig) Networks() []model.Network {
	own := *c
	own.LLM, own.VAE = nil, nil
	return networksWithQwen(c.LLM, own, fmt.Sprintf("%d layers of width %d, %d heads, %s", c.Layers, c.Width, c.Heads, c.Flow.summary()), c.VAE)
}

func readZImage(r *Reader) *ZImageConfig {
	c := &ZImageConfig{Patch: 2}
	tokenizers(r)
	if r.Has(model.UNetPrefix + "x_embedder.weight") {
		c.Prefix = model.UNetPrefix
	}
	p := c.Prefix
	patches, text, head := r.Shape(p+"x_embedder.weight", 2), r.Shape(p+"cap_embedder.1.weight", 2), r.Shape(p+"layers.0.attention.q_norm.weight", 1)[0]
	time := r.Shape(p+"t_embedder.mlp.2.weight", 2)
	c.Width, c.Channels, c.Text = patches[0], patches[1]/(c.Patch*c.Patch), text[1]
	c.Time, c.TimeInner = time[0], time[1]
	c.FFN = r.Shape(p+"layers.0.feed_forward.w1.weight", 2)[0]
	c.Layers = r.Count(p + "layers.%d.attention.qkv.weight")
	c.Refiners = r.Count(p + "noise_refiner.%d.attention.qkv.weight")
	if head < 1 || c.Width%head != 0 || head%16 != 0 || patches[1]%(c.Patch*c.Patch) != 0 {
		r.Fail("Z-Image's width must divide into heads of a multiple of 16 channels, and its tokens into 2x2 pixels, got %d, %d and %d", c.Width, head, patches[1])
		return c
	}
	c.Heads = c.Width / head
	c.Flow = flowOf(r, Flow{Shift: 3})
	if c.LLMPrefix = qwenInOf(r); c.LLMPrefix != "" {
		c.LLM = readQwen(r, c.LLMPrefix)
		if r.err == nil && (c.LLM.Width != c.Text || !c.LLM.QKNorm) {
			r.Fail("Z-Image's text encoder must be a Qwen3 of width %d (4B), got one of width %d: %w", c.Text, c.LLM.Width, model.ErrUnrecognized)
		}
	}
	c.VAE = flowVAEOf(r, c.Channels, fluxScale, fluxShift)
	readNative(r)
	return c
}

// zImageLayers are named as in ComfyUI's files.
func zImageLayers() []layout.Fusion {
	all := []layout.Fusion{layout.One("x_embedder", "all_x_embedder.2-1"), layout.One("final_layer.linear", "all_final_layer.2-1.linear"),
		layout.One("final_layer.adaLN_modulation.1", "all_final_layer.2-1.adaLN_modulation.1")}
	for _, name := range []string{"cap_embedder.0", "cap_embedder.1", "t_embedder.mlp.0", "t_embedder.mlp.2", "x_pad_token", "cap_pad_token"} {
		all = append(all, layout.One(name, name))
	}
	for _, stack := range []string{"layers.#.", "noise_refiner.#.", "context_refiner.#."} {
		attention := stack + "attention."
		all = append(all, layout.Fusion{LDM: attention + "qkv", Diffusers: []string{attention + "to_q", attention + "to_k", attention + "to_v"}},
			layout.One(attention+"out", attention+"to_out.0"), layout.One(attention+"q_norm", attention+"norm_q"), layout.One(attention+"k_norm", attention+"norm_k"))
		for _, name := range []string{"feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2", "adaLN_modulation.0"} {
			all = append(all, layout.One(stack+name, stack+name))
		}
	}
	return all
}
