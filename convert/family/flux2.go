package family

import (
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// Flux2 is FLUX.2.
const Flux2 = "flux2"

var flux2 = &Family{
	Name: Flux2,
	Looks: []Look{
		{"FLUX.2", []string{"*double_stream_modulation_img.lin.weight", "*double_blocks.0.img_attn.qkv.weight"}},
		{"FLUX.2 in the diffusers library's layout", []string{"*double_stream_modulation_img.linear.weight", "*single_transformer_blocks.0.attn.to_qkv_mlp_proj.weight"}},
	},
	Rewrite:       rewriteFlux2,
	Runs:          true,
	Read:          func(r *Reader) any { return readFlux2(r) },
	Complete:      completeFlux2,
	Settings:      flux2Settings,
	QwenTokenizer: "tokenizer",
	Metadata:      flux2Metadata,
	Groups:        transformerGroups,
	Role:          Denoiser,
	Properties:    flux2Properties,
	Slots: func(given Given) Slots {
		s := Slots{Denoiser: model.UNetPrefix, Autoencoder: model.VAEPrefix, LLM: model.Qwen4BPrefix}
		for _, t := range given.Tensors {
			if strings.HasSuffix(t.Name, "txt_in.weight") && len(t.Shape) == 2 {
				s.LLM = qwenSlot(t.Shape[1] / flux2Layers)
			}
		}
		return s
	},
}

// keyFlux2Base is the metadata that says that a model is not distilled: no shape does.
const keyFlux2Base = "sdgo.flux2.base"

// flux2Settings reads the configuration files of a folder. Whether the model is distilled is told by the pipeline.
func flux2Settings(json func(path string, to any) error) (said map[string]string, warnings []string, err error) {
	said, warnings, err = flowSettings("Flux2Transformer2DModel", flux2Marks)(json)
	var index struct {
		Distilled *bool `json:"is_distilled"`
	}
	if err == nil {
		err = json(string(inPipeline), &index)
	}
	if err == nil && index.Distilled != nil && !*index.Distilled {
		said[keyFlux2Base] = "true"
	}
	return said, warnings, err
}

// flux2Layers are the layers of the text encoder whose states are side by side.
const flux2Layers = 3

func flux2Properties(d *Describer) {
	width, text := d.Dim("img_in.weight", 0), d.Dim("txt_in.weight", 1)
	d.Property("width", width)
	d.Property("double_blocks", d.Blocks("double_blocks."))
	d.Property("single_blocks", d.Blocks("single_blocks."))
	switch {
	case d.Has("guidance_in.in_layer.weight"):
		d.Property("guidance", 1)
		d.Say("dev: guidance is an input")
	case text == flux2Layers*2560:
		d.Say("klein 4B")
	case text == flux2Layers*4096:
		d.Say("klein 9B")
	}
}

func flux2Metadata(m *model.Model, add func(key string, value any)) {
	describeTokenizers(m, add)
	c, ok := m.Config.(*Flux2Config)
	if ok {
		addNative(m, add)
	}
	if ok && c.VAE != nil {
		c.VAE.Norms.describe(keyVAEGroups, keyVAEEps, add)
	}
	if ok && c.Base {
		add(keyFlux2Base, "true")
	}
}

// rewriteFlux2 gives the tensors of all layouts the original names.
func rewriteFlux2(all []model.Stored) ([]model.Stored, error) {
	if layout.Contains(all, "double_stream_modulation_img.linear.") {
		return originalTransformer(flux2Names, "double_stream_modulation_img.linear.weight", "single_transformer_blocks.")(all)
	}
	return originalTransformer(flux2Names, "double_stream_modulation_img.lin.weight", "single_transformer_blocks.")(all)
}

// flux2Names are named as in black-forest-labs/flux2, src/flux2/model.py.
var flux2Names = []layout.Fusion{
	layout.One("img_in", "x_embedder"),
	layout.One("txt_in", "context_embedder"),
	layout.One("time_in.in_layer", "time_guidance_embed.timestep_embedder.linear_1"),
	layout.One("time_in.out_layer", "time_guidance_embed.timestep_embedder.linear_2"),
	layout.One("guidance_in.in_layer", "time_guidance_embed.guidance_embedder.linear_1"),
	layout.One("guidance_in.out_layer", "time_guidance_embed.guidance_embedder.linear_2"),
	layout.One("double_stream_modulation_img.lin", "double_stream_modulation_img.linear"),
	layout.One("double_stream_modulation_txt.lin", "double_stream_modulation_txt.linear"),
	layout.One("single_stream_modulation.lin", "single_stream_modulation.linear"),
	{LDM: "double_blocks.#.img_attn.qkv", Diffusers: []string{"transformer_blocks.#.attn.to_q", "transformer_blocks.#.attn.to_k", "transformer_blocks.#.attn.to_v"}},
	{LDM: "double_blocks.#.txt_attn.qkv", Diffusers: []string{"transformer_blocks.#.attn.add_q_proj", "transformer_blocks.#.attn.add_k_proj", "transformer_blocks.#.attn.add_v_proj"}},
	layout.One("double_blocks.#.img_attn.norm.query_norm.scale", "transformer_blocks.#.attn.norm_q.weight"),
	layout.One("double_blocks.#.img_attn.norm.key_norm.scale", "transformer_blocks.#.attn.norm_k.weight"),
	layout.One("double_blocks.#.txt_attn.norm.query_norm.scale", "transformer_blocks.#.attn.norm_added_q.weight"),
	layout.One("double_blocks.#.txt_attn.norm.key_norm.scale", "transformer_blocks.#.attn.norm_added_k.weight"),
	layout.One("double_blocks.#.img_attn.proj", "transformer_blocks.#.attn.to_out.0"),
	layout.One("double_blocks.#.txt_attn.proj", "transformer_blocks.#.attn.to_add_out"),
	layout.One("double_blocks.#.img_mlp.0", "transformer_blocks.#.ff.linear_in"),
	layout.One("double_blocks.#.img_mlp.2", "transformer_blocks.#.ff.linear_out"),
	layout.One("double_blocks.#.txt_mlp.0", "transformer_blocks.#.ff_context.linear_in"),
	layout.One("double_blocks.#.txt_mlp.2", "transformer_blocks.#.ff_context.linear_out"),
	layout.One("single_blocks.#.linear1", "single_transformer_blocks.#.attn.to_qkv_mlp_proj"),
	layout.One("single_blocks.#.linear2", "single_transformer_blocks.#.attn.to_out"),
	layout.One("single_blocks.#.norm.query_norm.scale", "single_transformer_blocks.#.attn.norm_q.weight"),
	layout.One("single_blocks.#.norm.key_norm.scale", "single_transformer_blocks.#.attn.norm_k.weight"),
	layout.One("final_layer.linear", "proj_out"),
	{LDM: "final_layer.adaLN_modulation.1", Diffusers: []string{"norm_out.linear"}, Swapped: true},
}

// flux2Marks are the fields that Flux2Transformer2DModel reads.
var flux2Marks = []mark{
	{in: inDenoiserFolder, name: "in_channels", verdict: shaped},
	{in: inDenoiserFolder, name: "out_channels", verdict: shaped},
	{in: inDenoiserFolder, name: "num_layers", verdict: shaped},
	{in: inDenoiserFolder, name: "num_single_layers", verdict: shaped},
	{in: inDenoiserFolder, name: "attention_head_dim", verdict: shaped},
	{in: inDenoiserFolder, name: "num_attention_heads", verdict: shaped},
	{in: inDenoiserFolder, name: "joint_attention_dim", verdict: shaped},
	{in: inDenoiserFolder, name: "mlp_ratio", verdict: shaped},
	{in: inDenoiserFolder, name: "guidance_embeds", verdict: shaped},
	{in: inDenoiserFolder, name: "patch_size", verdict: only, values: []any{1.0}, why: "the autoencoder packs its latents"},
	{in: inDenoiserFolder, name: "timestep_guidance_channels", verdict: only, values: []any{256.0}, why: "times are embedded in so many channels"},
	{in: inDenoiserFolder, name: "eps", verdict: only, values: []any{1e-6}, why: "the norms have this"},
	{in: inDenoiserFolder, name: "rope_theta", verdict: only, values: []any{2000.0}, why: "positions turn heads by angles of this base"},
	{in: inDenoiserFolder, name: "axes_dims_rope", verdict: harmless, why: "a quarter of a head each, which no other file has"},
}

// Flux2Config describes FLUX.2's transformer, and what its file has beside it.
type Flux2Config struct {
	Prefix                                            string // of its tensors
	Channels, Width, Heads, Double, Single, FFN, Text int
	Guidance                                          bool        // FLUX.2 dev
	Base                                              bool        `json:",omitzero"`  // klein that is not distilled
	LLM                                               *QwenConfig `json:",omitempty"` // the text encoder; nil without one
	LLMPrefix                                         string      `json:",omitempty"`
	VAE                                               *VAEConfig  `json:",omitempty"` // nil without one
}

// Flux2Mean and Flux2Variance are the autoencoder's tensors of the statistics of packed latents: the network gets
// (z - mean)/√(variance + Flux2Eps).
const (
	Flux2Mean, Flux2Variance = model.VAEPrefix + "bn.running_mean", model.VAEPrefix + "bn.running_var"
	Flux2Eps                 = 1e-4
)

// Params are the hyperparameters of the network "flux2".
func (c Flux2Config) Params() map[string][]float64 {
	return map[string][]float64{
		"channels": one(c.Channels), "width": one(c.Width), "heads": one(c.Heads), "double_blocks": one(c.Double), "single_blocks": one(c.Single),
		"ffn": one(c.FFN), "text": one(c.Text),
	}
}

// Adaptable says what LoRAs change of the model.
func (c *Flux2Config) Adaptable() Adaptable {
	return Adaptable{Denoiser: c.Prefix, Text: strings.TrimSuffix(c.LLMPrefix, "model."), Layers: flux2Names}
}

// Networks lists the networks, with their hyperparameters.
func (c *Flux2Config) Networks() []model.Network {
	own := *c
	own.LLM, own.VAE = nil, nil
	return networksWithQwen(c.LLM, own, fmt.Sprintf("%d double and %d single blocks of width %d, %d heads", c.Double, c.Single, c.Width, c.Heads), c.VAE)
}

func readFlux2(r *Reader) *Flux2Config {
	c := &Flux2Config{}
	tokenizers(r)
	switch text := r.Model.Metadata[keyFlux2Base]; text {
	case "", "false":
	case "true":
		c.Base = true
	default:
		r.Fail("%s must be true or false, got %.20q", keyFlux2Base, text)
	}
	if r.Has(model.UNetPrefix + "img_in.weight") {
		c.Prefix = model.UNetPrefix
	}
	p := c.Prefix
	norm := p + "double_blocks.0.img_attn.norm.query_norm.scale"
	if !r.Has(norm) { // when it is run
		norm = p + "double_blocks.0.img_attn.norm.query_norm.weight"
	}
	in, text, head := r.Shape(p+"img_in.weight", 2), r.Shape(p+"txt_in.weight", 2), r.Shape(norm, 1)[0]
	c.Width, c.Channels, c.Text = in[0], in[1], text[1]
	c.FFN = r.Shape(p+"double_blocks.0.img_mlp.2.weight", 2)[1]
	c.Double, c.Single = r.Count(p+"double_blocks.%d.img_attn.qkv.weight"), r.Count(p+"single_blocks.%d.linear1.weight")
	c.Guidance = r.Has(p + "guidance_in.in_layer.weight")
	if head < 1 || c.Width%head != 0 || head%8 != 0 || c.Width < 1 || c.FFN%c.Width != 0 {
		r.Fail("FLUX.2's width must divide into heads of a multiple of 8 channels, and its feed-forward layers be a multiple of it, got %d, %d and %d", c.Width, head, c.FFN)
		return c
	}
	c.Heads = c.Width / head
	if c.LLMPrefix = qwenInOf(r); c.LLMPrefix != "" {
		c.LLM = readQwen(r, c.LLMPrefix)
		if r.err == nil && (flux2Layers*c.LLM.Width != c.Text || !c.LLM.QKNorm || c.LLM.Layers < 4) {
			r.Fail("FLUX.2's text encoder must be a Qwen3 of width %d, got one of width %d: %w", c.Text/flux2Layers, c.LLM.Width, model.ErrUnrecognized)
		}
	}
	c.readVAE(r)
	if r.Model.Metadata[keyFlowTerminal] != "" {
		r.Fail("%s: FLUX.2's noise levels are not stretched", keyFlowTerminal)
	}
	readNative(r)
	return c
}

// readVAE reads the autoencoder, if the file has one: its latents are packed, and normalised by statistics of their own.
func (c *Flux2Config) readVAE(r *Reader) {
	if c.VAE = flowVAEOf(r, c.Channels/4, 1, 0); c.VAE == nil {
		return
	}
	for _, name := range []string{Flux2Mean, Flux2Variance} {
		if n := r.Shape(name, 1)[0]; r.err == nil && n != c.Channels {
			r.Fail("tensor %q must have FLUX.2's %d channels, got %d: %w", name, c.Channels, n, model.ErrUnrecognized)
		}
	}
}

// completeFlux2 gives norms the names that the network asks for.
func completeFlux2(m *model.Model) error {
	renameAll(m, func(name string) string {
		if rest, ok := strings.CutSuffix(name, "_norm.scale"); ok {
			return rest + "_norm.weight"
		}
		return name
	})
	return nil
}
