package ldm

import (
	"math"
	"slices"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
)

// condProj is the weight of the guidance scale's embedding.
const condProj = convert.UNetPrefix + "time_embed.cond_proj.weight"

// heedsGuidance reports whether the guidance scale is an input of the UNet that changes
// what it predicts. Where all of its weights are zero, as in a network that was only
// prepared for distilling, guidance is classifier-free.
func heedsGuidance(h *engine.Host, c convert.UNetConfig) (bool, error) {
	t, ok := h.Weights.Tensor(condProj)
	if c.GuidanceDim == 0 || !ok {
		return false, nil
	}
	weights := make([]float32, t.Elements())
	if err := t.Float32(weights); err != nil {
		return false, err
	}
	if slices.ContainsFunc(weights, func(v float32) bool { return v != 0 }) {
		return true, nil
	}
	return false, h.Warn("tensor %q is zero: guidance is classifier-free and not an input of the UNet", condProj)
}

// Condition makes a condition of its inputs, and of the guidance scale, if that is an
// input of the UNet.
func (m *Model) Condition(guidance float64, inputs ...engine.Named) pipeline.Condition {
	if n := m.Config.UNet.GuidanceDim; n > 0 {
		inputs = append(inputs, engine.Named{Name: "guidance", Shape: []int{n}, Data: guidanceEmbedding(guidance, n)})
	}
	return pipeline.Condition{Inputs: inputs}
}

// guidanceEmbedding is the sinusoidal embedding of 1000·(g - 1), g the guidance scale, as
// the diffusers library has it (get_guidance_scale_embedding): sines, then cosines, whose
// frequencies fall from 1 to 1/10000, then a zero if the width is odd.
func guidanceEmbedding(guidance float64, width int) []float32 {
	out, half := make([]float32, width), width/2
	// In float32, as there: the angles are thousands of radians.
	w, step := float32(guidance-1)*1000, float32(math.Log(10000))/float32(max(half-1, 1))
	for i := range half {
		frequency := float32(math.Exp(float64(float32(i) * -step)))
		sin, cos := math.Sincos(float64(w * frequency))
		out[i], out[half+i] = float32(sin), float32(cos)
	}
	return out
}
