package family

import (
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// denoiserPrefix is what the names of the denoiser's tensors begin with, of which one is given.
func denoiserPrefix(r *Reader, name string) string {
	if r.Has(model.UNetPrefix + name) {
		return model.UNetPrefix
	}
	return ""
}

// escaped makes a prefix a part of a format.
func escaped(prefix string) string { return strings.ReplaceAll(prefix, "%", "%%") }

// clipOf reads CLIP's text encoder of a prefix, if the file has it. Of the output, the layer before the last counts, without
// the final norm, as in Stable Diffusion XL.
func clipOf(r *Reader, prefix, activation string) (c TextConfig) {
	if !r.Has(prefix + "text_model.embeddings.token_embedding.weight") {
		return TextConfig{Prefix: prefix}
	}
	c = r.Text(prefix)
	c.Activation = activation
	c.penultimate()
	c.NoFinalNorm = true
	return c
}

// t5Of reads T5's encoder of a prefix, if the file has it: else it has no layers.
func t5Of(r *Reader, prefix string) T5Config {
	if !r.Has(prefix+"shared.weight") || r.err != nil {
		return T5Config{}
	}
	return *readT5(r, prefix)
}

// vaeOf reads the autoencoder, if the file has it, whose latents have a scale and a shift that no shape tells.
func vaeOf(r *Reader, scale, shift float32) (c VAEConfig) {
	if !r.Has(model.VAEPrefix + "decoder.conv_in.weight") {
		return c
	}
	c = r.VAE()
	c.ScaleFactor, c.Shift = scale, shift
	c.applyMetadata(r)
	ofLatentDiffusion(r, c)
	return c
}

// withTexts lists the networks around a transformer that the file has.
func withTexts(all []model.Network, t5 T5Config, v VAEConfig, clips ...TextConfig) []model.Network {
	for i, c := range clips {
		if c.Layers > 0 {
			all = append(all, model.Network{Key: []string{"text", "text2"}[i], Name: []string{"text encoder", "text encoder 2"}[i], Config: c, Summary: c.summary()})
		}
	}
	if t5.Layers > 0 {
		all = append(all, model.Network{Key: "t5", Name: "T5 text encoder", Config: t5,
			Summary: fmt.Sprintf("%d layers of width %d, %d heads, vocabulary %d", t5.Layers, t5.Width, t5.Heads, t5.Vocabulary)})
	}
	if v.EmbedDim > 0 {
		all = append(all, model.Network{Key: "vae", Name: "VAE", Config: v, Summary: v.summary()})
	}
	return all
}

// describeTexts adds what is known of a model beside its tensors to the metadata of a file that is written.
func describeTexts(m *model.Model, add func(key string, value any)) {
	describeTokenizers(m, add)
	var vae VAEConfig
	switch c := m.Config.(type) {
	case *FluxModel:
		vae = c.VAE
		addFlow(c.Flow, add)
		if c.Kontext {
			add(keyKontext, "true")
		}
	case *SD3Model:
		vae = c.VAE
		addFlow(c.Flow, add)
		add(keyUNetHeads, uint32(c.Transformer.Heads))
	}
	if vae.EmbedDim > 0 {
		describeFlowVAE(&vae, add)
	}
}

// completeT5 gives the tensors of T5 in a whole model its authors' names.
func completeT5(m *model.Model) error {
	renameAll(m, func(name string) string {
		if rest, ok := strings.CutPrefix(name, model.T5Prefix); ok {
			return model.T5Prefix + t5Name(rest)
		}
		return name
	})
	return nil
}
