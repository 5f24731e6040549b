package adapter

import "github.com/sdgo/sdgo/convert/model"

// LoRA is up·down (Hu et al. 2021, arXiv:2106.09685); of a convolution down has its
// kernel and up is 1x1 (LoCon), or mid has the kernel (Tucker's form).
var lora = Kind{
	Name: "LoRA", Roles: []string{"up", "down"}, May: []string{"mid", alpha, dora},
	rank:  func(m Module) int { return m.dim("down", 0) },
	check: checkLoRA,
	lowRank: func(c Change) LowRank {
		l := LowRank{Down: c.factors["down"], Up: c.factors["up"], Rank: c.Rank(), Scale: c.factor()}
		if c.has("mid") && kernel(c.Shape) > 1 {
			l.Mid = c.factors["mid"]
		}
		return l
	},
	delta: func(c Change, _ []float32) ([]float32, error) {
		f, err := c.floats("up", "down", "mid")
		if err != nil {
			return nil, err
		}
		out, in, k, r := int(c.Shape[0]), inner(c.Shape), kernel(c.Shape), c.Rank()
		down := f[1]
		if c.has("mid") {
			down = make([]float32, r*in*k) // mid · down, at each place of the kernel
			for a := range r {
				for b := range r {
					for p := range k {
						if v := f[2][(a*r+b)*k+p]; v != 0 {
							for i := range in {
								down[(a*in+i)*k+p] += v * f[1][b*in+i]
							}
						}
					}
				}
			}
		}
		return scaled(multiply(f[0], down, out, r, in*k), c.factor()), nil
	},
}

func checkLoRA(c Change) error {
	out, in, k, r := c.Shape[0], int64(inner(c.Shape)), int64(kernel(c.Shape)), int64(c.Rank())
	if err := c.expect("up", out, r); err != nil {
		return err
	}
	if !c.has("mid") {
		return c.expect("down", r, in*k)
	}
	if err := c.expect("mid", r, r, k); err != nil {
		return err
	}
	return c.expect("down", r, in)
}

// expect checks that a factor has the elements of a shape, with the first dimension as
// it is: the rest may be written as one dimension or several.
func (c Change) expect(role string, shape ...int64) error {
	t, n := c.factors[role], int64(1)
	for _, d := range shape {
		n *= d
	}
	if len(t.Shape) == 0 || t.Shape[0] != shape[0] || t.Elements() != n {
		return c.errorf("tensor %q has the shape %v, must have %v for the weight %s of the shape %v", t.Name, t.Shape, shape, c.Weight, c.Shape)
	}
	return nil
}

// inner is the number of a weight's input channels, kernel that of the places of its kernel.
func inner(shape []int64) int {
	if len(shape) < 2 {
		return 1
	}
	return int(shape[1])
}

func kernel(shape []int64) int {
	n := 1
	for _, d := range shape[min(2, len(shape)):] {
		n *= int(d)
	}
	return n
}

// floats are factors as numbers; nil for those that are not there.
func (c Change) floats(roles ...string) ([][]float32, error) {
	all := make([][]float32, len(roles))
	for i, role := range roles {
		t, ok := c.factors[role]
		if !ok {
			continue
		}
		var err error
		if all[i], err = floats(t); err != nil {
			return nil, c.errorf("%v", err)
		}
	}
	return all, nil
}

func floats(t model.Tensor) ([]float32, error) {
	x := make([]float32, t.Elements())
	return x, t.Float32(x)
}
