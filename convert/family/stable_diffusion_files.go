package family

import (
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// stableDiffusionFolder is a folder with a UNet, an autoencoder and text encoders.
func stableDiffusionFolder(components []string, text ...FolderPart) *Folder {
	nets := []FolderPart{{"unet", NetFile, layout.UNetNames}, {"vae", NetFile, layout.VAENames}}
	return &Folder{Components: append([]string{"unet", "vae"}, components...), Parts: append(nets, text...)}
}

// textFolders are the folders of the first text encoder and of the second.
func textFolders(name string) (first, second string) {
	if name == SDXLRefiner { // whose only one is the base model's second
		return "text_encoder_2", "text_encoder_2"
	}
	return "text_encoder", "text_encoder_2"
}

// singleFile renames the tensors of a single file of SD 1.x or 2.x.
func singleFile(all []model.Stored) layout.Rename {
	return layout.Renumbered(all, func(name string) (string, bool) {
		if rest, ok := strings.CutPrefix(name, "conditioner.embedders.0."); ok { // in sgm's code
			name = "cond_stage_model." + rest
		}
		return layout.CanonicalName(name)
	})
}

// singleXLFile renames those of SDXL or its refiner.
func singleXLFile(all []model.Stored) layout.Rename {
	return layout.Renumbered(all, layout.CanonicalXLName)
}

// textSettings is what the configuration file of a text encoder says beyond the
// shapes.
type textSettings struct {
	Heads      int     `json:"num_attention_heads"`
	Activation string  `json:"hidden_act"`
	Eps        float64 `json:"layer_norm_eps"`
}

// stableDiffusionSettings puts what the configuration files say where the
// metadata of single files says it.
func stableDiffusionSettings(name string) func(json func(path string, to any) error) (said map[string]string, warnings []string, err error) {
	first, second := textFolders(name)
	return func(json func(path string, to any) error) (map[string]string, []string, error) {
		said := map[string]string{}
		var text, text2 textSettings
		for path, to := range map[string]*textSettings{first + "/config.json": &text, second + "/config.json": &text2} {
			if err := json(path, to); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		say := func(key string, set bool, value any) {
			if set {
				said[key] = fmt.Sprint(value)
			}
		}
		say(keyText2Heads, text2.Heads > 0, text2.Heads)
		say(keyTextHeads, text.Heads > 0, text.Heads)
		say(keyTextActivation, text.Activation != "", text.Activation)
		say(keyTextEps, text.Eps > 0, text.Eps)
		var index Object
		if err := json(string(inPipeline), &index); err != nil {
			return nil, nil, err
		}
		pipeline := config{in: inPipeline, fields: index}
		say(keyEmptyText, pipeline.has("force_zeros_for_empty_prompt") && !pipeline.truth("force_zeros_for_empty_prompt"), "encoded")
		var warnings []string
		if v, ok := pipeline.number("max_noise_level", 0, maxTimesteps); ok {
			said[keyMaxNoise] = fmt.Sprint(v)
		}
		if pipeline.err != nil {
			return nil, nil, pipeline.err
		}
		for _, in := range []place{inUNet, inVAE, inScheduler, inLowScheduler} {
			var fields Object
			if err := json(string(in), &fields); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", in, err)
			}
			if fields == nil { // there is no such file
				continue
			}
			unknown, err := readConfig(in, fields, said)
			if err != nil {
				return nil, nil, err
			}
			warnings = append(warnings, unknown...)
		}
		return said, warnings, nil
	}
}

// stableDiffusionMetadata adds what is known of the model: for readers that could
// not find it out from the tensors, and for people.
func stableDiffusionMetadata(m *model.Model, add func(key string, value any)) {
	c, ok := m.Config.(*StableDiffusion)
	if !ok {
		return
	}
	addProcess(m, add)
	number := func(key string, v int) { add(key, uint32(v)) }
	number(keyNativeSize, m.NativeSize)
	if m.Guidance > 0 {
		add(keyGuidance, float32(m.Guidance))
	}

	number("sdgo.text.width", c.Text.Width)
	number("sdgo.text.layers", c.Text.Layers)
	number(keyTextHeads, c.Text.Heads)
	number(keyTextFinal, c.Text.FinalLayer)
	add(keyTextActivation, c.Text.Activation)
	add(keyTextEps, c.Text.Eps)
	if c.Text2.Layers > 0 {
		number("sdgo.text2.width", c.Text2.Width)
		number("sdgo.text2.layers", c.Text2.Layers)
		number(keyText2Heads, c.Text2.Heads)
	}

	number("sdgo.unet.in_channels", c.UNet.InChannels)
	number("sdgo.unet.model_channels", c.UNet.ModelChannels)
	add("sdgo.unet.channel_mult", int32s(c.UNet.ChannelMult))
	number("sdgo.unet.num_res_blocks", c.UNet.NumResBlocks)
	add("sdgo.unet.transformer_depth", int32s(c.UNet.TransformerDepth))
	number("sdgo.unet.context_dim", c.UNet.ContextDim)
	if c.UNet.Heads > 0 {
		number(keyUNetHeads, c.UNet.Heads)
	} else {
		number(keyUNetHeadDim, c.UNet.HeadDim)
	}
	if c.EncodesEmpty {
		add(keyEmptyText, "encoded")
	}
	c.UNet.Norms.describe(keyUNetGroups, keyUNetEps, add)
	c.describeUpscaler(add)

	number("sdgo.vae.channels", c.VAE.Channels)
	add("sdgo.vae.channel_mult", int32s(c.VAE.ChannelMult))
	number("sdgo.vae.latent_channels", c.VAE.EmbedDim)
	c.VAE.describe(add)

	if len(m.Merges) > 0 {
		add(model.KeyGGUFMerges, m.Merges)
	}
}

func int32s(values []int) []int32 {
	out := make([]int32, len(values))
	for i, v := range values {
		out[i] = int32(v)
	}
	return out
}
