// Package deepfloyd is the family of DeepFloyd IF: a text becomes 64x64 pixels, which a second stage enlarges
// to 256x256 as the text says (after Saharia et al. 2022, arXiv:2205.11487).
package deepfloyd

import (
	"fmt"
	"image"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/t5"
	"github.com/sdgo/sdgo/sd/tokenizer/unigram"
)

// tokens of T5 are what a model sees of a text.
const tokens = 77

// noiseLevel is what the noise on a picture to enlarge has by default, of 1000 timesteps.
const noiseLevel = 250

// output is what the network calls its output.
const output = "sample"

// model has the networks of a file.
type model struct {
	host     *engine.Host
	config   *convert.DeepFloydModel
	t5       *t5.Encoder
	denoiser *denoiser
}

// Open makes the pipeline of a model.
func Open(h *engine.Host, o pipeline.Options) (*pipeline.Pipeline, error) {
	config, err := convert.ConfigAs[*convert.DeepFloydModel](h.Weights, "DeepFloyd IF")
	if err != nil {
		return nil, err
	}
	switch {
	case config.T5.Layers == 0:
		return nil, fmt.Errorf("no T5 text encoder is in the file; --t5xxl FILE adds one: %w", convert.ErrUnrecognized)
	case o.Prediction != "" && o.Prediction != config.Process.Prediction:
		return nil, fmt.Errorf("prediction %s: the model predicts %s", o.Prediction, config.Process.Prediction)
	}
	words, err := t5.ReadTokenizer(h.Weights.T5Tokenizer)
	if err != nil {
		return nil, err
	}
	process, err := processOf(config.Process, h.Weights.AlphasCumprod)
	if err != nil {
		return nil, err
	}
	m := &model{host: h, config: config}
	if err := h.Place(func() error { return m.setUp(words, process) }, m.demands); err != nil {
		return nil, err
	}
	return m.pipeline(o), nil
}

// processOf is the process of training: of the file's own products, else of its betas.
func processOf(c convert.PixelProcess, bars []float64) (*sampler.Process, error) {
	if bars != nil {
		return sampler.NewDiscrete(bars)
	}
	name := c.Betas
	if name == "cosine" {
		name = "squaredcos_cap_v2" // the diffusers library's name of it
	}
	bars, err := sampler.NewAlphasCumprod(name, c.BetaStart, c.BetaEnd, c.Steps)
	if err != nil {
		return nil, err
	}
	return sampler.NewDiscrete(bars)
}

// setUp creates the networks on the devices that the host has chosen.
func (m *model) setUp(words *unigram.Tokenizer, process *sampler.Process) (err error) {
	c := m.config
	if m.t5, err = t5.New(m.host, convert.T5Prefix, c.T5, words); err != nil {
		return err
	}
	net, err := m.host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the UNet", Arch: c.Net, Prefix: c.Prefix, Params: c.Params()})
	m.denoiser = &denoiser{config: c, net: net, process: process}
	return err
}

// demands are the networks' memory on GPUs for a picture of the native size, with guidance.
func (m *model) demands() (all []engine.Demand, err error) {
	side := m.config.Size
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: []int{tokens, m.config.UNet.Text.Width}}}}
	if n := m.config.LowChannels; n > 0 {
		c.Inputs = append(c.Inputs, engine.Named{Name: "noise_level", Shape: []int{}}, engine.Named{Name: "low", Shape: []int{n, side, side}})
	}
	add := func(n *engine.Network, out string, in ...cgo.Input) {
		if err != nil {
			return
		}
		d, ok, failed := engine.DemandOf(n, out, in...)
		if err = failed; ok {
			all = append(all, d)
		}
	}
	add(m.denoiser.net, output, m.denoiser.Inputs([]int{m.config.Channels, side, side}, nil, make([]float32, 2), []pipeline.Condition{c, c})...)
	add(m.t5.Network(), "hidden", cgo.Input{Name: "tokens", Shape: []int64{1, tokens}}, cgo.Input{Name: "buckets", Shape: []int64{tokens, tokens}},
		cgo.Input{Name: "mask", Shape: []int64{tokens}})
	return all, err
}

// pipeline makes the model's pipeline.
func (m *model) pipeline(o pipeline.Options) *pipeline.Pipeline {
	c := m.config
	d := request.Defaults{Side: c.Size, Align: c.Multiple, Guidance: m.host.Weights.Guidance, Enlarges: c.LowChannels > 0}
	var guidance float64
	if d.Sampler, d.Schedule, d.Steps, guidance = c.Usual(); d.Guidance == 0 {
		d.Guidance = guidance
	}
	p := &pipeline.Pipeline{
		Host: m.host, Conditioner: pipeline.Prompts{Text: m}, Denoiser: m.denoiser, Autoencoder: autoencoder.None{}, Defaults: d, Check: m.check,
		Batch: o.Batch, Sample: output, LearnsVariance: c.LearnedVariance, UnitStart: true,
		LatentRGB: &autoencoder.LatentRGB{Weights: [][3]float64{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}},
		Limit: func(d sampler.Denoiser) sampler.Denoiser {
			return sampler.DynamicThreshold(d, c.Quantile, c.Largest, 1)
		},
	}
	if d.Enlarges {
		p.Defaults.NoiseLevel, p.Low = noiseLevel, m.denoiser.low
	}
	p.Init()
	return p
}

// check checks the family's own fields of a request.
func (m *model) check(q *request.Resolved, _ pipeline.Attached, e *request.Error) {
	for _, f := range []struct {
		field string
		set   bool
		why   string
	}{
		{"ClipSkip", q.ClipSkip != 0, "the text encoder is T5, which has no use for it"},
		{"Refiner", q.Refiner != "", "only Stable Diffusion XL has one"},
		{"ImageGuidance", q.Request.ImageGuidance != nil, "only models for editing (instruct-pix2pix) have it"},
		{"AestheticScore", q.Request.AestheticScore != nil || q.Request.NegativeAestheticScore != nil, "only Stable Diffusion XL's refiner takes aesthetic scores"},
	} {
		if f.set {
			e.Add(f.field, "%s", f.why)
		}
	}
	for _, c := range q.MicroConditions() {
		if c.Value != (image.Point{}) {
			e.Add(c.Field, "only Stable Diffusion XL takes it")
		}
	}
	if !m.denoiser.enlarges() {
		return
	}
	switch {
	case q.Low == nil && q.Request.ImageFile == "":
		e.Add("Image", "the model enlarges pictures: it needs one")
	case len(q.Request.Hires) > 0:
		e.Add("Hires", "the model enlarges pictures itself")
	}
}
