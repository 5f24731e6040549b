package ldm

import (
	"math"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Defaults of models that enlarge pictures as a text says: those of the diffusers library's
// StableDiffusionUpscalePipeline.
const (
	upscaleGuidance   = 9
	upscaleSteps      = 75
	upscaleNoiseLevel = 20
)

// enlarge makes the pipeline of such a model. The noise on the small picture comes first in a
// seed's stream, as in that pipeline.
func (m *Model) enlarge(p *pipeline.Pipeline) {
	d := &p.Defaults
	d.Enlarges, d.EnlargesBy, d.Steps = true, m.kl.Factor(), upscaleSteps
	d.NoiseLevel = min(upscaleNoiseLevel, m.Config.MaxNoiseLevel)
	if d.Guidance == 0 {
		d.Guidance = upscaleGuidance
	}
	p.Low, p.LowFirst = m.low, true
}

// low draws the small picture at the latent's size, with noise of its own process.
func (m *Model) low(q *request.Resolved) pipeline.Draw {
	height, width := q.Height/m.kl.Factor(), q.Width/m.kl.Factor()
	small := tensor.New(m.denoiser.beside(), height, width) // grey, to measure with
	if q.Low != nil {
		if small = tensor.FromImage(q.Low); small.Height() != height || small.Width() != width {
			small = small.Resample(tensor.Bilinear, height, width)
		}
	}
	bar := m.Config.LowAlphas[q.NoiseLevel]
	keep, spread := math.Sqrt(bar), math.Sqrt(1-bar)
	return func(noise sampler.Noise) tensor.Tensor {
		out := small.Like()
		noise.Normal(out.Data)
		for i, v := range small.Data {
			out.Data[i] = float32(keep*float64(v) + spread*float64(out.Data[i]))
		}
		return out
	}
}

// NoiseLevel is the input of a UNet that is told how much noise the small picture has.
func (m *Model) NoiseLevel(q *request.Resolved) []engine.Named {
	if m.Config.Variant != upscales {
		return nil
	}
	return []engine.Named{{Name: "class", Shape: []int{1}, Data: []float32{float32(q.NoiseLevel)}}}
}

// checkUpscaling checks the request's fields for such models.
func (m *Model) checkUpscaling(q *request.Resolved, e *request.Error) {
	if q.Low == nil && q.Request.ImageFile == "" {
		e.Add("Image", "the model enlarges pictures: it needs one")
	}
	if limit := m.Config.MaxNoiseLevel; q.NoiseLevel > limit && q.NoiseLevel <= request.MaxNoiseLevel {
		e.Add("NoiseLevel", "must be 0 to %d of this model, got %d", limit, q.NoiseLevel)
	}
}
