package prompt

import (
	"fmt"
	"math"
)

// ApplyWeights multiplies the text encoder's output for one chunk by the weights of its tokens, and then all of it by
// one factor that restores its mean: AUTOMATIC1111's emphasis "Original". z is [len(weights), dim], row by row, and is
// changed in place. Weights that are all 1 change nothing.
//
// The arithmetic is stable-diffusion.cpp's: both means are summed in float64 over the whole chunk, with start, end and
// padding, and rounded to float32; their ratio and the products are float32. AUTOMATIC1111 sums in the type of z, and
// takes the mean over all prompts of a batch, which are more than one only if a prompt is scheduled. If a mean is not
// finite, or the new one is 0, the mean is not restored.
//
// It panics if the length of z is not len(weights)*dim.
func ApplyWeights(z, weights []float32, dim int) {
	if len(z) != len(weights)*dim {
		panic(fmt.Sprintf("prompt: ApplyWeights of %d values, %d weights and dimension %d", len(z), len(weights), dim))
	}
	if allOne(weights) {
		return
	}
	before := mean(z)
	for i, w := range weights {
		scale(z[i*dim:][:dim], w)
	}
	after := mean(z)
	if isFinite(before) && isFinite(after) && after != 0 {
		scale(z, before/after)
	}
}

func allOne(weights []float32) bool {
	for _, w := range weights {
		if w != 1 {
			return false
		}
	}
	return true
}

func mean(z []float32) float32 {
	sum := 0.0
	for _, v := range z {
		sum += float64(v)
	}
	return float32(sum / float64(len(z)))
}

func scale(z []float32, by float32) {
	for i := range z {
		z[i] *= by
	}
}

func isFinite(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }
