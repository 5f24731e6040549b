// Package sd3 is the family of Stable Diffusion 3 and 3.5 (Esser et al. 2024, arXiv:2403.03206).
package sd3

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/tensor"
)

// transformer is the network. Conditions have the inputs "context", [tokens, Text], and "y", [Pooled].
type transformer struct {
	config convert.MMDiTConfig
	net    *engine.Network
	factor int // pixels along a latent pixel's side
}

func newTransformer(h *engine.Host, c convert.MMDiTConfig) (*transformer, error) {
	net, err := h.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the transformer", Arch: "mmdit", Prefix: c.Prefix, Params: c.Params()})
	if err != nil {
		return nil, err
	}
	return &transformer{config: c, net: net}, nil
}

func (f *transformer) Network() *engine.Network  { return f.net }
func (f *transformer) Process() *sampler.Process { return sampler.Flow(3) }
func (f *transformer) CachesInner() bool         { return false }
func (f *transformer) Perturbs() bool            { return false }

func (f *transformer) Latent(width, height int) []int {
	return []int{f.config.OutChannels, height / f.factor, width / f.factor}
}

func (f *transformer) Prediction(context.Context) (sampler.Prediction, error) {
	return sampler.PredictFlow, nil
}

// Inputs are the network's for a batch of latents of a shape, one after the other, each at a timestep, 0 to 1000 for noise. x may be
// nil, to estimate.
func (f *transformer) Inputs(shape []int, x, t []float32, c []pipeline.Condition) []cgo.Input {
	n := int64(len(c))
	all := []cgo.Input{{Name: "x", Shape: tensor.Batch(len(c), shape), F32: x}, {Name: "timesteps", Shape: []int64{n}, F32: t}}
	for _, name := range []string{"context", "y"} {
		in := cgo.Input{Name: name, Shape: tensor.Batch(len(c), named(c[0], name).Shape)}
		for _, one := range c {
			in.F32 = append(in.F32, named(one, name).Data...)
		}
		all = append(all, in)
	}
	return all
}

// named returns a condition's input of a name; the zero value if there is none.
func named(c pipeline.Condition, name string) engine.Named {
	for _, in := range c.Inputs {
		if in.Name == name {
			return in
		}
	}
	return engine.Named{}
}
