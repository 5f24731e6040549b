package adapter

// full is the whole difference of a weight or bias (LyCORIS: full), norm that of a
// normalisation's.
var (
	full = Kind{Name: "full difference", Roles: []string{"diff"}, May: []string{alpha, dora}, check: checkFull, delta: fullDelta}
	norm = Kind{Name: "norm difference", Roles: []string{"w_norm"}, May: []string{alpha}, check: checkFull, delta: fullDelta}
)

// difference is the role of a difference.
func (c Change) difference() string {
	if c.has("diff") {
		return "diff"
	}
	return "w_norm"
}

func checkFull(c Change) error {
	n := int64(1)
	for _, d := range c.Shape {
		n *= d
	}
	if t := c.factors[c.difference()]; t.Elements() != n {
		return c.errorf("tensor %q has the shape %v, must have the weight's, %v", t.Name, t.Shape, c.Shape)
	}
	return nil
}

// fullDelta has no alpha: LyCORIS writes one, and does not use it.
func fullDelta(c Change, _ []float32) ([]float32, error) {
	f, err := c.floats(c.difference())
	if err != nil {
		return nil, err
	}
	return f[0], nil
}
