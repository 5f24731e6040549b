package flux

import (
	"context"
	"fmt"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/clip"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/transformer"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/t5"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/tokenizer"
	"github.com/sdgo/sdgo/sd/tokenizer/unigram"
)

// model has the networks of a file.
type model struct {
	host     *engine.Host
	config   *convert.FluxModel
	options  pipeline.Options
	clip     *clip.Encoder // nil of Chroma
	t5       *t5.Encoder
	denoiser *denoiser
	kl       *autoencoder.KL
}

// Open makes the pipeline of a model.
func Open(h *engine.Host, o pipeline.Options) (*pipeline.Pipeline, error) {
	config, err := convert.ConfigAs[*convert.FluxModel](h.Weights, "FLUX.1 or Chroma")
	if err != nil {
		return nil, err
	}
	m := &model{host: h, config: config, options: o}
	if err := m.complete(); err != nil {
		return nil, err
	}
	words, err := t5.ReadTokenizer(h.Weights.T5Tokenizer)
	if err != nil {
		return nil, err
	}
	tokens := tokenizer.CLIP()
	if merges := h.Weights.Merges; merges != nil {
		if tokens, err = tokenizer.New(merges); err != nil {
			return nil, err
		}
	}
	if err := h.Place(func() error { return m.setUp(tokens, words) }, m.demands); err != nil {
		return nil, err
	}
	return m.pipeline(), nil
}

// complete makes sure that there are all networks.
func (m *model) complete() error {
	c := m.config
	switch {
	case m.options.Prediction != "" && m.options.Prediction != string(sampler.PredictFlow):
		return fmt.Errorf("prediction %s: the model predicts a flow's velocity", m.options.Prediction)
	case c.Transformer.Channels != c.Transformer.OutChannels && c.VAE.EmbedDim > 0 && !m.fills() && !m.follows():
		return fmt.Errorf("a transformer with %d input channels for latents of %d: only Fill's and those for control pictures are known: %w",
			c.Transformer.Channels, c.Transformer.OutChannels, convert.ErrUnrecognized)
	}
	const text, words, vae = "its text encoder T5 (--t5xxl FILE)", "its text encoder CLIP-L (--clip-l FILE)", "its autoencoder (--vae FILE)"
	return transformer.Lacks(m.host.Weights.Description, map[string]bool{text: c.T5.Layers == 0, words: c.Transformer.Pooled > 0 && c.CLIP.Layers == 0,
		vae: c.VAE.EmbedDim == 0}, text, words, vae)
}

// setUp creates the networks on the devices that the host has chosen.
func (m *model) setUp(tokens *tokenizer.Tokenizer, words *unigram.Tokenizer) (err error) {
	if m.config.Transformer.Pooled > 0 {
		if m.clip, err = clip.New(m.host, m.config.CLIP, tokens); err != nil {
			return err
		}
		m.clip.Pools, m.clip.Plain = true, true
	}
	if m.t5, err = t5.New(m.host, convert.T5Prefix, m.config.T5, words); err != nil {
		return err
	}
	if m.denoiser, err = newTransformer(m.host, m.config.Transformer); err != nil {
		return err
	}
	m.denoiser.kontext = m.edits()
	m.denoiser.factor, m.denoiser.process = m.config.VAE.Factor(), transformer.Process(m.config.Flow, 1)
	m.kl, err = autoencoder.NewKL(m.host, m.config.VAE)
	return err
}

// Tokens of T5 that the models were trained with.
const (
	mostTokens    = 512
	schnellTokens = 256
)

// tokens is the number of tokens that the model sees, with padding.
func (m *model) tokens() int {
	if m.isSchnell() {
		return schnellTokens
	}
	return mostTokens
}

// isSchnell reports whether the model is FLUX.1 schnell, or one made of it.
func (m *model) isSchnell() bool {
	return m.config.Transformer.Pooled > 0 && !m.config.Transformer.Guidance
}

// demands are the networks' memory on GPUs for a picture of the native size.
func (m *model) demands() (all []engine.Demand, err error) {
	add := func(n *engine.Network, out string, in ...cgo.Input) {
		if err != nil {
			return
		}
		d, ok, failed := engine.DemandOf(n, out, in...)
		if err = failed; ok {
			all = append(all, d)
		}
	}
	t := m.config.Transformer
	side := m.host.Weights.NativeSize / m.kl.Factor()
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: []int{m.tokens(), t.Text}}, {Name: "y", Shape: []int{t.Pooled}},
		{Name: "guidance", Shape: []int{1}, Data: []float32{1}}}}
	add(m.denoiser.net, "sample", m.denoiser.Inputs([]int{t.OutChannels, side, side}, nil, make([]float32, 1), []pipeline.Condition{c})...)
	if err != nil {
		return nil, err
	}
	vae, err := m.kl.Demands(side)
	if err != nil {
		return nil, err
	}
	all = append(all, vae...)
	n := int64(m.tokens())
	add(m.t5.Network(), "hidden", cgo.Input{Name: "tokens", Shape: []int64{1, n}}, cgo.Input{Name: "buckets", Shape: []int64{n, n}})
	if m.clip != nil {
		add(m.clip.Network(), "hidden.1", cgo.Input{Name: "tokens", Shape: []int64{1, int64(m.clip.Config.ContextLength)}})
	}
	return all, err
}

