package deepfloyd

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// denoiser is the UNet. Conditions have the input "context", [tokens, width]; of the stage that enlarges, "noise_level",
// one number, and "low", the small picture at the size of what is drawn.
type denoiser struct {
	config  *convert.DeepFloydModel
	net     *engine.Network
	process *sampler.Process
}

func (d *denoiser) Network() *engine.Network  { return d.net }
func (d *denoiser) Process() *sampler.Process { return d.process }
func (d *denoiser) CachesInner() bool         { return false }
func (d *denoiser) Perturbs() bool            { return false }
func (d *denoiser) enlarges() bool            { return d.config.LowChannels > 0 }

func (d *denoiser) Latent(width, height int) []int { return []int{d.config.Channels, height, width} }

func (d *denoiser) Prediction(context.Context) (sampler.Prediction, error) {
	return sampler.PredictEpsilon, nil
}

// Inputs are the network's for a batch, each at a timestep, 0 to 999. x may be nil, to estimate.
func (d *denoiser) Inputs(shape []int, x, t []float32, c []pipeline.Condition) []cgo.Input {
	n := len(t)
	all := []cgo.Input{{Name: "x", Shape: tensor.Batch(n, shape), F32: x}, {Name: "timesteps", Shape: []int64{int64(n)}, F32: t}}
	for k, in := range c[0].Inputs {
		input := cgo.Input{Name: in.Name, Shape: tensor.Batch(n, in.Shape)}
		for _, one := range c {
			input.F32 = append(input.F32, one.Inputs[k].Data...)
		}
		all = append(all, input)
	}
	return all
}

// low draws the small picture at the size of what is drawn, with the request's level of noise, a timestep of the process.
func (d *denoiser) low(q *request.Resolved) pipeline.Draw {
	if q.Low == nil { // grey, to measure with
		return func(sampler.Noise) tensor.Tensor { return tensor.New(d.config.LowChannels, q.Height, q.Width) }
	}
	large := tensor.FromImage(q.Low).Resample(tensor.BilinearCorners, q.Height, q.Width)
	sigma := d.process.TToSigma(float64(q.NoiseLevel))
	alpha, scale := d.process.Alpha(sigma), d.process.Scale(sigma)
	return func(noise sampler.Noise) tensor.Tensor {
		out := large.Like()
		noise.Normal(out.Data)
		for i, v := range large.Data {
			out.Data[i] = float32(scale * (alpha*float64(v) + sigma*float64(out.Data[i])))
		}
		return out
	}
}
