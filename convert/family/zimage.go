package family

import (
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
	Fused:      zImageLayers(),
	InPieces:   "all_x_embedder.",
	Runs:       true,
	Alone:      true,
	Read:       func(r *Reader) any { return readZImage(r) },
	Groups:     transformerGroups,
	Role:       Denoiser,
	Properties: zImageProperties,
	Slots:      func(Given) Slots { return Slots{Denoiser: model.UNetPrefix, Autoencoder: model.VAEPrefix} },
	Precise:    []string{"x_embedder.", "cap_embedder.", "t_embedder.", "final_layer."},
}

func zImageProperties(d *Describer) {
	d.Property("width", d.Dim("x_embedder.weight", 0))
	d.Property("layers", d.Blocks("layers."))
}

// ZImageConfig describes Z-Image's transformer.
type ZImageConfig struct {
	Prefix                                                                      string // of its tensors
	Channels, Patch, Width, Heads, Layers, Refiners, FFN, Text, Time, TimeInner int
}

// Params are the hyperparameters of the network "zimage".
func (c ZImageConfig) Params() map[string][]float64 {
	return map[string][]float64{
		"channels": one(c.Channels), "patch": one(c.Patch), "width": one(c.Width), "heads": one(c.Heads), "layers": one(c.Layers), "refiners": one(c.Refiners),
		"ffn": one(c.FFN), "text": one(c.Text), "time": one(c.Time), "time_inner": one(c.TimeInner),
	}
}

func readZImage(r *Reader) *ZImageConfig {
	c := &ZImageConfig{Patch: 2}
	if r.Has(model.UNetPrefix + "x_embedder.weight") {
		c.Prefix = model.UNetPrefix
	}
	patches, text, head := r.Shape(c.Prefix+"x_embedder.weight", 2), r.Shape(c.Prefix+"cap_embedder.1.weight", 2), r.Shape(c.Prefix+"layers.0.attention.q_norm.weight", 1)[0]
	time := r.Shape(c.Prefix+"t_embedder.mlp.2.weight", 2)
	c.Width, c.Channels, c.Text = patches[0], patches[1]/(c.Patch*c.Patch), text[1]
	c.Time, c.TimeInner = time[0], time[1]
	c.FFN = r.Shape(c.Prefix+"layers.0.feed_forward.w1.weight", 2)[0]
	escaped := strings.ReplaceAll(c.Prefix, "%", "%%")
	c.Layers = r.Count(escaped + "layers.%d.attention.qkv.weight")
	c.Refiners = r.Count(escaped + "noise_refiner.%d.attention.qkv.weight")
	if head < 1 || c.Width%head != 0 || head%16 != 0 || patches[1]%(c.Patch*c.Patch) != 0 {
		r.Fail("Z-Image's width must divide into heads of a multiple of 16 channels, and its tokens into 2x2 pixels, got %d, %d and %d", c.Width, head, patches[1])
		return c
	}
	c.Heads = c.Width / head
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
