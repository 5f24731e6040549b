// Package flux2 is FLUX.2 klein: pictures from texts, and from texts and reference pictures, as the diffusers library's
// Flux2KleinPipeline draws them.
package flux2

import (
	"context"
	"errors"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/transformer"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/qwen"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

const (
	side     = 16   // pixels along a token's side
	ropeBase = 2000 // of the angles of the rotary embedding

	// References come in time after the picture, each so much after the one before.
	referenceTime = 10

	// Sides of reference pictures must have some pixels, and one must not be much longer than the other.
	referenceSide, referenceAspect = 64, 8
)

// Steps and guidance of the distilled model, and of the base model, whose files say so, or a guidance scale.
const (
	distilledSteps, distilledGuidance = 4, 1
	baseSteps, baseGuidance           = 50, 4
)

// model has the networks of a file.
type model struct {
	host *engine.Host
	c    convert.Flux2Config
	net  *engine.Network
	text *transformer.QwenText
	vae  *autoencoder.Packed
}

// Open makes the pipeline of a model.
func Open(h *engine.Host, o pipeline.Options) (*pipeline.Pipeline, error) {
	c, err := convert.ConfigAs[*convert.Flux2Config](h.Weights, "FLUX.2")
	if err != nil {
		return nil, err
	}
	if c.Guidance {
		return nil, errors.New("FLUX.2 dev, whose text encoder is a Mistral of 24 billion weights, is not supported; klein is")
	}
	const text, vae = "its text encoder, Qwen3 (--llm FILE)", "FLUX.2's autoencoder (--vae FILE)"
	if err := transformer.Lacks(h.Weights.Description, map[string]bool{text: c.LLM == nil, vae: c.VAE == nil}, text, vae); err != nil {
		return nil, err
	}
	if o.Prediction != "" {
		return nil, errors.New("prediction: must be left out, FLUX.2 predicts a velocity")
	}
	m := &model{host: h, c: *c}
	if err := h.Place(m.setUp, m.demands); err != nil {
		return nil, err
	}
	p := &pipeline.Pipeline{
		Host: h, Conditioner: pipeline.Prompts{Text: m}, Denoiser: m, Autoencoder: m.vae, Sample: "sample",
		Defaults: m.defaults(), Check: m.check, Batch: o.Batch, SeesReferences: true,
		ProcessFor: func(q *request.Resolved) *sampler.Process {
			return sampler.Flow(sampler.Flux2Shift(q.Width/side*(q.Height/side), q.Steps))
		},
	}
	p.Init()
	return p, nil
}

// setUp creates the networks on the devices that the host has chosen.
func (m *model) setUp() error {
	encoder, err := qwen.Open(m.host, m.c.LLMPrefix, *m.c.LLM)
	if err != nil {
		return err
	}
	n := m.c.LLM.Layers // 36: states of layers 9, 18 and 27
	m.text = &transformer.QwenText{Encoder: encoder, Layers: []int{n / 4, n / 2, n * 3 / 4}, Pad: true, Name: "context"}
	m.net, err = m.host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the transformer", Arch: "flux2", Prefix: m.c.Prefix, Params: m.c.Params()})
	if err != nil {
		return err
	}
	kl, err := autoencoder.NewKL(m.host, *m.c.VAE)
	if err != nil {
		return err
	}
	m.vae, err = autoencoder.NewPacked(m.host, kl, convert.Flux2Mean, convert.Flux2Variance, convert.Flux2Eps)
	return err
}

// demands are the networks' memory on GPUs for a picture of the native size.
func (m *model) demands() (all []engine.Demand, err error) {
	n := m.host.Weights.NativeSize
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: []int{transformer.MaxText, m.c.Text}}}}
	d, ok, err := engine.DemandOf(m.net, "sample", m.Inputs(m.Latent(n, n), nil, make([]float32, 1), []pipeline.Condition{c})...)
	if ok {
		all = append(all, d)
	}
	if err != nil {
		return nil, err
	}
	if d, ok, err = m.text.Encoder.Demand(transformer.MaxText); ok {
		all = append(all, d)
	}
	if err != nil {
		return nil, err
	}
	vae, err := m.vae.Demands(n / m.vae.KL.Factor())
	return append(all, vae...), err
}

func (m *model) defaults() request.Defaults {
	d := request.Defaults{Side: m.host.Weights.NativeSize, Align: side, Guidance: distilledGuidance, Sampler: "euler", Schedule: "linear", Steps: distilledSteps}
	if m.c.Base {
		d.Guidance, d.Steps = baseGuidance, baseSteps
	}
	if g := m.host.Weights.Guidance; g > 0 {
		d.Guidance = g
		if g != 1 {
			d.Steps = baseSteps
		}
	}
	return d
}