// pipeline makes the model's pipeline.
func (m *model) pipeline() *pipeline.Pipeline {
	w, t := m.host.Weights, m.config.Transformer
	d := request.Defaults{Side: w.NativeSize, Align: patch * m.kl.Factor(), Sampler: "euler", Schedule: "linear", Guidance: w.Guidance}
	usual := func(steps int, guidance float64) {
		if d.Steps = steps; d.Guidance == 0 {
			d.Guidance = guidance
		}
	}
	switch { // as in the diffusers library's pipelines and their examples
	case t.Pooled == 0:
		usual(35, 5) // Chroma
	case t.Channels == 6*t.OutChannels:
		usual(50, 30) // Fill
	case m.edits():
		usual(28, 2.5) // Kontext
	case t.Guidance:
		usual(28, 3.5) // dev
	default:
		usual(4, 1) // schnell
	}
	p := &pipeline.Pipeline{
		Host: m.host, Conditioner: pipeline.Prompts{Text: m}, Denoiser: m.denoiser, Autoencoder: m.kl, Defaults: d, Check: m.check, Batch: m.options.Batch,
		ProcessFor: transformer.ProcessFor(m.config.Flow, d.Align, nil), Sample: "sample", EmbedsGuidance: t.Guidance, SeesReferences: m.seesReferences(), LatentRGB: transformer.FluxLatentRGB(m.config.VAE),
	}
	m.see(p)
	p.Init()
	return p
}

// encoding is what texts become.
type encoding struct {
	context tensor.Tensor
	pooled  []float32
}

// textKey identifies a text that a model has encoded.
type textKey struct {
	m    *model
	text string
}

// Encode encodes a text with T5, of which Chroma sees the tokens and one of padding and FLUX.1 as many as it was trained with, and
// for FLUX.1 with CLIP, of which it sees a vector for the whole text.
func (m *model) Encode(ctx context.Context, text string, _ bool, q *request.Resolved, with pipeline.Extras, memo pipeline.Memo) (pipeline.Condition, error) {
	e, err := pipeline.Remembered(memo, textKey{m, text}, func() (encoding, error) { return m.encode(ctx, text, with) })
	if err != nil {
		return pipeline.Condition{}, err
	}
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: e.context.Shape, Data: e.context.Data}}}
	if m.clip != nil {
		c.Inputs = append(c.Inputs, engine.Named{Name: "y", Shape: []int{len(e.pooled)}, Data: e.pooled})
	}
	if m.config.Transformer.Guidance {
		c.Inputs = append(c.Inputs, engine.Named{Name: "guidance", Shape: []int{1}, Data: []float32{float32(q.Guidance)}})
	}
	if m.seesReferences() {
		seen, err := m.reference(ctx, q, memo)
		if err != nil {
			return c, err
		}
		c.Inputs = append(c.Inputs, seen...)
	}
	return c, nil
}

func (m *model) encode(ctx context.Context, text string, with pipeline.Extras) (e encoding, err error) {
	segments, _, err := prompt.Parse(text)
	if err != nil {
		return e, err
	}
	p, err := m.t5.Prompt(segments, m.tokens())
	if err != nil {
		return e, err
	}
	if m.clip == nil {
		e.context, err = m.t5.EncodeWithOnePad(ctx, p, mostTokens, nil)
		return e, err
	}
	if e.context, err = m.t5.EncodePadded(ctx, p, m.tokens(), nil); err != nil {
		return e, err
	}
	c, err := m.clip.Encode(ctx, segments, 0, m.extras(with))
	e.pooled = c.Pooled
	return e, err
}

// extras are those of CLIP's text encoder.
func (m *model) extras(with pipeline.Extras) clip.Extras {
	e := clip.Extras{Adaptation: with.Adapters.Text()}
	for _, w := range with.Words {
		e.Words = append(e.Words, w)
	}
	return e
}

// Chunks is the number of runs of text encoders that a text takes.
func (m *model) Chunks(text string, with pipeline.Extras) (int, error) {
	segments, _, err := prompt.Parse(text)
	if err != nil {
		return 0, err
	}
	if _, err := m.t5.Prompt(segments, m.tokens()); err != nil || m.clip == nil {
		return 1, err
	}
	chunks, err := m.clip.Chunks(segments, m.extras(with))
	return 1 + len(chunks), err
}

// Check checks the request's fields about the encoders.
func (m *model) Check(q *request.Resolved, e *request.Error) {
	transformer.CheckPlain(q, e)
}

// Idle is called when all texts are encoded.
func (m *model) Idle() {
	m.t5.Network().Rest()
	if m.clip != nil {
		m.clip.Network().Rest()
	}
}

// check checks the family's own fields of a request.
func (m *model) check(q *request.Resolved, _ pipeline.Attached, e *request.Error) {
	m.checkVariant(q, e)
	if q.Refiner != "" {
		e.Add("Refiner", "only Stable Diffusion XL has one")
	}
}
