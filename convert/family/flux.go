package family

import (
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// Flux is FLUX.1.
const Flux = "flux"

var flux = &Family{
	Name: Flux,
	Looks: []Look{
		{"FLUX.1", []string{"*double_blocks.0.img_attn.qkv.weight"}},
		{"FLUX.1 in the diffusers library's layout", []string{"*single_transformer_blocks.0.attn.to_q.weight", "*transformer_blocks.0.attn.add_q_proj.weight"}},
	},
	Runs:      true,
	Rewrite:   originalTransformer(fluxLayers, "double_blocks.0.img_attn.qkv.weight", "single_transformer_blocks."),
	Settings:  fluxSettings,
	Read:      readFlux,
	Metadata:  describeTexts,
	Tokenizer: "tokenizer", T5Tokenizer: "tokenizer_2",
	Complete:   completeT5,
	Properties: fluxProperties,
	Groups:     transformerGroups,
	Role:       Denoiser,
	Slots: func(Given) Slots {
		return Slots{Denoiser: model.UNetPrefix, Autoencoder: model.VAEPrefix, CLIPL: model.CLIPLPrefix, T5: model.T5Prefix}
	},
	Precise: []string{"img_in.", "txt_in.", "time_in.", "vector_in.", "guidance_in.", "final_layer."},
}

func fluxProperties(d *Describer) {
	d.Property("width", d.Dim("img_in.weight", 0))
	d.Property("in_channels", d.Dim("img_in.weight", 1))
	d.Property("double_blocks", d.Blocks("double_blocks."))
	d.Property("single_blocks", d.Blocks("single_blocks."))
	in, out := d.Dim("img_in.weight", 1), d.Dim("final_layer.linear.weight", 0)
	if d.Has("guidance_in.in_layer.weight") {
		d.Property("guidance", 1)
		switch {
		case in == 6*out:
			d.Say("Fill: a masked picture, its mask and guidance are inputs")
		case in == 2*out:
			d.Say("control: a picture and guidance are inputs")
		default:
			d.Say("dev: guidance is an input")
		}
	} else if d.Has("time_in.in_layer.weight") {
		d.Say("schnell: no guidance")
	}
}

// FluxModel is the configuration of FLUX.1 and of Chroma. Of networks that the file lacks, the layers or channels are 0.
type FluxModel struct {
	Transformer FluxConfig
	CLIP        TextConfig // of FLUX.1; its vector is not projected
	T5          T5Config
	VAE         VAEConfig
	Flow        Flow
	Kontext     bool `json:",omitzero"` // made for editing pictures: it sees another one beside the noisy one
}

// keyKontext is the metadata that says so: no shape does.
const keyKontext = "sdgo.flux.kontext"

// fluxSettings reads the configuration files of a folder. Kontext is told by the pipeline.
func fluxSettings(json func(path string, to any) error) (said map[string]string, warnings []string, err error) {
	said, warnings, err = flowFiles("FluxTransformer2DModel", fluxMarks, axes,
		map[place]func(c *config) []string{inFirstText: clipFile("quick_gelu"), inSecondText: t5File})(json)
	var index struct {
		Class string `json:"_class_name"`
	}
	if err == nil {
		err = json(string(inPipeline), &index)
	}
	if err == nil && strings.Contains(index.Class, "Kontext") {
		said[keyKontext] = "true"
	}
	return said, warnings, err
}

// isKontext reports whether the file says that it is Kontext.
func isKontext(r *Reader) bool {
	switch text := r.Model.Metadata[keyKontext]; text {
	case "true":
		return true
	case "", "false":
	default:
		r.Fail("%s must be true or false, got %.20q", keyKontext, text)
	}
	return strings.Contains(strings.ToLower(r.Model.Metadata["modelspec.architecture"]), "kontext")
}

// Carry keeps what is read off a whole file when one of its networks is replaced.
func (c *FluxModel) Carry(map[string]string) {}

// Networks lists the networks, for people and programs to read.
func (c *FluxModel) Networks() []model.Network {
	return withTexts([]model.Network{{Key: "transformer", Name: "transformer", Config: c.Transformer, Summary: c.Transformer.summary() + ", " + c.Flow.summary()}}, c.T5, c.VAE, c.CLIP)
}

func readFlux(r *Reader) any {
	c := &FluxModel{Transformer: fluxTransformer(r)}
	tokenizers(r)
	r.Model.NativeSize = 1024
	if p := c.Transformer.Prefix; r.Has(p + "nerf_final_layer_conv.conv.weight") {
		r.err = nil
		r.Fail("Chroma1-Radiance, which draws pixels, is not supported: %w", model.ErrUnrecognized)
		return nil
	}
	c.CLIP, c.T5 = clipOf(r, model.CLIPLPrefix, "quick_gelu"), t5Of(r, model.T5Prefix)
	c.VAE = vaeOf(r, fluxScale, fluxShift)
	c.Flow = Flow{Shift: 1}
	if c.Transformer.Guidance || c.Transformer.Pooled == 0 { // schnell has none
		c.Flow.Dynamic = &DynamicShift{0.5, 1.15, 256, 4096}
	}
	c.Flow = flowOf(r, c.Flow)
	if c.Kontext = isKontext(r); c.Kontext && c.Transformer.Channels == c.Transformer.OutChannels {
		r.Model.Description = strings.Replace(r.Model.Description, "FLUX.1", "FLUX.1 Kontext", 1)
	}
	t := c.Transformer
	switch {
	case r.err != nil:
	case c.T5.Layers > 0 && c.T5.Width != t.Text:
		r.Fail("a T5 text encoder of width %d does not fit a transformer that needs %d", c.T5.Width, t.Text)
	case t.Pooled > 0 && c.CLIP.Layers > 0 && c.CLIP.Width != t.Pooled:
		r.Fail("a CLIP text encoder of width %d does not fit a transformer that needs %d", c.CLIP.Width, t.Pooled)
	case c.VAE.EmbedDim > 0 && c.VAE.EmbedDim != t.OutChannels:
		r.Fail("an autoencoder with %d latent channels does not fit a transformer with %d", c.VAE.EmbedDim, t.OutChannels)
	}
	return c
}

// fluxLayers are named as in black-forest-labs/flux, src/flux/model.py.
var fluxLayers = []layout.Fusion{
	layout.One("img_in", "x_embedder"),
	layout.One("txt_in", "context_embedder"),
	layout.One("time_in.in_layer", "time_text_embed.timestep_embedder.linear_1"),
	layout.One("time_in.out_layer", "time_text_embed.timestep_embedder.linear_2"),
	layout.One("vector_in.in_layer", "time_text_embed.text_embedder.linear_1"),
	layout.One("vector_in.out_layer", "time_text_embed.text_embedder.linear_2"),
	layout.One("guidance_in.in_layer", "time_text_embed.guidance_embedder.linear_1"),
	layout.One("guidance_in.out_layer", "time_text_embed.guidance_embedder.linear_2"),
	layout.One("double_blocks.#.img_mod.lin", "transformer_blocks.#.norm1.linear"),
	layout.One("double_blocks.#.txt_mod.lin", "transformer_blocks.#.norm1_context.linear"),
	{LDM: "double_blocks.#.img_attn.qkv", Diffusers: []string{"transformer_blocks.#.attn.to_q", "transformer_blocks.#.attn.to_k", "transformer_blocks.#.attn.to_v"}},
	{LDM: "double_blocks.#.txt_attn.qkv", Diffusers: []string{"transformer_blocks.#.attn.add_q_proj", "transformer_blocks.#.attn.add_k_proj", "transformer_blocks.#.attn.add_v_proj"}},
	layout.One("double_blocks.#.img_attn.norm.query_norm.scale", "transformer_blocks.#.attn.norm_q.weight"),
	layout.One("double_blocks.#.img_attn.norm.key_norm.scale", "transformer_blocks.#.attn.norm_k.weight"),
	layout.One("double_blocks.#.txt_attn.norm.query_norm.scale", "transformer_blocks.#.attn.norm_added_q.weight"),
	layout.One("double_blocks.#.txt_attn.norm.key_norm.scale", "transformer_blocks.#.attn.norm_added_k.weight"),
	layout.One("double_blocks.#.img_attn.proj", "transformer_blocks.#.attn.to_out.0"),
	layout.One("double_blocks.#.txt_attn.proj", "transformer_blocks.#.attn.to_add_out"),
	layout.One("double_blocks.#.img_mlp.0", "transformer_blocks.#.ff.net.0.proj"),
	layout.One("double_blocks.#.img_mlp.2", "transformer_blocks.#.ff.net.2"),
	layout.One("double_blocks.#.txt_mlp.0", "transformer_blocks.#.ff_context.net.0.proj"),
	layout.One("double_blocks.#.txt_mlp.2", "transformer_blocks.#.ff_context.net.2"),
	layout.One("single_blocks.#.modulation.lin", "single_transformer_blocks.#.norm.linear"),
	{LDM: "single_blocks.#.linear1", Diffusers: []string{"single_transformer_blocks.#.attn.to_q", "single_transformer_blocks.#.attn.to_k",
		"single_transformer_blocks.#.attn.to_v", "single_transformer_blocks.#.proj_mlp"}},
	layout.One("single_blocks.#.linear2", "single_transformer_blocks.#.proj_out"),
	layout.One("single_blocks.#.norm.query_norm.scale", "single_transformer_blocks.#.attn.norm_q.weight"),
	layout.One("single_blocks.#.norm.key_norm.scale", "single_transformer_blocks.#.attn.norm_k.weight"),
	layout.One("final_layer.linear", "proj_out"),
	{LDM: "final_layer.adaLN_modulation.1", Diffusers: []string{"norm_out.linear"}, Swapped: true},
}
