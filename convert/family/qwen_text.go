package family

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// qwenPart returns the function that gives tensors of a file of a text stack the names that they have in
// whole models, and drops what is no part of it: the layer that predicts words, the eyes of others than Qwen2.5-VL.
func qwenPart(all []model.Stored) layout.Rename {
	tower := hasTower(all)
	return func(name string) (string, bool) {
		if to, ok := towerName(name); ok && tower {
			return to, true
		}
		to := qwenName(name)
		if to != "embed_tokens.weight" && to != "norm.weight" && !strings.HasPrefix(to, "layers.") {
			return "", false
		}
		return "model." + to, true
	}
}

// qwenSlot is the place of Qwen's text stack, of a width, in a whole model.
func qwenSlot(width int64) string {
	switch width {
	case 4096:
		return model.Qwen8BPrefix
	case 3584:
		return model.QwenVLPrefix
	}
	return model.Qwen4BPrefix
}

// qwenInOf is the beginning of the names of a text stack's tensors in a whole model; "" if it has none.
func qwenInOf(r *Reader) string {
	for _, prefix := range []string{model.Qwen4BPrefix, model.Qwen8BPrefix, model.QwenVLPrefix} {
		if r.Has(prefix + "model.embed_tokens.weight") {
			return prefix + "model."
		}
	}
	return ""
}

// qwenWhole are names of Qwen's text stack in files of whole models: ComfyUI's, and stable-diffusion.cpp's, which has
// the one prefix "llm" for all.
var qwenWhole = regexp.MustCompile(`^text_encoders\.(llm|qwen3_4b|qwen3_8b|qwen25_7b)\.(?:transformer\.)?(.+)$`)

// inQwen is the configuration of a text encoder of Qwen.
const inQwen place = "text_encoder/config.json"

// keyRope is the base of the angles of Qwen3's rotary embedding, as llama.cpp's files have it.
const keyRope = "qwen3.rope.freq_base"

// qwenVLFile reads that of Qwen2.5-VL, whose fields about texts older versions of the transformers library have beside
// those about pictures, and newer ones in an object of their own.
func qwenVLFile(c *config) []string {
	if list := c.fields["architectures"]; list != nil && !strings.Contains(string(list), `"Qwen2_5_VL`) {
		c.fail("architectures", "must be Qwen2_5_VLForConditionalGeneration")
	}
	text := c
	if c.has("text_config") {
		var inner Object
		if json.Unmarshal(c.fields["text_config"], &inner) != nil {
			c.fail("text_config", "must be an object")
		}
		text = &config{in: c.in, fields: inner, said: c.said}
	}
	base, ok := text.number("rope_theta", 1, 1e9)
	for _, name := range []string{"rope_parameters", "rope_scaling"} {
		if !text.has(name) {
			continue
		}
		var rope Object
		if json.Unmarshal(text.fields[name], &rope) != nil {
			text.fail(name, "must be an object")
		}
		inner := &config{in: c.in, fields: rope}
		if v, has := inner.number("rope_theta", 1, 1e9); has {
			base, ok = v, true
		}
		for _, field := range []string{"rope_type", "type"} {
			if kind, has := inner.text(field); has && kind != "default" && kind != "mrope" {
				text.fail(name, "must have the %s default or mrope: positions are not scaled", field)
			}
		}
		if list, has := inner.numbers("mrope_section"); has && !slices.Equal(list, []float64{16, 24, 24}) {
			text.fail(name, "must have the mrope_section 16, 24, 24, as Qwen2.5-VL 7B has")
		}
	}
	if ok {
		c.say(keyRope, base)
	}
	if width, has := text.number("hidden_size", 1, 1<<14); has {
		if heads, has := text.number("num_attention_heads", 1, 1<<10); has && heads*qwenHead != width {
			text.fail("num_attention_heads", "must be hidden_size / %d, as in all published models", qwenHead)
		}
	}
	expected(text, []mark{
		{name: "hidden_act", values: []any{"silu"}, why: "the layers have this activation"},
		{name: "rms_norm_eps", values: []any{1e-6}, why: "Qwen2.5-VL 7B has this"},
		{name: "use_sliding_window", values: []any{nil, false}, why: "all tokens attend to all before them"},
	})
	if c.err == nil {
		c.err = text.err
	}
	visionFile(c)
	return nil
}

// qwenFile reads what shapes do not say. Most of such a file is about training and about texts that are written.
func qwenFile(c *config) []string {
	if list := c.fields["architectures"]; list != nil && !strings.Contains(string(list), `"Qwen3`) {
		c.fail("architectures", "must be Qwen3ForCausalLM or Qwen3Model")
	}
	base, ok := c.number("rope_theta", 1, 1e9)
	var rope Object
	if c.has("rope_parameters") { // of transformers 5
		if json.Unmarshal(c.fields["rope_parameters"], &rope) != nil {
			c.fail("rope_parameters", "must be an object")
		}
		inner := &config{in: c.in, fields: rope}
		if v, has := inner.number("rope_theta", 1, 1e9); has {
			base, ok = v, true
		}
		if kind, has := inner.text("rope_type"); has && kind != "default" {
			c.fail("rope_parameters", "must have the rope_type default: positions are not scaled")
		}
		if inner.err != nil && c.err == nil {
			c.err = inner.err
		}
	}
	if ok {
		c.say(keyRope, base)
	}
	for _, m := range []mark{
		{name: "rope_scaling", values: []any{nil}, why: "positions are not scaled"},
		{name: "hidden_act", values: []any{"silu"}, why: "the layers have this activation"},
		{name: "rms_norm_eps", values: []any{1e-6}, why: "all published models have this"},
		{name: "attention_bias", values: []any{false}, why: "Qwen3's layers of attention have none"},
		{name: "use_sliding_window", values: []any{nil, false}, why: "all tokens attend to all before them"},
	} {
		if value, there := c.fields[m.name]; there && !m.allows(value) {
			c.fail(m.name, "must be %s: %s", m.allowed(), m.why)
		}
	}
	return nil
}

// networksWithQwen lists the networks of a model whose texts a Qwen encodes: the text encoder and
// the autoencoder if the file has them, and between them the transformer.
func networksWithQwen(llm *QwenConfig, transformer any, summary string, vae *VAEConfig) (all []model.Network) {
	if llm != nil {
		all = append(all, model.Network{Key: "text", Name: "text encoder", Config: *llm, Summary: llm.summary()})
	}
	all = append(all, model.Network{Key: "transformer", Name: "transformer", Config: transformer, Summary: summary})
	if vae != nil {
		all = append(all, model.Network{Key: "vae", Name: "VAE", Config: *vae, Summary: vae.summary()})
	}
	return all
}
