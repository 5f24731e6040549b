package sd3

import (
	"context"
	"fmt"
	"image"

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

const t5Tokens = 256 // that the model sees

// model has the networks of a file.
type model struct {
	host     *engine.Host
	config   *convert.SD3Model
	options  pipeline.Options
	clips    []*clip.Encoder // CLIP-L and CLIP-G
	t5       *t5.Encoder     // nil without one
	denoiser *denoiser
	kl       *autoencoder.KL
}

// Open makes the pipeline of a model.
func Open(h *engine.Host, o pipeline.Options) (*pipeline.Pipeline, error) {
	config, err := convert.ConfigAs[*convert.SD3Model](h.Weights, "Stable Diffusion 3")
	if err != nil {
		return nil, err
	}
	m := &model{host: h, config: config, options: o}
	if err := m.complete(); err != nil {
		return nil, err
	}
	var words *unigram.Tokenizer
	if config.T5.Layers > 0 {
		if words, err = t5.ReadTokenizer(h.Weights.T5Tokenizer); err != nil {
			return nil, err
		}
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

// complete makes sure that there are all networks but T5, which may be left out.
func (m *model) complete() error {
	c := m.config
	for _, text := range []struct {
		config     convert.TextConfig
		name, flag string
	}{{c.CLIPL, "CLIP-L", "--clip-l"}, {c.CLIPG, "CLIP-G", "--clip-g"}} {
		switch {
		case text.config.Layers == 0:
			return fmt.Errorf("no text encoder %s is in the file; %s FILE adds one: %w", text.name, text.flag, convert.ErrUnrecognized)
		case text.config.Projection == "":
			return fmt.Errorf("tensor %q is missing: Stable Diffusion 3 needs the text encoder's pooled output", text.config.Prefix+"text_projection.weight")
		}
	}
	switch {
	case m.options.Prediction != "" && m.options.Prediction != string(sampler.PredictFlow):
		return fmt.Errorf("prediction %s: the model predicts a flow's velocity", m.options.Prediction)
	case c.VAE.EmbedDim == 0:
		return fmt.Errorf("no autoencoder (VAE) is in the file; --vae FILE adds one: %w", convert.ErrUnrecognized)
	case c.Transformer.Channels != c.Transformer.OutChannels:
		return fmt.Errorf("a transformer with %d input channels for latents of %d is not known: %w", c.Transformer.Channels, c.Transformer.OutChannels, convert.ErrUnrecognized)
	}
	return nil
}

// setUp creates the networks on the devices that the host has chosen.
func (m *model) setUp(tokens *tokenizer.Tokenizer, words *unigram.Tokenizer) (err error) {
	m.clips = nil
	for _, c := range []convert.TextConfig{m.config.CLIPL, m.config.CLIPG} {
		t, err := clip.New(m.host, c, tokens)
		if err != nil {
			return err
		}
		t.Pools = true
		m.clips = append(m.clips, t)
	}
	if words != nil {
		if m.t5, err = t5.New(m.host, convert.T5Prefix, m.config.T5, words); err != nil {
			return err
		}
	}
	if m.denoiser, err = newTransformer(m.host, m.config.Transformer); err != nil {
		return err
	}
	m.denoiser.factor, m.denoiser.process = m.config.VAE.Factor(), transformer.Process(m.config.Flow, 1)
	m.kl, err = autoencoder.NewKL(m.host, m.config.VAE)
	return err
}

// demands are the networks' memory on GPUs for a picture of the native size, with guidance.
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
	side := min(m.host.Weights.NativeSize/m.kl.Factor(), t.Side*t.Patch)
	length := m.clips[0].Config.ContextLength + t5Tokens
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: []int{length, t.Text}}, {Name: "y", Shape: []int{t.Pooled}}}}
	add(m.denoiser.net, "sample", m.denoiser.Inputs([]int{t.OutChannels, side, side}, nil, make([]float32, 2), []pipeline.Condition{c, c})...)
	if err != nil {
		return nil, err
	}
	vae, err := m.kl.Demands(side)
	if err != nil {
		return nil, err
	}
	all = append(all, vae...)
	if m.t5 != nil {
		add(m.t5.Network(), "hidden", cgo.Input{Name: "tokens", Shape: []int64{1, t5Tokens}}, cgo.Input{Name: "buckets", Shape: []int64{t5Tokens, t5Tokens}})
	}
	for _, c := range m.clips {
		add(c.Network(), "hidden.1", cgo.Input{Name: "tokens", Shape: []int64{1, int64(c.Config.ContextLength)}})
	}
	return all, err
}

