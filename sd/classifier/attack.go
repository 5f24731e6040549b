package classifier

import (
	"context"
	"fmt"

	"github.com/sdgo/sdgo/sampler"
)

// Attack is projected gradient descent (Madry et al. 2018, arXiv:1706.06083) in the maximum
// norm: what robustness is measured with.
type Attack struct {
	Epsilon float64       // the most that a value changes by, where pixels are -1 to 1: 2·8/255
	Step    float64       // of each step; 0 is a quarter of Epsilon
	Steps   int           // 0 is 20
	Noise   sampler.Noise // of the start, which is up to Epsilon away; nil starts at the picture
}

// Attack changes pixels, [channels, H, W] in [-1, 1], so that the classifier no longer sees
// a class. It returns a copy.
func (c *Classifier) Attack(ctx context.Context, pixels []float32, class int, a Attack) ([]float32, error) {
	if a.Step == 0 {
		a.Step = a.Epsilon / 4
	}
	if a.Steps == 0 {
		a.Steps = 20
	}
	if !(a.Epsilon > 0 && a.Epsilon <= 2 && a.Step > 0 && a.Steps > 0 && a.Steps <= 10000) {
		return nil, fmt.Errorf("an attack must have an Epsilon above 0, at most 2, and steps, got %g, %d of %g", a.Epsilon, a.Steps, a.Step)
	}
	x, grad := make([]float32, len(pixels)), make([]float32, len(pixels))
	if a.Noise != nil {
		a.Noise.Normal(grad)
	}
	put := func(i int, v float32) {
		low, high := max(pixels[i]-float32(a.Epsilon), -1), min(pixels[i]+float32(a.Epsilon), 1)
		x[i] = min(max(v, low), high)
	}
	for i, v := range pixels {
		put(i, v+grad[i]*float32(a.Epsilon))
	}
	for range a.Steps {
		if _, err := c.LogProbability(ctx, grad, x, 0, class); err != nil {
			return nil, err
		}
		for i, g := range grad {
			switch {
			case g > 0:
				put(i, x[i]-float32(a.Step))
			case g < 0:
				put(i, x[i]+float32(a.Step))
			}
		}
	}
	return x, nil
}
