package zimage

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

// Steps and guidance of the distilled model (Turbo), whose shift is 3, and of the base model, whose scheduler has another:
// shapes do not tell them apart.
const (
	turboShift                  = 3
	turboSteps, turboGuidance   = 8, 1
	baseSteps, baseGuidance     = 28, 5
	sampling, schedule, perSide = "euler", "linear", 16 // pixels along a token's side: 8 of a latent pixel
)

// model has the networks of a file.
type model struct {
	host     *engine.Host
	c        convert.ZImageConfig
	denoiser *denoiser
	text     *transformer.QwenText
	kl       *autoencoder.KL
}

// Open makes the pipeline of a model.
func Open(h *engine.Host, o pipeline.Options) (*pipeline.Pipeline, error) {
	c, err := convert.ConfigAs[*convert.ZImageConfig](h.Weights, "Z-Image")
	if err != nil {
		return nil, err
	}
	const text, vae = "its text encoder, Qwen3 4B (--llm FILE)", "its autoencoder, FLUX.1's (--vae FILE)"
	if err := transformer.Lacks(h.Weights.Description, map[string]bool{text: c.LLM == nil, vae: c.VAE == nil}, text, vae); err != nil {
		return nil, err
	}
	if o.Prediction != "" {
		return nil, errors.New("prediction: must be left out, Z-Image predicts a velocity")
	}
	m := &model{host: h, c: *c}
	if err := h.Place(m.setUp, m.demands); err != nil {
		return nil, err
	}
	p := &pipeline.Pipeline{
		Host: h, Conditioner: pipeline.Prompts{Text: m.text}, Denoiser: m.denoiser, Autoencoder: m.kl, Sample: "sample",
		Defaults: m.defaults(), Check: check, Batch: o.Batch, LatentRGB: transformer.FluxLatentRGB(*c.VAE),
		ProcessFor: transformer.ProcessFor(c.Flow, perSide, netTime),
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
	// hidden_states[-2]: the layer before the last.
	m.text = &transformer.QwenText{Encoder: encoder, Think: true, Layers: []int{m.c.LLM.Layers - 1}, Name: "context"}
	t, err := NewTransformer(m.host, m.c)
	if err != nil {
		return err
	}
	m.denoiser = &denoiser{t, m.c.VAE.Factor(), transformer.Process(m.c.Flow, 1).WithNetTime(netTime)}
	m.kl, err = autoencoder.NewKL(m.host, *m.c.VAE)
	return err
}

// demands are the networks' memory on GPUs for a picture of the native size.
func (m *model) demands() (all []engine.Demand, err error) {
	const words = 64
	side := m.host.Weights.NativeSize / m.kl.Factor()
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: []int{words, m.c.Text}}}}
	d, ok, err := engine.DemandOf(m.denoiser.Network(), "sample", m.denoiser.Inputs(m.denoiser.Latent(side*m.kl.Factor(), side*m.kl.Factor()), nil, make([]float32, 1), []pipeline.Condition{c})...)
	if ok {
		all = append(all, d)
	}
	if err != nil {
		return nil, err
	}
	if d, ok, err = m.text.Encoder.Demand(words); ok {
		all = append(all, d)
	}
	if err != nil {
		return nil, err
	}
	vae, err := m.kl.Demands(side)
	return append(all, vae...), err
}

func (m *model) defaults() request.Defaults {
	d := request.Defaults{Side: m.host.Weights.NativeSize, Align: perSide, Guidance: turboGuidance, Sampler: sampling, Schedule: schedule, Steps: turboSteps}
	if m.c.Flow.Shift != turboShift || m.c.Flow.Dynamic != nil {
		d.Guidance, d.Steps = baseGuidance, baseSteps
	}
	if g := m.host.Weights.Guidance; g > 0 {
		d.Guidance = g
	}
	return d
}

// check checks the family's own fields of a request.
func check(q *request.Resolved, _ pipeline.Attached, e *request.Error) {
	if q.Guidance == 0 {
		e.Add("Guidance", "must be 1 for none (the diffusers library's pipeline of Z-Image calls that 0, and 4 what is 5 here), got 0")
	}
	if q.Refiner != "" {
		e.Add("Refiner", "only Stable Diffusion XL has one")
	}
}

// netTime is what the transformer is given for a noise level: it counts from noise to the picture.
func netTime(sigma float64) float64 { return 1000 * (1 - sigma) }

// denoiser is the transformer as a denoiser, whose conditions have the input "context", [tokens, Text].
type denoiser struct {
	*Transformer
	factor  int
	process *sampler.Process
}

func (d *denoiser) Process() *sampler.Process { return d.process }
func (d *denoiser) CachesInner() bool         { return false }
func (d *denoiser) Perturbs() bool            { return false }

func (d *denoiser) Prediction(context.Context) (sampler.Prediction, error) {
	return sampler.PredictFlow, nil
}

func (d *denoiser) Latent(width, height int) []int {
	return []int{d.Config.Channels, height / d.factor, width / d.factor}
}

func (d *denoiser) Inputs(shape []int, x, t []float32, c []pipeline.Condition) []cgo.Input {
	text, _ := transformer.Named(c[0], "context")
	var states []float32
	for _, one := range c {
		_, data := transformer.Named(one, "context")
		states = append(states, data...)
	}
	return d.inputs(tensor.Batch(len(t), shape), x, t, tensor.Batch(len(t), text), states)
}
