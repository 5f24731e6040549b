// Package qwenimage is Qwen-Image: pictures from texts, and from texts and reference pictures, as the diffusers library's
// QwenImagePipeline, QwenImageEditPipeline and QwenImageEditPlusPipeline draw them.
package qwenimage

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

const ropeBase = 10000 // of the angles of the rotary embedding

// Steps and guidance of the diffusers library's pipeline.
const steps, guidance = 50, 4

// The template of a prompt, of whose states those of the first tokens are left out, up to the prompt itself.
const (
	before  = "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
	after   = "<|im_end|>\n<|im_start|>assistant\n"
	dropped = 34

	mostText = 1024 // tokens after those, as many as the library's pipeline takes
)

// model has the networks of a file.
type model struct {
	host *engine.Host
	c    convert.QwenImageConfig
	net  *engine.Network
	text *transformer.QwenText
	eyes *qwen.Tower // nil where the text encoder has none
	kl   *autoencoder.KL
}

// Open makes the pipeline of a model.
func Open(h *engine.Host, o pipeline.Options) (*pipeline.Pipeline, error) {
	c, err := convert.ConfigAs[*convert.QwenImageConfig](h.Weights, "Qwen-Image")
	if err != nil {
		return nil, err
	}
	const text, vae = "its text encoder, Qwen2.5-VL 7B (--llm FILE)", "its autoencoder (--vae FILE)"
	missing := map[string]bool{text: c.LLM == nil, vae: c.VAE == nil, tower: c.Edit != "" && c.LLM != nil && c.Vision == nil}
	if err := transformer.Lacks(h.Weights.Description, missing, text, tower, vae); err != nil {
		return nil, err
	}
	if o.Prediction != "" {
		return nil, errors.New("prediction: must be left out, Qwen-Image predicts a velocity")
	}
	m := &model{host: h, c: *c}
	if err := h.Place(m.setUp, m.demands); err != nil {
		return nil, err
	}
	p := &pipeline.Pipeline{
		Host: h, Conditioner: pipeline.Prompts{Text: m}, Denoiser: m, Autoencoder: m.kl, Sample: "sample",
		Defaults: m.defaults(), Check: m.check, Batch: o.Batch, ProcessFor: transformer.ProcessFor(c.Flow, m.side(), nil),
		SeesReferences: true,
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
	m.text = &transformer.QwenText{Encoder: encoder, Layers: []int{qwen.Final}, Name: "context", Drop: dropped, Most: mostText,
		Template: func(prompt string) string { return before + prompt + after }}
	if m.c.Vision != nil {
		if m.eyes, err = qwen.OpenTower(m.host, m.c.VisionPrefix(), *m.c.Vision); err != nil {
			return err
		}
	}
	m.net, err = m.host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the transformer", Arch: "qwen_image", Prefix: m.c.Prefix, Params: m.c.Params()})
	if err != nil {
		return err
	}
	m.kl, err = autoencoder.NewKL(m.host, *m.c.VAE)
	return err
}

// demands are the networks' memory on GPUs for a picture of the native size.
func (m *model) demands() (all []engine.Demand, err error) {
	const words = 64
	n := m.host.Weights.NativeSize
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: []int{words, m.c.Text}}}}
	d, ok, err := engine.DemandOf(m.net, "sample", m.Inputs(m.Latent(n, n), nil, make([]float32, 1), []pipeline.Condition{c})...)
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
	if m.eyes != nil {
		if d, ok, err = m.eyes.Demand(n, n); ok {
			all = append(all, d)
		}
		if err != nil {
			return nil, err
		}
	}
	vae, err := m.kl.Demands(n / m.kl.Factor())
	return append(all, vae...), err
}

// side is a token's, in pixels.
func (m *model) side() int { return m.c.Patch * m.c.VAE.Factor() }

func (m *model) defaults() request.Defaults {
	d := request.Defaults{Side: m.host.Weights.NativeSize, Align: m.side(), Guidance: guidance, Sampler: "euler", Schedule: "linear", Steps: steps, Guider: "cfg_norm"}
	if g := m.host.Weights.Guidance; g > 0 {
		d.Guidance = g
	}
	return d
}

// The transformer as a denoiser, whose conditions have the input "context", [tokens, Text], and with reference pictures
// "reference", their tokens, and "sizes", their heights and widths in tokens.
func (m *model) Network() *engine.Network  { return m.net }
func (m *model) Process() *sampler.Process { return transformer.Process(m.c.Flow, 1) }
func (m *model) CachesInner() bool         { return false }
func (m *model) Perturbs() bool            { return false }

func (m *model) Prediction(context.Context) (sampler.Prediction, error) {
	return sampler.PredictFlow, nil
}

func (m *model) Latent(width, height int) []int {
	factor := m.kl.Factor()
	return []int{m.c.Channels, height / factor, width / factor}
}

func (m *model) Inputs(shape []int, x, t []float32, c []pipeline.Condition) []cgo.Input {
	n := len(t)
	text, _ := transformer.Named(c[0], "context")
	pictures := []square{{shape[1] / m.c.Patch, shape[2] / m.c.Patch}}
	_, sizes := transformer.Named(c[0], "sizes")
	for k := 0; k < len(sizes); k += 2 {
		pictures = append(pictures, square{int(sizes[k]), int(sizes[k+1])})
	}
	r := rope(m.c.Axes(), text[0], pictures)
	inputs := []cgo.Input{{Name: "x", Shape: tensor.Batch(n, shape), F32: x}, {Name: "timesteps", Shape: []int64{int64(n)}, F32: t},
		{Name: "cos", Shape: r.Shape(), F32: r.Cos}, {Name: "sin", Shape: r.Shape(), F32: r.Sin}}
	return append(inputs, transformer.Batched(c, "context", "reference")...)
}

// square is a picture's height and width, in tokens.
type square struct{ height, width int }

// rope are the places of tokens of a text and of pictures, the noisy one first. Those of a picture have the middle at 0, 0, of which an
// odd number has one more before it than after; the text goes on along all axes from where the largest picture ends.
func rope(axes []int, text int, pictures []square) transformer.Rope {
	r := transformer.Rope{Base: ropeBase, Axes: axes}
	end := 0
	for _, p := range pictures {
		end = max(end, p.height/2, p.width/2)
	}
	for l := range text {
		r.Add(end+l, end+l, end+l)
	}
	for k, p := range pictures {
		for row := range p.height {
			for column := range p.width {
				r.Add(k, row-(p.height-p.height/2), column-(p.width-p.width/2))
			}
		}
	}
	return r
}