// check checks the family's own fields of a request.
func (m *model) check(q *request.Resolved, _ pipeline.Attached, e *request.Error) {
	if q.Refiner != "" {
		e.Add("Refiner", "only Stable Diffusion XL has one")
	}
	for i, c := range q.Request.Controls {
		if c.Name != request.Reference || q.ControlPictures[i] == nil {
			continue
		}
		size := q.ControlPictures[i].Rect.Size()
		if long, short := max(size.X, size.Y), min(size.X, size.Y); short < referenceSide || long > referenceAspect*short {
			problem := request.Problemf("Controls", "reference pictures must have sides of at least %d pixels, one at most %d times the other, got %dx%d", referenceSide, referenceAspect, size.X, size.Y)
			e.Join(problem)
		}
	}
}

// Encode encodes a prompt, and the reference pictures beside it.
func (m *model) Encode(ctx context.Context, text string, negative bool, q *request.Resolved, with pipeline.Extras, memo pipeline.Memo) (pipeline.Condition, error) {
	c, err := m.text.Encode(ctx, text, negative, q, with, memo)
	if err != nil {
		return c, err
	}
	seen, err := m.references(ctx, q, memo)
	if err == nil && len(seen) > 0 {
		c.Inputs = append(append([]engine.Named(nil), c.Inputs...), seen...)
	}
	return c, err
}

// Chunks, Check and Idle are the text encoder's.
func (m *model) Chunks(text string, with pipeline.Extras) (int, error) {
	return m.text.Chunks(text, with)
}
func (m *model) Check(q *request.Resolved, e *request.Error) { m.text.Check(q, e) }
func (m *model) Idle()                                       { m.text.Idle() }

// referenceKey is what a request keeps its references under.
type referenceKey struct{ m *model }

// references are the tokens of the reference pictures, [tokens, Channels], and their sizes in tokens.
func (m *model) references(ctx context.Context, q *request.Resolved, memo pipeline.Memo) ([]engine.Named, error) {
	if known, ok := memo[referenceKey{m}].([]engine.Named); ok {
		return known, nil
	}
	var tokens, sizes []float32
	for i, c := range q.Request.Controls {
		if c.Name != request.Reference {
			continue
		}
		e, err := m.vae.Encode(ctx, tensor.FromImage(transformer.Reference(q.ControlPictures[i], side)))
		if err != nil {
			return nil, err
		}
		x := e.Mean()
		n := x.Height() * x.Width()
		for k := range n {
			for channel := range x.Channels() {
				tokens = append(tokens, x.Data[channel*n+k])
			}
		}
		sizes = append(sizes, float32(x.Height()), float32(x.Width()))
	}
	if tokens == nil {
		return nil, nil
	}
	all := []engine.Named{{Name: "reference", Shape: []int{len(tokens) / m.c.Channels, m.c.Channels}, Data: tokens},
		{Name: "sizes", Shape: []int{len(sizes)}, Data: sizes}}
	if memo != nil {
		memo[referenceKey{m}] = all
	}
	return all, nil
}

// The transformer as a denoiser, whose conditions have the input "context", [tokens, Text], and with references
// "reference", their tokens, and "sizes", their heights and widths.
func (m *model) Network() *engine.Network  { return m.net }
func (m *model) Process() *sampler.Process { return sampler.Flow(1) }
func (m *model) CachesInner() bool         { return false }
func (m *model) Perturbs() bool            { return false }

func (m *model) Prediction(context.Context) (sampler.Prediction, error) {
	return sampler.PredictFlow, nil
}

func (m *model) Latent(width, height int) []int {
	return []int{m.c.Channels, height / side, width / side}
}

func (m *model) Inputs(shape []int, x, t []float32, c []pipeline.Condition) []cgo.Input {
	n := len(t)
	head := m.c.Width / m.c.Heads
	r := transformer.Rope{Base: ropeBase, Axes: []int{head / 4, head / 4, head / 4, head / 4}}
	text, _ := transformer.Named(c[0], "context")
	for l := range text[0] {
		r.Add(0, 0, 0, l)
	}
	square := func(time, height, width int) {
		for row := range height {
			for column := range width {
				r.Add(time, row, column)
			}
		}
	}
	square(0, shape[1], shape[2])
	_, sizes := transformer.Named(c[0], "sizes")
	for k := 0; k < len(sizes); k += 2 {
		square(referenceTime+referenceTime*k/2, int(sizes[k]), int(sizes[k+1]))
	}
	inputs := []cgo.Input{{Name: "x", Shape: tensor.Batch(n, shape), F32: x}, {Name: "timesteps", Shape: []int64{int64(n)}, F32: t},
		{Name: "cos", Shape: r.Shape(), F32: r.Cos}, {Name: "sin", Shape: r.Shape(), F32: r.Sin}}
	return append(inputs, transformer.Batched(c, "context", "reference")...)
}
