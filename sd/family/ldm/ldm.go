package ldm

import (
	"cmp"
	"context"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/clip"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/tokenizer"
)

// Align is the alignment of pictures' sides, in pixels.
const Align = 8

// Model has the networks of a latent diffusion model, of which a family makes a
// pipeline.
type Model struct {
	Host   *engine.Host
	Config *convert.StableDiffusion
	Texts  []*clip.Encoder

	denoiser *unet
	kl       *autoencoder.KL
	options  pipeline.Options

	embedsGuidance bool // the guidance scale is an input of the UNet that it heeds
}

// Open creates the networks of a file. check is called before they are placed on
// devices; it returns an error if the file lacks something.
func Open(h *engine.Host, o pipeline.Options, check func(*Model) error) (*Model, error) {
	config, err := convert.ConfigAs[*convert.StableDiffusion](h.Weights, "a model of Stable Diffusion")
	if err != nil {
		return nil, err
	}
	m := &Model{Host: h, Config: config, options: o}
	process, err := processOf(h.Weights)
	if err != nil {
		return nil, err
	}
	tokens := tokenizer.CLIP()
	if merges := h.Weights.Merges; merges != nil {
		var err error
		if tokens, err = tokenizer.New(merges); err != nil {
			return nil, err
		}
	}
	if m.embedsGuidance, err = heedsGuidance(h, config.UNet); err != nil {
		return nil, err
	}
	err = h.Place(func() error { return m.setUp(process, tokens, check) }, m.demands)
	return m, err
}

// setUp creates the networks on the devices that the host has chosen.
func (m *Model) setUp(process *sampler.Process, tokens *tokenizer.Tokenizer, check func(*Model) error) error {
	m.Texts = nil
	for _, c := range []convert.TextConfig{m.Config.Text, m.Config.Text2} {
		if c.Layers == 0 {
			continue
		}
		t, err := clip.New(m.Host, c, tokens)
		if err != nil {
			return err
		}
		m.Texts = append(m.Texts, t)
	}
	if err := check(m); err != nil {
		return err
	}
	net, err := newUNet(m.Host, m.Config.UNet)
	if err != nil {
		return err
	}
	known, err := prediction(cmp.Or(m.options.Prediction, m.Host.Weights.Prediction), process)
	if err != nil {
		return err
	}
	m.denoiser = &unet{config: m.Config.UNet, net: net, factor: m.Config.VAE.Factor(), process: process, known: known,
		found: pipeline.NewOnce[sampler.Prediction]()}
	m.kl, err = autoencoder.NewKL(m.Host, m.Config.VAE)
	return err
}

// demands are the networks' memory on GPUs for a picture of the native size, with
// guidance.
func (m *Model) demands() (all []engine.Demand, err error) {
	side := m.Host.Weights.NativeSize / m.kl.Factor()
	add := func(n *engine.Network, out string, in ...cgo.Input) {
		if err != nil {
			return
		}
		d, ok, failed := engine.DemandOf(n, out, in...)
		if err = failed; ok {
			all = append(all, d)
		}
	}
	length := 0
	for _, t := range m.Texts {
		length = max(length, t.Config.ContextLength)
	}
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: []int{max(length, 1), m.Config.UNet.ContextDim}}}}
	if n := m.Config.UNet.ADMChannels; n > 0 {
		c.Inputs = append(c.Inputs, engine.Named{Name: "y", Shape: []int{n}})
	}
	if n := m.Config.UNet.GuidanceDim; n > 0 {
		c.Inputs = append(c.Inputs, engine.Named{Name: "guidance", Shape: []int{n}})
	}
	shape := []int{m.Config.UNet.OutChannels, side, side}
	add(m.denoiser.net, "out", m.denoiser.Inputs(shape, nil, make([]float32, 2), []pipeline.Condition{c, c})...)
	if err != nil {
		return nil, err
	}
	vae, err := m.kl.Demands(side)
	if err != nil {
		return nil, err
	}
	all = append(all, vae...)
	for _, t := range m.Texts {
		add(t.Network(), "hidden.1", cgo.Input{Name: "tokens", Shape: []int64{1, int64(t.Config.ContextLength)}})
	}
	return all, err
}

