// Package sd3 is the family of Stable Diffusion 3 and 3.5 (Esser et al. 2024, arXiv:2403.03206).
package sd3

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/transformer"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/tensor"
)

// denoiser is the transformer. Conditions have the inputs "context", [tokens, Text], and "y", [Pooled].
type denoiser struct {
	config  convert.MMDiTConfig
	net     *engine.Network
	factor  int // pixels along a latent pixel's side
	process *sampler.Process
}

func newTransformer(h *engine.Host, c convert.MMDiTConfig) (*denoiser, error) {
	net, err := h.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the transformer", Arch: "mmdit", Prefix: c.Prefix, Params: c.Params()})
	if err != nil {
		return nil, err
	}
	return &denoiser{config: c, net: net}, nil
}

func (f *denoiser) Network() *engine.Network  { return f.net }
func (f *denoiser) Process() *sampler.Process { return f.process }
func (f *denoiser) CachesInner() bool         { return false }
func (f *denoiser) Perturbs() bool            { return false }

func (f *denoiser) Latent(width, height int) []int {
	return []int{f.config.OutChannels, height / f.factor, width / f.factor}
}

func (f *denoiser) Prediction(context.Context) (sampler.Prediction, error) {
	return sampler.PredictFlow, nil
}

// Inputs are the network's for a batch of latents of a shape, one after the other, each at a timestep, 0 to 1000 for noise. x may be
// nil, to estimate.
func (f *denoiser) Inputs(shape []int, x, t []float32, c []pipeline.Condition) []cgo.Input {
	n := int64(len(c))
	all := []cgo.Input{{Name: "x", Shape: tensor.Batch(len(c), shape), F32: x}, {Name: "timesteps", Shape: []int64{n}, F32: t}}
	for _, name := range []string{"context", "y"} {
		each, _ := transformer.Named(c[0], name)
		in := cgo.Input{Name: name, Shape: tensor.Batch(len(c), each)}
		for _, one := range c {
			_, data := transformer.Named(one, name)
			in.F32 = append(in.F32, data...)
		}
		all = append(all, in)
	}
	return all
}
