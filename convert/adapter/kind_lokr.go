package adapter

// LoKr is a Kronecker product (LyCORIS: lokr), each of whose factors may be a product of
// thin matrices, the second one in Tucker's form, too. Alpha counts only if one is.
var lokr = Kind{
	Name: "LoKr", Roles: []string{"lokr"}, May: []string{"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", alpha, dora},
	rank: func(m Module) int {
		if m.has("lokr_w2_b") {
			return m.dim("lokr_w2_b", 0)
		}
		return m.dim("lokr_w1_b", 0)
	},
	check: func(c Change) error {
		_, _, _, err := lokrShape(c)
		return err
	},
	delta: func(c Change, _ []float32) ([]float32, error) {
		first, second, k, err := lokrShape(c)
		if err != nil {
			return nil, err
		}
		f, err := c.floats("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
		if err != nil {
			return nil, err
		}
		a, b, p, q := first[0], first[1], second[0], second[1]
		w1, w2 := f[0], f[3]
		if w1 == nil {
			w1 = multiply(f[1], f[2], a, c.dim("lokr_w1_b", 0), b)
		}
		r := c.dim("lokr_w2_b", 0)
		switch {
		case f[6] != nil:
			w2 = core(f[6], f[4], f[5], r, r, k, p, q)
		case w2 == nil:
			w2 = multiply(f[4], f[5], p, r, q*k)
		}
		out := make([]float32, a*p*b*q*k)
		for i := range a {
			for j := range b {
				v := w1[i*b+j]
				for x := range p {
					row := out[((i*p+x)*b+j)*q*k:][:q*k]
					for y, w := range w2[x*q*k:][:q*k] {
						row[y] = v * w
					}
				}
			}
		}
		return scaled(out, c.factor()), nil
	},
}

// lokrShape are the sizes of both factors, [a, b] and [p, q, k].
func lokrShape(c Change) (first, second [2]int, k int, err error) {
	out, in := int(c.Shape[0]), inner(c.Shape)
	k = kernel(c.Shape)
	for _, n := range []string{"1", "2"} {
		w, a, b := "lokr_w"+n, "lokr_w"+n+"_a", "lokr_w"+n+"_b"
		if !c.has(w) && (!c.has(a) || !c.has(b)) {
			return first, second, k, c.errorf("%s is missing, or one of %s and %s", w, a, b)
		}
	}
	first = [2]int{c.dim("lokr_w1", 0), c.dim("lokr_w1", 1)}
	if !c.has("lokr_w1") {
		first = [2]int{c.dim("lokr_w1_a", 0), c.dim("lokr_w1_b", 1)}
		if err := c.expect("lokr_w1_a", int64(first[0]), int64(c.dim("lokr_w1_b", 0))); err != nil {
			return first, second, k, err
		}
	} else if err := c.expect("lokr_w1", int64(first[0]), int64(first[1])); err != nil {
		return first, second, k, err
	}
	if first[0] < 1 || first[1] < 1 || out%first[0] != 0 || in%first[1] != 0 {
		return first, second, k, c.errorf("the first factor of shape %v does not divide the weight %s of the shape %v", first, c.Weight, c.Shape)
	}
	second = [2]int{out / first[0], in / first[1]}
	p, q, r := int64(second[0]), int64(second[1]), int64(c.dim("lokr_w2_b", 0))
	var errs []error
	switch {
	case c.has("lokr_t2"):
		errs = []error{c.expect("lokr_t2", r, r, int64(k)), c.expect("lokr_w2_a", r, p), c.expect("lokr_w2_b", r, q)}
	case c.has("lokr_w2"):
		errs = []error{c.expect("lokr_w2", p, q*int64(k))}
	default:
		errs = []error{c.expect("lokr_w2_a", p, r), c.expect("lokr_w2_b", r, q*int64(k))}
	}
	for _, err := range errs {
		if err != nil {
			return first, second, k, err
		}
	}
	return first, second, k, nil
}