// pipeline makes the model's pipeline.
func (m *model) pipeline() *pipeline.Pipeline {
	w, t := m.host.Weights, m.config.Transformer
	d := request.Defaults{Side: min(w.NativeSize, t.Side*t.Patch*m.kl.Factor()), Align: t.Patch * m.kl.Factor(), Sampler: "euler", Schedule: "discrete", Guidance: w.Guidance}
	usual := func(steps int, guidance float64) {
		if d.Steps = steps; d.Guidance == 0 {
			d.Guidance = guidance
		}
	}
	switch { // as in the models' cards
	case t.Dual > 0:
		usual(40, 4.5) // 3.5 medium
	case t.Norms:
		usual(28, 3.5) // 3.5 large
	default:
		usual(28, 7) // 3 medium
	}
	p := &pipeline.Pipeline{
		Host: m.host, Conditioner: pipeline.Prompts{Text: m}, Denoiser: m.denoiser, Autoencoder: m.kl, Defaults: d, Check: m.check, Batch: m.options.Batch,
		Sample: "sample", ProcessFor: transformer.ProcessFor(m.config.Flow, d.Align, nil),
	}
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

// Encode encodes a text with CLIP-L and CLIP-G, whose states are side by side, filled up with zeros to T5's width, and with T5, whose
// states follow them: zeros where the file has none. An empty text is encoded like others.
func (m *model) Encode(ctx context.Context, text string, _ bool, q *request.Resolved, with pipeline.Extras, memo pipeline.Memo) (pipeline.Condition, error) {
	e, err := pipeline.Remembered(memo, textKey{m, text}, func() (encoding, error) { return m.encode(ctx, text, q.ClipSkip, with) })
	if err != nil {
		return pipeline.Condition{}, err
	}
	return pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: e.context.Shape, Data: e.context.Data}, {Name: "y", Shape: []int{len(e.pooled)}, Data: e.pooled}}}, nil
}

func (m *model) encode(ctx context.Context, text string, clipSkip int, with pipeline.Extras) (e encoding, err error) {
	segments, _, err := prompt.Parse(text)
	if err != nil {
		return e, err
	}
	width, first, rows := m.config.Transformer.Text, 0, 0
	for i, t := range m.clips {
		c, err := t.Encode(ctx, segments, clipSkip, m.extras(i, with))
		if err != nil {
			return e, err
		}
		if i == 0 {
			rows = c.Tokens.Height()
			e.context = tensor.New(rows+t5Tokens, width)
		}
		for row := range rows {
			copy(e.context.Data[row*width+first:], c.Tokens.Data[row*c.Tokens.Width():][:c.Tokens.Width()])
		}
		first += c.Tokens.Width()
		e.pooled = append(e.pooled, c.Pooled...)
	}
	if m.t5 == nil {
		return e, nil
	}
	p, err := m.t5.Prompt(segments, t5Tokens)
	if err != nil {
		return e, err
	}
	states, err := m.t5.EncodePadded(ctx, p, t5Tokens, nil)
	if err == nil {
		copy(e.context.Data[rows*width:], states.Data)
	}
	return e, err
}

// extras are those of text encoder i.
func (m *model) extras(i int, with pipeline.Extras) clip.Extras {
	e := clip.Extras{Adaptation: with.Adapters.Text(), Encoder: "lg"[i : i+1]}
	for _, w := range with.Words {
		e.Words = append(e.Words, w)
	}
	return e
}

// Chunks is the number of runs of text encoders that a text takes. All encoders of CLIP's cut a text alike.
func (m *model) Chunks(text string, with pipeline.Extras) (int, error) {
	segments, _, err := prompt.Parse(text)
	if err != nil {
		return 0, err
	}
	if m.t5 != nil {
		if _, err := m.t5.Prompt(segments, t5Tokens); err != nil {
			return 1, err
		}
	}
	longest := 0
	for i, t := range m.clips {
		chunks, err := t.Chunks(segments, m.extras(i, with))
		if err != nil {
			return 0, err
		}
		longest = max(longest, len(chunks))
	}
	return 1 + longest, nil
}

// Check checks the request's clip skip.
func (m *model) Check(q *request.Resolved, e *request.Error) {
	for _, t := range m.clips {
		if _, err := t.Layers(q.ClipSkip); err != nil {
			e.Join(request.Problemf("ClipSkip", "%v", err))
		}
	}
}

// Idle is called when all texts are encoded.
func (m *model) Idle() {
	for _, t := range m.clips {
		t.Network().Rest()
	}
	if m.t5 != nil {
		m.t5.Network().Rest()
	}
}

// check checks the family's own fields of a request, and the size of pictures: there are positions for so many tokens.
func (m *model) check(q *request.Resolved, _ pipeline.Attached, e *request.Error) {
	t := m.config.Transformer
	if most := t.Side * t.Patch * m.kl.Factor(); q.Width > most || q.Height > most {
		e.Add("Width", "and Height must be at most %d, got %dx%d: the model has no positions beyond", most, q.Width, q.Height)
	}
	if q.Refiner != "" {
		e.Add("Refiner", "only Stable Diffusion XL has one")
	}
	for _, c := range q.MicroConditions() {
		if c.Value != (image.Point{}) {
			e.Add(c.Field, "only Stable Diffusion XL takes it")
		}
	}
	if q.Request.ImageGuidance != nil {
		e.Add("ImageGuidance", "only models for editing (instruct-pix2pix) have it")
	}
	if q.Request.AestheticScore != nil || q.Request.NegativeAestheticScore != nil {
		e.Add("AestheticScore", "only Stable Diffusion XL's refiner takes aesthetic scores")
	}
}
