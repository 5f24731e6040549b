package optim

import (
	"errors"
	"math"
)

// ProdigyOptions are the numbers of [Prodigy].
type ProdigyOptions struct {
	Beta1, Beta2 float64 // 0 to below 1
	Epsilon      float64 // above 0
	WeightDecay  float64 // decoupled, 0 to below 1

	First       float64 // the first estimate of the distance, above 0
	Coefficient float64 // a factor of the estimates, above 0: the number to change, if any

	// BiasCorrection corrects the averages' beginning, as Adam does.
	BiasCorrection bool

	// SafeguardWarmup leaves the learning rate out of the estimate's denominator, for
	// schedules that warm up.
	SafeguardWarmup bool
}

// DefaultProdigy are prodigyopt's numbers.
func DefaultProdigy() ProdigyOptions {
	return ProdigyOptions{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, First: 1e-6, Coefficient: 1}
}

// Prodigy is Adam with a step size that it finds itself (Mishchenko and Defazio 2024,
// arXiv:2306.06101, algorithm 4), as the package prodigyopt computes it: the estimate of
// the distance between the first weights and the best ones times the learning rate, which
// should be 1.
type Prodigy struct {
	o                   ProdigyOptions
	steps               float64
	distance, largest   float64
	numerator           float64
	mean, squares, sums [][]float32
	first               [][]float32 // weights
}

// NewProdigy makes an optimizer.
func NewProdigy(o ProdigyOptions) (*Prodigy, error) {
	var err error
	for _, n := range []struct {
		name string
		v    float64
	}{{"epsilon", o.Epsilon}, {"the first estimate", o.First}, {"the coefficient", o.Coefficient}} {
		if !(n.v > 0) || math.IsInf(n.v, 0) {
			err = errors.Join(err, errors.New(n.name+" must be above 0"))
		}
	}
	err = errors.Join(err, within("beta1", o.Beta1, 0, 1), within("beta2", o.Beta2, 0, 1), within("weight decay", o.WeightDecay, 0, 1))
	return &Prodigy{o: o, distance: o.First, largest: o.First}, err
}

// Distance is the estimate, which is the learning rate at a rate of 1.
func (p *Prodigy) Distance() float64 { return p.distance }

// Step implements [Optimizer].
func (p *Prodigy) Step(rate float64, weights, gradients [][]float32) error {
	if err := sameLengths("gradients", weights, gradients); err != nil {
		return err
	}
	if p.mean == nil {
		p.mean, p.squares, p.sums, p.first = like(weights), like(weights), like(weights), like(weights)
		for i, w := range weights {
			copy(p.first[i], w)
		}
	}
	if err := sameLengths("weights", p.mean, weights); err != nil {
		return err
	}
	if rate <= 0 {
		return nil // the estimate and the averages stay, too
	}
	d, correction := p.distance, 1.0
	if p.o.BiasCorrection {
		correction = math.Sqrt(1-math.Pow(p.o.Beta2, p.steps+1)) / (1 - math.Pow(p.o.Beta1, p.steps+1))
	}
	size := d * rate * correction
	denominator := p.average(size, weights, gradients)
	if denominator == 0 {
		return nil // no gradient so far
	}
	estimate := p.o.Coefficient * p.numerator / denominator
	p.largest = max(p.largest, estimate)
	p.distance = p.largest

	epsilon, keep, step := float32(p.distance*p.o.Epsilon), float32(1-p.o.WeightDecay*size), float32(size)
	each(weights, func(i, from, to int) {
		w, m, v := weights[i][from:to], p.mean[i][from:to], p.squares[i][from:to]
		for k := range w {
			w[k] = w[k]*keep - step*m[k]/(float32(math.Sqrt(float64(v[k])))+epsilon)
		}
	})
	p.steps++
	return nil
}

// average adds the gradients to the averages and to the numerator of the estimate, and
// returns its denominator.
func (p *Prodigy) average(size float64, weights, gradients [][]float32) (denominator float64) {
	d, beta3 := p.distance, math.Sqrt(p.o.Beta2)
	relative := d / p.o.First // instead of d, which is very small at first
	share := relative * size
	if p.o.SafeguardWarmup {
		share = relative * d
	}
	along := sum(weights, func(i, from, to int) float64 {
		w, g, first := weights[i][from:to], gradients[i][from:to], p.first[i][from:to]
		s := 0.0
		for k, v := range g {
			s += float64(v) * float64(first[k]-w[k])
		}
		return s
	})
	p.numerator = p.numerator*beta3 + relative*size*along
	beta1, new1 := float32(p.o.Beta1), float32(d*(1-p.o.Beta1))
	beta2, new2 := float32(p.o.Beta2), float32(d*d*(1-p.o.Beta2))
	decay, added := float32(beta3), float32(share)
	return sum(weights, func(i, from, to int) float64 {
		g, m, v, s := gradients[i][from:to], p.mean[i][from:to], p.squares[i][from:to], p.sums[i][from:to]
		total := 0.0
		for k, x := range g {
			m[k] = beta1*m[k] + new1*x
			v[k] = beta2*v[k] + new2*x*x
			s[k] = decay*s[k] + added*x
			total += math.Abs(float64(s[k]))
		}
		return total
	})
}

// State implements [Optimizer].
func (p *Prodigy) State() State {
	return State{
		map[string]float64{"steps": p.steps, "distance": p.distance, "largest": p.largest, "numerator": p.numerator},
		map[string][][]float32{"mean": p.mean, "squares": p.squares, "sums": p.sums, "first": p.first},
	}
}

// Restore implements [Optimizer].
func (p *Prodigy) Restore(s State) error {
	p.steps, p.distance, p.largest, p.numerator = s.Numbers["steps"], s.Numbers["distance"], s.Numbers["largest"], s.Numbers["numerator"]
	if !(p.distance > 0 && p.largest > 0) {
		return errors.New("distance and largest must be above 0")
	}
	var err error
	for name, dst := range map[string]*[][]float32{"mean": &p.mean, "squares": &p.squares, "sums": &p.sums, "first": &p.first} {
		*dst = like(s.Slices["mean"])
		err = errors.Join(err, s.restore(name, *dst))
	}
	return err
}
