package sd

import (
	"context"
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/tokenizer"
)

// init sets up everything that the file's configuration decides.
func (m *Model) init() error {
	if err := m.initTokenizer(); err != nil {
		return err
	}
	m.process = sampler.StableDiffusion()
	if m.weights.AlphasCumprod != nil {
		process, err := sampler.NewDiscrete(m.weights.AlphasCumprod)
		if err != nil {
			return err
		}
		m.process = process
	}
	m.prediction = newOnce[sampler.Prediction]()
	return m.initParts()
}

func (m *Model) initTokenizer() (err error) {
	m.tokenizer = tokenizer.CLIP()
	if m.weights.Merges != nil {
		if m.tokenizer, err = tokenizer.New(m.weights.Merges); err != nil {
			return err
		}
	}
	if have, need := m.weights.Text.Vocabulary, m.tokenizer.Size(); have < need {
		return fmt.Errorf("the text encoder knows %d tokens and its tokenizer makes %d", have, need)
	}
	return nil
}

func (m *Model) initParts() (err error) {
	t, u, v := m.weights.Text, m.weights.UNet, m.weights.VAE
	activation := 0.0
	if t.Activation == "gelu" {
		activation = 1
	}
	quant := 0.0
	if v.QuantConv {
		quant = 1
	}
	one := func(v int) []float64 { return []float64{float64(v)} }
	text := cgo.Params{"vocabulary": one(t.Vocabulary), "width": one(t.Width), "heads": one(t.Heads), "layers": one(t.Layers),
		"ffn": one(t.FFN), "context_length": one(t.ContextLength), "activation": {activation}, "eps": {t.Eps}}
	unet := cgo.Params{"in_channels": one(u.InChannels), "out_channels": one(u.OutChannels), "model_channels": one(u.ModelChannels),
		"channel_mult": floats(u.ChannelMult), "num_res_blocks": one(u.NumResBlocks), "transformer_depth": floats(u.TransformerDepth),
		"middle_depth": one(u.MiddleDepth), "context_dim": one(u.ContextDim), "heads": one(u.Heads), "head_dim": one(u.HeadDim)}
	vae := cgo.Params{"channels": one(v.Channels), "channel_mult": floats(v.ChannelMult), "num_res_blocks": one(v.NumResBlocks),
		"z_channels": one(v.ZChannels), "embed_dim": one(v.EmbedDim), "image_channels": one(v.ImageChannels), "quant_conv": {quant}}
	for _, p := range []struct {
		to           **part
		arch, prefix string
		params       cgo.Params
	}{
		{&m.text, "clip_text", strings.TrimSuffix(t.Prefix, "text_model."), text},
		{&m.unet, "unet", "model.diffusion_model.", unet},
		{&m.decoder, "vae_decoder", "first_stage_model.", vae},
		{&m.encoder, "vae_encoder", "first_stage_model.", vae},
	} {
		if p.to == &m.encoder && !v.HasEncoder {
			continue
		}
		if *p.to, err = m.newPart(p.arch, p.prefix, p.params); err != nil {
			m.closeParts()
			return err
		}
	}
	return nil
}

func (m *Model) closeParts() {
	for _, p := range []*part{m.text, m.unet, m.decoder, m.encoder} {
		p.close()
	}
}

func floats(list []int) []float64 {
	out := make([]float64, len(list))
	for i, v := range list {
		out[i] = float64(v)
	}
	return out
}

// padding is what fills a chunk of tokens behind its end: the end token for
// CLIP as OpenAI trained it, 0 for OpenCLIP.
func (m *Model) padding() int32 {
	if m.weights.Text.ClipSkip > 1 {
		return 0
	}
	return m.tokenizer.EOS()
}

// layers is the number of the text encoder's layers that a clip skip runs; 0
// is the model's own. Files of SD 2.x may lack the last layer, which clip
// skip 2, the model's own, never runs.
func (m *Model) layers(clipSkip int) (int, error) {
	t := m.weights.Text
	if clipSkip == 0 {
		clipSkip = t.ClipSkip
	}
	n := t.FinalLayer + t.ClipSkip - clipSkip
	if n < 1 || n > t.Layers {
		low, high := t.FinalLayer+t.ClipSkip-t.Layers, t.FinalLayer+t.ClipSkip-1
		return 0, &RequestError{[]Problem{{"ClipSkip", fmt.Sprintf("%d, %d to %d wanted: the text encoder has %d layers",
			clipSkip, low, high, t.Layers)}}}
	}
	return n, nil
}

// notFinite explains NaN or infinity in what a network computed: a damaged
// weight if there is one. It is looked for only now, because it takes reading
// the whole file.
func (m *Model) notFinite(network string, p *part) error {
	if err := m.weights.CheckFinite(context.Background(), p.prefix); err != nil {
		return err
	}
	return &NotFiniteError{Network: network}
}
