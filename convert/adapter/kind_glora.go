package adapter

// glora is W·A + B, both products of thin matrices (Chavan et al. 2023,
// arXiv:2306.07967; LyCORIS: glora): A = a1·a2, B = b1·b2. Before version 3 LyCORIS had
// the names the other way round, and so had their shapes.
var glora = Kind{
	Name: "GLoRA", Roles: []string{"a1", "a2", "b1", "b2"}, May: []string{alpha},
	rank: func(m Module) int {
		if isOldGLoRA(m) {
			return m.dim("a1", 0)
		}
		return m.dim("a2", 0)
	},
	check: func(c Change) error {
		out, in, k, r := c.Shape[0], int64(inner(c.Shape)), int64(kernel(c.Shape)), int64(c.Rank())
		left, right := gloraRoles(c.Module)
		for _, err := range []error{c.expect(left[0], in, r), c.expect(right[0], r, in), c.expect(left[1], out, r), c.expect(right[1], r, in*k)} {
			if err != nil {
				return err
			}
		}
		return nil
	},
	delta: func(c Change, base []float32) ([]float32, error) {
		left, right := gloraRoles(c.Module)
		f, err := c.floats(left[0], right[0], left[1], right[1])
		if err != nil {
			return nil, err
		}
		out, in, k, r := int(c.Shape[0]), inner(c.Shape), kernel(c.Shape), c.Rank()
		a, sum := multiply(f[0], f[1], in, r, in), multiply(f[2], f[3], out, r, in*k)
		for o := range out {
			for i := range in {
				for p := range k {
					v := base[(o*in+i)*k+p]
					for j, w := range a[i*in:][:in] {
						sum[(o*in+j)*k+p] += v * w
					}
				}
			}
		}
		return scaled(sum, c.factor()), nil
	},
}

// isOldGLoRA tells the older layout, whose first factor has as many columns as the later
// one's has rows.
func isOldGLoRA(m Module) bool {
	return m.dim("b1", 0) < m.dim("b1", 1) && m.dim("b2", 0) > m.dim("b2", 1)
}

// gloraRoles are the tall factors of A and B, and the wide ones.
func gloraRoles(m Module) (left, right [2]string) {
	if isOldGLoRA(m) {
		return [2]string{"a2", "b2"}, [2]string{"a1", "b1"}
	}
	return [2]string{"a1", "b1"}, [2]string{"a2", "b2"}
}
