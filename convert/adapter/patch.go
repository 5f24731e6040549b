package adapter

import (
	"math"
	"slices"
)

// Use is a change with the strength at which it is used.
type Use struct {
	Change
	Strength float64
}

// Patch returns a weight with changes, all of that weight, whose elements are in base in
// its order. Each change is made at its strength. Sums are made first, of what each
// change adds to the weight as it is in the model; then the changes that turn the weight,
// in their order. All arithmetic is in float32 or better, and nothing is rounded between
// changes.
func Patch(base []float32, uses []Use) ([]float32, error) {
	out := slices.Clone(base)
	for _, u := range uses {
		if u.kind.delta == nil {
			continue
		}
		own := u.in(base)
		delta, err := u.kind.delta(u.Change, own)
		if err == nil && u.has(dora) {
			delta, err = u.decompose(own, delta)
		}
		if err != nil {
			return nil, err
		}
		sum := u.in(out)
		for i, v := range delta {
			sum[i] += float32(u.Strength * float64(v))
		}
	}
	for _, u := range uses {
		if u.kind.turn != nil {
			if err := u.kind.turn(u.Change, u.in(out), u.Strength); err != nil {
				return nil, err
			}
		}
	}
	for _, v := range out {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, uses[0].errorf("the weight %s becomes NaN or infinite with it", uses[0].Weight)
		}
	}
	return out, nil
}

// decompose makes DoRA's difference of that of a direction (Liu et al. 2024,
// arXiv:2402.09353): scale · V/‖V‖ - W with V = W + Δ, and a norm for each row, or for
// each input channel, whichever the scale has numbers for. A strength m gives
// W + m(W' - W), as in AUTOMATIC1111 and ComfyUI.
func (c Change) decompose(base, delta []float32) ([]float32, error) {
	f, err := c.floats(dora)
	if err != nil {
		return nil, err
	}
	in, k := inner(c.Shape), kernel(c.Shape)
	at := func(i int) int { return i / (in * k) }
	if !c.byRow() {
		at = func(i int) int { return i / k % in }
	}
	sums := make([]float64, len(f[0]))
	for i, v := range delta {
		sum := float64(base[i]) + float64(v)
		sums[at(i)] += sum * sum
	}
	const eps = 1.1920929e-7 // float32's, as LyCORIS adds
	for i, v := range delta {
		n := at(i)
		delta[i] = float32((float64(base[i])+float64(v))*float64(f[0][n])/(math.Sqrt(sums[n])+eps) - float64(base[i]))
	}
	return delta, nil
}

// byRow reports whether DoRA's scale has a number for each row of the weight; else it has
// one for each input channel. The shape says which: [out], [out, 1, …] or [1, in, …].
func (c Change) byRow() bool {
	shape := c.factors[dora].Shape
	return len(shape) < 2 || shape[0] != 1 || c.Shape[0] == 1
}

// checkDoRA checks the scale's shape.
func (c Change) checkDoRA() error {
	n := c.Shape[0]
	if !c.byRow() {
		n = int64(inner(c.Shape))
	}
	if t := c.factors[dora]; t.Elements() != n {
		return c.errorf("tensor %q has the shape %v, must have a number for each of %d rows or of %d columns of the weight %s",
			t.Name, t.Shape, c.Shape[0], inner(c.Shape), c.Weight)
	}
	return nil
}
