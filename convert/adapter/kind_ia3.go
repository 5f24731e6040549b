package adapter

// ia3 multiplies the rows of a weight, or its columns, by 1 + w (Liu et al. 2022,
// arXiv:2205.05638; LyCORIS: ia3).
var ia3 = Kind{
	Name: "(IA)³", Roles: []string{"weight", "on_input"},
	check: func(c Change) error {
		n := c.Shape[0]
		f, err := c.floats("on_input")
		if err != nil {
			return err
		}
		if len(f[0]) != 1 {
			return c.errorf("on_input must be one number")
		}
		if f[0][0] != 0 {
			n = int64(inner(c.Shape))
		}
		if t := c.factors["weight"]; t.Elements() != n {
			return c.errorf("tensor %q has the shape %v, must have %d elements", t.Name, t.Shape, n)
		}
		return nil
	},
	delta: func(c Change, base []float32) ([]float32, error) {
		f, err := c.floats("weight", "on_input")
		if err != nil {
			return nil, err
		}
		in, k := inner(c.Shape), kernel(c.Shape)
		out := make([]float32, len(base))
		for i, v := range base {
			at := i / (in * k)
			if f[1][0] != 0 {
				at = i / k % in
			}
			out[i] = v * f[0][at]
		}
		return out, nil
	},
}
