package pixel

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/tensor"
)

// denoiser is a network whose conditions have the inputs "class", [1], and "low", a
// smaller picture at the size of what is drawn, where it has such inputs.
type denoiser struct {
	config     *convert.Pixel
	net        *engine.Network
	factor     int
	process    *sampler.Process
	prediction sampler.Prediction
}

func (d *denoiser) Network() *engine.Network  { return d.net }
func (d *denoiser) Process() *sampler.Process { return d.process }
func (d *denoiser) CachesInner() bool         { return false }
func (d *denoiser) Perturbs() bool            { return false }

func (d *denoiser) Prediction(context.Context) (sampler.Prediction, error) { return d.prediction, nil }

func (d *denoiser) Latent(width, height int) []int {
	return []int{d.config.Channels, height / d.factor, width / d.factor}
}

func (d *denoiser) Inputs(shape []int, x, t []float32, c []pipeline.Condition) []cgo.Input {
	n := len(t)
	if d.config.Process.Center && x != nil {
		centered := make([]float32, len(x))
		for i, v := range x {
			centered[i] = 2*v - 1
		}
		x = centered
	}
	inputs := []cgo.Input{{Name: "x", Shape: tensor.Batch(n, shape), F32: x}, {Name: "timesteps", Shape: []int64{int64(n)}, F32: t}}
	for k, in := range c[0].Inputs {
		all := make([]float32, 0, n*len(in.Data))
		for _, one := range c {
			all = append(all, one.Inputs[k].Data...)
		}
		input := cgo.Input{Name: in.Name, Shape: tensor.Batch(n, in.Shape)}
		switch {
		case len(all) == 0: // to estimate
		case in.Name == "class" && d.config.ClassInput == convert.ClassIndex:
			for _, v := range all {
				input.I32 = append(input.I32, int32(v))
			}
		default:
			input.F32 = all
		}
		inputs = append(inputs, input)
	}
	return inputs
}
