package optim

import (
	"errors"
	"math"
)

// AdamWOptions are the numbers of [AdamW].
type AdamWOptions struct {
	Beta1, Beta2 float64 // of the averages of gradients and of their squares, 0 to below 1
	Epsilon      float64 // above 0
	WeightDecay  float64 // share of a weight that a step with learning rate 1 takes away, 0 to below 1
}

// DefaultAdamW are torch.optim.AdamW's numbers, without decay of weights.
func DefaultAdamW() AdamWOptions { return AdamWOptions{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8} }

// AdamW is Adam (Kingma and Ba 2015, arXiv:1412.6980) with decoupled weight decay
// (Loshchilov and Hutter 2019, arXiv:1711.05101), as torch.optim.AdamW computes it.
type AdamW struct {
	o       AdamWOptions
	steps   float64
	mean    [][]float32 // of gradients
	squares [][]float32 // mean of their squares
}

// NewAdamW makes an optimizer.
func NewAdamW(o AdamWOptions) (*AdamW, error) {
	if !(o.Epsilon > 0) || math.IsInf(o.Epsilon, 0) {
		return nil, errors.New("epsilon must be above 0")
	}
	return &AdamW{o: o}, errors.Join(within("beta1", o.Beta1, 0, 1), within("beta2", o.Beta2, 0, 1), within("weight decay", o.WeightDecay, 0, 1))
}

// Step implements [Optimizer].
func (a *AdamW) Step(rate float64, weights, gradients [][]float32) error {
	if err := sameLengths("gradients", weights, gradients); err != nil {
		return err
	}
	if a.mean == nil {
		a.mean, a.squares = like(weights), like(weights)
	}
	if err := sameLengths("weights", a.mean, weights); err != nil {
		return err
	}
	a.steps++
	keep := float32(1 - rate*a.o.WeightDecay)
	new1, beta2, new2 := float32(1-a.o.Beta1), float32(a.o.Beta2), float32(1-a.o.Beta2)
	size := float32(rate / (1 - math.Pow(a.o.Beta1, a.steps)))
	correction := float32(math.Sqrt(1 - math.Pow(a.o.Beta2, a.steps)))
	epsilon := float32(a.o.Epsilon)
	each(weights, func(i, from, to int) {
		w, g, m, v := weights[i][from:to], gradients[i][from:to], a.mean[i][from:to], a.squares[i][from:to]
		for k, d := range g {
			m[k] += new1 * (d - m[k])
			v[k] = beta2*v[k] + new2*d*d
			root := float32(math.Sqrt(float64(v[k])))
			w[k] = w[k]*keep - size*m[k]/(root/correction+epsilon)
		}
	})
	return nil
}

// State implements [Optimizer].
func (a *AdamW) State() State {
	return State{map[string]float64{"steps": a.steps}, map[string][][]float32{"mean": a.mean, "squares": a.squares}}
}

// Restore implements [Optimizer].
func (a *AdamW) Restore(s State) error {
	a.steps = s.Numbers["steps"]
	a.mean, a.squares = like(s.Slices["mean"]), like(s.Slices["mean"])
	return errors.Join(s.restore("mean", a.mean), s.restore("squares", a.squares))
}
