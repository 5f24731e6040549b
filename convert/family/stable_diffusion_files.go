package family

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// stableDiffusionFolder is a folder with a UNet, an autoencoder and text encoders.
func stableDiffusionFolder(components []string, text ...FolderPart) *Folder {
	nets := []FolderPart{{"unet", NetFile, layout.UNetNames}, {"vae", NetFile, layout.VAENames}}
	return &Folder{Components: append([]string{"unet"}, components...), Parts: append(nets, text...)}
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

// headCounts is a number for all levels of a UNet or one for each.
type headCounts struct {
	same float64
	each []float64
}

func (h *headCounts) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '[' {
		return json.Unmarshal(text, &h.each)
	}
	return json.Unmarshal(text, &h.same)
}

// settings is what the configuration files of a diffusers folder say beyond the
// shapes.
type settings struct {
	text, text2 struct {
		Heads      int     `json:"num_attention_heads"`
		Activation string  `json:"hidden_act"`
		Eps        float64 `json:"layer_norm_eps"`
	}
	unet struct {
		HeadDim    headCounts `json:"attention_head_dim"` // in fact the number of heads
		Heads      headCounts `json:"num_attention_heads"`
		SampleSize int        `json:"sample_size"`
	}
	vae struct {
		ScaleFactor float64 `json:"scaling_factor"`
	}
	scheduler struct {
		Prediction string `json:"prediction_type"`
	}
}

// stableDiffusionSettings puts what the configuration files say where the
// metadata of single files says it.
func stableDiffusionSettings(name string) func(json func(path string, to any) error) (map[string]string, error) {
	first, second := textFolders(name)
	return func(json func(path string, to any) error) (map[string]string, error) {
		var s settings
		for _, f := range []struct {
			path string
			to   any
		}{
			{first + "/config.json", &s.text}, {second + "/config.json", &s.text2}, {"unet/config.json", &s.unet}, {"vae/config.json", &s.vae},
			{"scheduler/scheduler_config.json", &s.scheduler},
		} {
			if err := json(f.path, f.to); err != nil {
				return nil, fmt.Errorf("%s: %w", f.path, err)
			}
		}
		return s.metadata(), nil
	}
}

func (s settings) metadata() map[string]string {
	all := map[string]string{}
	say := func(key string, set bool, value any) {
		if set {
			all[key] = fmt.Sprint(value)
		}
	}
	say(keyText2Heads, s.text2.Heads > 0, s.text2.Heads)
	say(keyTextHeads, s.text.Heads > 0, s.text.Heads)
	say(keyTextActivation, s.text.Activation != "", s.text.Activation)
	say(keyTextEps, s.text.Eps > 0, s.text.Eps)
	say(keyScaleFactor, s.vae.ScaleFactor != 0, s.vae.ScaleFactor)
	say(keyPrediction, s.scheduler.Prediction != "", strings.TrimSuffix(s.scheduler.Prediction, "_prediction"))
	say(keySampleSize, s.unet.SampleSize > 0, s.unet.SampleSize)
	heads := s.unet.Heads
	if heads.same == 0 && heads.each == nil {
		heads = s.unet.HeadDim
	}
	say(keyUNetHeads, heads.same != 0, heads.same)
	say(keyUNetHeadList, heads.each != nil, strings.Trim(fmt.Sprint(heads.each), "[]"))
	return all
}

// stableDiffusionMetadata adds what is known of the model: for readers that could
// not find it out from the tensors, and for people.
func stableDiffusionMetadata(m *model.Model, add func(key string, value any)) {
	c, ok := m.Config.(*StableDiffusion)
	if !ok {
		return
	}
	if m.Prediction != "" {
		add(keyPrediction, m.Prediction)
	}
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

	number("sdgo.vae.channels", c.VAE.Channels)
	add("sdgo.vae.channel_mult", int32s(c.VAE.ChannelMult))
	number("sdgo.vae.latent_channels", c.VAE.EmbedDim)
	add(keyScaleFactor, c.VAE.ScaleFactor)

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
