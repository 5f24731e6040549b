package adapter

import "math"

// oft turns groups of a weight's rows (Qiu et al. 2023, arXiv:2306.07280; LyCORIS:
// diag-oft): W' = W + m(Rᵀ - I)W with R = (I + Q)(I - Q)⁻¹, Q = B - Bᵀ of each block B.
// alpha, if above 0, limits the norm of all Q to alpha times the number of rows.
var oft = Kind{
	Name: "OFT", Roles: []string{"oft_blocks"}, May: []string{alpha, "rescale"},
	check: func(c Change) error {
		n, b := int64(c.dim("oft_blocks", 0)), int64(c.dim("oft_blocks", 1))
		if len(c.factors["oft_blocks"].Shape) != 3 || n*b != c.Shape[0] {
			return c.errorf("tensor %q has the shape %v, must have the shape [n, b, b] with n·b the weight's %d rows",
				c.factors["oft_blocks"].Name, c.factors["oft_blocks"].Shape, c.Shape[0])
		}
		return c.checkBlocks(n, b, b)
	},
	turn: func(c Change, w []float32, strength float64) error {
		n, b := c.dim("oft_blocks", 0), c.dim("oft_blocks", 1)
		all, err := c.rotations(b)
		if err != nil {
			return err
		}
		rows := make([]int, b)
		for i := range n {
			for k := range b {
				rows[k] = i*b + k
			}
			rotate(w, rows, transposed(all[i], b), len(w)/int(c.Shape[0]), strength)
		}
		return c.rescale(w)
	},
}

// boft are several such turns one after another, of rows that are further and further
// apart (Liu et al. 2024, arXiv:2311.06243; LyCORIS: boft). The strength counts in each.
var boft = Kind{
	Name: "BOFT", Roles: []string{"oft_blocks", "oft_blocks of 4 dimensions"}, May: []string{alpha, "rescale"},
	check: func(c Change) error {
		stages, n, b := int64(c.dim("oft_blocks", 0)), int64(c.dim("oft_blocks", 1)), int64(c.dim("oft_blocks", 2))
		if stages < 1 || stages > 30 || b%2 != 0 || n*b != c.Shape[0] || c.Shape[0]%(b<<(stages-1)) != 0 {
			return c.errorf("tensor %q has the shape %v, must have the shape [stages, n, b, b] with n·b the weight's %d rows, a multiple of 2^(stages-1)·b",
				c.factors["oft_blocks"].Name, c.factors["oft_blocks"].Shape, c.Shape[0])
		}
		return c.checkBlocks(stages, n, b, b)
	},
	turn: func(c Change, w []float32, strength float64) error {
		stages, n, b := c.dim("oft_blocks", 0), c.dim("oft_blocks", 1), c.dim("oft_blocks", 2)
		all, err := c.rotations(b)
		if err != nil {
			return err
		}
		rows := make([]int, b)
		for s := range stages {
			distance := b / 2 << s
			for i := range n {
				for k := range b { // rows as (c, 2, distance), in the order (c, distance, 2)
					at := i*b + k
					group, rest := at/(2*distance), at%(2*distance)
					rows[k] = group*2*distance + rest%2*distance + rest/2
				}
				rotate(w, rows, all[s*n+i], len(w)/int(c.Shape[0]), strength)
			}
		}
		return c.rescale(w)
	},
}

func (c Change) checkBlocks(shape ...int64) error {
	if err := c.expect("oft_blocks", shape...); err != nil {
		return err
	}
	if c.has("rescale") {
		return c.expect("rescale", c.Shape[0])
	}
	return nil
}

// rotations are the matrices R of all blocks.
func (c Change) rotations(b int) ([][]float64, error) {
	f, err := c.floats("oft_blocks")
	if err != nil {
		return nil, err
	}
	blocks, size := f[0], b*b
	q, sum := make([]float64, len(blocks)), 0.0
	for i := range q {
		n, r, k := i/size, i%size/b, i%b
		q[i] = float64(blocks[i]) - float64(blocks[n*size+k*b+r])
		sum += q[i] * q[i]
	}
	if limit, norm := c.alpha*float64(c.Shape[0]), math.Sqrt(sum)+1e-8; limit > 0 && norm > limit {
		for i := range q {
			q[i] *= limit / norm
		}
	}
	all := make([][]float64, len(blocks)/size)
	for n := range all {
		minus, plus := make([]float64, size), make([]float64, size)
		for i := range size {
			one := 0.0
			if i/b == i%b {
				one = 1
			}
			minus[i], plus[i] = one-q[n*size+i], one+q[n*size+i]
		}
		// (I + Q) and (I - Q)⁻¹ are functions of one matrix: their order is free.
		if err := solve(minus, plus, b); err != nil {
			return nil, c.errorf("oft_blocks: %v", err)
		}
		all[n] = plus
	}
	return all, nil
}

// transposed is the transpose of a matrix, which OFT multiplies by, and BOFT does not, in
// LyCORIS: "k n m, k n … -> k m …" and "b i j, b j … -> b i …".
func transposed(r []float64, b int) []float64 {
	out := make([]float64, len(r))
	for i := range out {
		out[i] = r[i%b*b+i/b]
	}
	return out
}

// rotate replaces rows of a weight by (I + m(R - I)) times them.
func rotate(w []float32, rows []int, r []float64, length int, strength float64) {
	b := len(rows)
	old, sum := make([]float32, b*length), make([]float64, length)
	for i, row := range rows {
		copy(old[i*length:], w[row*length:][:length])
	}
	for m, row := range rows {
		for i := range sum {
			sum[i] = (1 - strength) * float64(old[m*length+i])
		}
		for n := range b {
			by := strength * r[m*b+n]
			for i, v := range old[n*length:][:length] {
				sum[i] += by * float64(v)
			}
		}
		for i, v := range sum {
			w[row*length+i] = float32(v)
		}
	}
}

// rescale multiplies the rows by the numbers that the file has for that.
func (c Change) rescale(w []float32) error {
	f, err := c.floats("rescale")
	if err != nil || f[0] == nil {
		return err
	}
	length := len(w) / int(c.Shape[0])
	for i := range w {
		w[i] *= f[0][i/length]
	}
	return nil
}
