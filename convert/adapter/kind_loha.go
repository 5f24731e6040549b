package adapter

// LoHa is the Hadamard product of two products of thin matrices (Hyeon-Woo et al. 2022,
// arXiv:2108.06098; LyCORIS: loha), each of which may be in Tucker's form.
var loha = Kind{
	Name: "LoHa", Roles: []string{"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}, May: []string{"hada_t1", "hada_t2", alpha, dora},
	rank: func(m Module) int { return m.dim("hada_w1_b", 0) },
	check: func(c Change) error {
		out, in, k := c.Shape[0], int64(inner(c.Shape)), int64(kernel(c.Shape))
		for _, n := range []string{"1", "2"} {
			a, b, t := "hada_w"+n+"_a", "hada_w"+n+"_b", "hada_t"+n
			r := int64(c.dim(b, 0))
			if c.has("hada_t1") != c.has("hada_t2") {
				return c.errorf("hada_t1 and hada_t2 must be there both or not at all")
			}
			if c.has(t) {
				for _, err := range []error{c.expect(a, r, out), c.expect(b, r, in), c.expect(t, r, r, k)} {
					if err != nil {
						return err
					}
				}
				continue
			}
			for _, err := range []error{c.expect(a, out, r), c.expect(b, r, in*k)} {
				if err != nil {
					return err
				}
			}
		}
		return nil
	},
	delta: func(c Change, _ []float32) ([]float32, error) {
		out, in, k := int(c.Shape[0]), inner(c.Shape), kernel(c.Shape)
		var sides [2][]float32
		for i, n := range []string{"1", "2"} {
			f, err := c.floats("hada_w"+n+"_a", "hada_w"+n+"_b", "hada_t"+n)
			if err != nil {
				return nil, err
			}
			r := c.dim("hada_w"+n+"_b", 0)
			if f[2] != nil {
				sides[i] = core(f[2], f[0], f[1], r, r, k, out, in)
			} else {
				sides[i] = multiply(f[0], f[1], out, r, in*k)
			}
		}
		for i, v := range sides[1] {
			sides[0][i] *= v
		}
		return scaled(sides[0], c.factor()), nil
	},
}
