package sd

import (
	"context"
	"fmt"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
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
	m.colours = newOnce[colours]()
	return m.place(func() error {
		if err := m.initTexts(); err != nil {
			return err
		}
		return m.initParts()
	}, m.demands)
}

func (m *Model) initTokenizer() (err error) {
	m.tokenizer = tokenizer.CLIP()
	if m.weights.Merges != nil {
		if m.tokenizer, err = tokenizer.New(m.weights.Merges); err != nil {
			return err
		}
	}
	for _, c := range []convert.TextConfig{m.weights.Text, m.weights.Text2} {
		if need := m.tokenizer.Size(); c.Layers > 0 && c.Vocabulary < need {
			return fmt.Errorf("the text encoder knows %d tokens and its tokenizer makes %d", c.Vocabulary, need)
		}
	}
	return nil
}

func (m *Model) initParts() (err error) {
	u, v := m.weights.UNet, m.weights.VAE
	quant := 0.0
	if v.QuantConv {
		quant = 1
	}
	one := func(v int) []float64 { return []float64{float64(v)} }
	unet := cgo.Params{"in_channels": one(u.InChannels), "out_channels": one(u.OutChannels), "model_channels": one(u.ModelChannels),
		"channel_mult": floats(u.ChannelMult), "num_res_blocks": one(u.NumResBlocks), "transformer_depth": floats(u.TransformerDepth),
		"middle_depth": one(u.MiddleDepth), "context_dim": one(u.ContextDim), "adm_channels": one(u.ADMChannels),
		"heads": one(u.Heads), "head_dim": one(u.HeadDim)}
	vae := cgo.Params{"channels": one(v.Channels), "channel_mult": floats(v.ChannelMult), "num_res_blocks": one(v.NumResBlocks),
		"z_channels": one(v.ZChannels), "embed_dim": one(v.EmbedDim), "image_channels": one(v.ImageChannels), "quant_conv": {quant}}
	for _, p := range []struct {
		to                 **part
		name, arch, prefix string
		params             cgo.Params
	}{
		{&m.unet, partUNet, "unet", "model.diffusion_model.", unet},
		{&m.decoder, partVAE, "vae_decoder", "first_stage_model.", vae},
		{&m.encoder, partVAE, "vae_encoder", "first_stage_model.", vae},
	} {
		if p.to == &m.encoder && !v.HasEncoder {
			continue
		}
		if *p.to, err = m.newPart(p.name, p.arch, p.prefix, p.params); err != nil {
			return err
		}
	}
	return nil
}

// initTexts sets up the text encoders: SDXL has two.
func (m *Model) initTexts() error {
	for _, c := range []convert.TextConfig{m.weights.Text, m.weights.Text2} {
		if c.Layers == 0 {
			continue
		}
		// OpenAI trained CLIP with end tokens behind a text, OpenCLIP, which
		// has the other activation, with zeros.
		padding, activation := m.tokenizer.EOS(), 0
		if c.Activation == "gelu" {
			padding, activation = 0, 1
		}
		one := func(v int) []float64 { return []float64{float64(v)} }
		p, err := m.newPart(partText, "clip_text", c.Prefix, cgo.Params{"vocabulary": one(c.Vocabulary), "width": one(c.Width),
			"heads": one(c.Heads), "layers": one(c.Layers), "ffn": one(c.FFN), "context_length": one(c.ContextLength),
			"activation": one(activation), "eps": {c.Eps}})
		if err != nil {
			return err
		}
		m.texts = append(m.texts, &textEncoder{part: p, config: c, padding: padding})
	}
	return m.initXL()
}

func (m *Model) closeParts() {
	for _, t := range m.texts {
		t.close()
	}
	for _, p := range []*part{m.unet, m.decoder, m.encoder} {
		p.close()
	}
	m.texts, m.unet, m.decoder, m.encoder = nil, nil, nil, nil
}

func floats(list []int) []float64 {
	out := make([]float64, len(list))
	for i, v := range list {
		out[i] = float64(v)
	}
	return out
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