// Pipeline makes the model's pipeline. text turns texts into conditions, check checks requests.
func (m *Model) Pipeline(text pipeline.Text, check func(q *request.Resolved, with pipeline.Attached, e *request.Error)) *pipeline.Pipeline {
	w := m.Host.Weights
	p := &pipeline.Pipeline{
		Host: m.Host, Conditioner: pipeline.Prompts{Text: text}, Denoiser: m.denoiser, Autoencoder: m.kl,
		Defaults: request.Defaults{Side: w.NativeSize, Align: Align, Guidance: w.Guidance,
			Schedule: w.Schedule, ZeroSNR: w.ZeroSNR, OwnGuidance: m.Config.Variant == edits},
		Check: check, Batch: m.options.Batch,
	}
	p.EmbedsGuidance = m.embedsGuidance
	if m.Config.Variant == upscales {
		m.enlarge(p)
	}
	m.see(p)
	p.Init()
	return p
}

// Encoding is a text's encoding: the hidden states of all encoders, concatenated along the width.
type Encoding struct {
	Context tensor.Tensor // [tokens, ContextDim]
	Pooled  []float32     // the pooled output of the encoder that pools; nil without one
}

// textKey identifies a text that a model has encoded.
type textKey struct {
	m    *Model
	text string
}

// Encode encodes a text with all text encoders; memo keeps the result for the request.
func (m *Model) Encode(ctx context.Context, text string, clipSkip int, with pipeline.Extras, memo pipeline.Memo) (Encoding, error) {
	key := textKey{m, text}
	if e, ok := memo[key].(Encoding); ok {
		return e, nil
	}
	segments, err := parsePrompt(text)
	if err != nil {
		return Encoding{}, err
	}
	all := make([]clip.Encoding, len(m.Texts))
	for i, t := range m.Texts {
		if all[i], err = t.Encode(ctx, segments, clipSkip, m.extras(i, with)); err != nil {
			return Encoding{}, err
		}
	}
	e := SideBySide(all)
	if memo != nil {
		memo[key] = e
	}
	return e, nil
}

// SideBySide concatenates the encodings of several text encoders.
func SideBySide(all []clip.Encoding) Encoding {
	if len(all) == 1 {
		return Encoding{all[0].Tokens, all[0].Pooled}
	}
	var joined Encoding
	width, length := 0, all[0].Tokens.Height()
	for _, e := range all {
		width += e.Tokens.Width()
		if e.Pooled != nil {
			joined.Pooled = e.Pooled
		}
	}
	data := make([]float32, 0, length*width)
	for i := range length {
		for _, e := range all {
			data = append(data, e.Tokens.Data[i*e.Tokens.Width():][:e.Tokens.Width()]...)
		}
	}
	joined.Context = tensor.Of(data, length, width)
	return joined
}

// extras are those of text encoder i.
func (m *Model) extras(i int, with pipeline.Extras) clip.Extras {
	e := clip.Extras{Adaptation: with.Adapters.Text()}
	for _, w := range with.Words {
		e.Words = append(e.Words, w)
	}
	if m.Host.Weights.Family == convert.SDXL {
		e.Encoder = "lg"[i : i+1]
	} else if m.Host.Weights.Family == convert.SDXLRefiner {
		e.Encoder = "g"
	}
	return e
}

// parsePrompt parses a prompt. The loop has read its tags.
func parsePrompt(text string) ([]prompt.Segment, error) {
	segments, _, err := prompt.Parse(text)
	return segments, err
}

// Chunks is the number of a text's chunks, the largest of all encoders.
func (m *Model) Chunks(text string, with pipeline.Extras) (int, error) {
	segments, err := parsePrompt(text)
	if err != nil {
		return 0, err
	}
	longest := 0
	for i, t := range m.Texts {
		chunks, err := t.Chunks(segments, m.extras(i, with))
		if err != nil {
			return 0, err
		}
		longest = max(longest, len(chunks))
	}
	return longest, nil
}

// Check checks the request's clip skip.
func (m *Model) Check(q *request.Resolved, e *request.Error) {
	for _, t := range m.Texts {
		if _, err := t.Layers(q.ClipSkip); err != nil {
			e.Join(request.Problemf("ClipSkip", "%v", err))
		}
	}
}

// Idle is called when all texts are encoded.
func (m *Model) Idle() {
	for _, t := range m.Texts {
		t.Network().Rest()
	}
}
