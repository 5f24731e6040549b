// Package pixel is the families that draw without text, freely or by class: UNets on
// pixels (DDPM, guided diffusion, consistency models, score-based models), those that
// enlarge pictures, and diffusion transformers and UNets on the latents of an
// autoencoder.
package pixel

import (
	"fmt"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/classes"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
)

// model has the networks of a file.
type model struct {
	host  *engine.Host
	c     *convert.Pixel
	names classes.Names

	denoiser *denoiser
	coder    coder // nil of models on pixels, and of files without an autoencoder
}

// Open makes the pipeline of a model.
func Open(h *engine.Host, o pipeline.Options) (*pipeline.Pipeline, error) {
	c, err := convert.ConfigAs[*convert.Pixel](h.Weights, "a model that draws without text")
	if err != nil {
		return nil, err
	}
	if c.Classifier {
		return nil, fmt.Errorf("%s: a classifier guides other models, and draws nothing itself", h.Weights.Description)
	}
	if n := c.Channels; n != 1 && n != 3 && !c.Latent() {
		return nil, fmt.Errorf("%s: pixels must have 1 or 3 channels, got %d", h.Weights.Description, n)
	}
	m := &model{host: h, c: c}
	own, err := classes.Labels(h.Weights.Metadata[convert.PixelLabels], c.Classes)
	if err != nil {
		return nil, fmt.Errorf("%s %w", convert.PixelLabels, err)
	}
	m.names = classes.Of(c.Classes, own)
	p, prediction, err := Process(c.Process, h.Weights.AlphasCumprod)
	if err != nil {
		return nil, err
	}
	if o.Prediction != "" {
		if !p.Takes(sampler.Prediction(o.Prediction)) {
			return nil, fmt.Errorf("prediction %s does not go with the model's process", o.Prediction)
		}
		prediction = sampler.Prediction(o.Prediction)
	}
	if err := h.Place(func() error { return m.setUp(p, prediction) }, m.demands); err != nil {
		return nil, err
	}
	return m.pipeline(o), nil
}

// setUp creates the networks on the devices that the host has chosen.
func (m *model) setUp(p *sampler.Process, prediction sampler.Prediction) error {
	net, err := m.host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the denoiser", Arch: m.c.Net, Prefix: m.c.Prefix, Params: m.c.Params()})
	if err != nil {
		return err
	}
	m.denoiser = &denoiser{config: m.c, net: net, factor: m.factor(), process: p, prediction: prediction}
	if m.c.VAE != nil {
		if m.c.Codebook > 0 {
			m.coder, err = autoencoder.NewVQ(m.host, *m.c.VAE)
		} else {
			m.coder, err = autoencoder.NewKL(m.host, *m.c.VAE)
		}
	}
	return err
}

// coder is an autoencoder that is in the file.
type coder interface {
	autoencoder.Autoencoder
	Demands(side int) ([]engine.Demand, error)
}

// factor is the downsampling factor of the autoencoder.
func (m *model) factor() int { return m.c.Factor() }

// demands are the networks' memory on GPUs for a picture of the native size.
func (m *model) demands() (all []engine.Demand, err error) {
	side := m.c.Side()
	var c pipeline.Condition
	if m.c.ClassInput != "" {
		c.Inputs = append(c.Inputs, engine.Named{Name: "class", Shape: []int{1}})
	}
	if n := m.c.LowChannels; n > 0 {
		c.Inputs = append(c.Inputs, engine.Named{Name: "low", Shape: []int{n, side, side}})
	}
	inputs := m.denoiser.Inputs([]int{m.c.Channels, side, side}, nil, make([]float32, 2), []pipeline.Condition{c, c})
	d, ok, err := engine.DemandOf(m.denoiser.net, output, inputs...)
	if ok {
		all = append(all, d)
	}
	if err == nil && m.coder != nil {
		var vae []engine.Demand
		vae, err = m.coder.Demands(side)
		all = append(all, vae...)
	}
	return all, err
}

// output is what the networks call their output.
const output = "sample"

func (m *model) pipeline(o pipeline.Options) *pipeline.Pipeline {
	p := &pipeline.Pipeline{
		Host: m.host, Conditioner: conditioner{m}, Denoiser: m.denoiser, Autoencoder: m.autoencoder(), Check: m.check,
		Defaults: m.defaults(), Sample: output, LearnsVariance: m.c.LearnedVariance, Batch: o.Batch,
		Textless: true, Classes: m.c.Classes, Names: m.names,
	}
	if !m.c.Latent() {
		p.LatentRGB = m.pixels()
	}
	if m.c.LowChannels > 0 {
		p.Low = m.low
	}
	if m.c.Process.Clip {
		p.Limit = m.clip
	}
	p.Init()
	return p
}

// defaults are what such models are usually drawn with.
func (m *model) defaults() request.Defaults {
	d := request.Defaults{
		Side: m.c.Side() * m.factor(), Align: m.c.Align(), Guidance: m.c.Guidance(m.host.Weights.Guidance), Enlarges: m.c.LowChannels > 0,
	}
	d.Sampler, d.Schedule, d.Steps = m.c.Usual()
	if m.c.VAE != nil { // the picture is at the latent's size
		d.EnlargesBy = m.factor()
	}
	return d
}
