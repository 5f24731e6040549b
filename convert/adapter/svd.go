package adapter

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
)

// factors are a matrix's approximation up·down of a rank, [n, rank] and [rank, m], the
// singular values shared evenly between the two.
type factors struct {
	rank     int
	up, down []float32
	lost     float64 // the sum of the squares of the matrix less its approximation
}

// oversampling and powers are those of the randomized range finder: it works with so many
// more vectors than the rank, and multiplies by the matrix and its transpose so many
// times.
const (
	oversampling = 10
	powers       = 3
)

// lowRank approximates a [n, m] by its largest singular values, with the randomized method
// of Halko, Martinsson and Tropp (Finding structure with randomness, 2011), algorithms 4.4
// and 5.1, with random numbers that are always the same. Small matrices are done exactly.
// If ctx ends, the result is worthless.
func lowRank(ctx context.Context, a []float32, n, m, rank int) factors {
	rank = min(rank, n, m)
	l := min(rank+oversampling, n, m)
	random := rand.New(rand.NewPCG(uint64(n), uint64(m)))
	z := make([]float32, m*l)
	for i := range z {
		z[i] = float32(random.NormFloat64())
	}
	q := multiply(a, z, n, m, l)
	orthonormal(q, n, l)
	for range powers {
		if ctx.Err() != nil {
			return factors{}
		}
		z = transposedTimes(a, q, n, m, l)
		orthonormal(z, m, l)
		q = multiply(a, z, n, m, l)
		orthonormal(q, n, l)
	}
	b := transposedTimes(a, q, n, m, l) // (qᵀa)ᵀ: [m, l]
	gram := make([]float64, l*l)        // of b's columns
	for i := range m {
		row := b[i*l:][:l]
		for j, v := range row {
			for k, w := range row {
				gram[j*l+k] += float64(v) * float64(w)
			}
		}
	}
	values, vectors := eigen(gram, l)
	f := factors{rank: rank, up: make([]float32, n*rank), down: make([]float32, rank*m)}
	for _, v := range a {
		f.lost += float64(v) * float64(v)
	}
	for r, c := range descending(values)[:rank] {
		sigma := math.Sqrt(max(values[c], 0))
		f.lost -= sigma * sigma
		if sigma == 0 {
			continue
		}
		up, down := math.Sqrt(sigma), 1/math.Sqrt(sigma)
		for i := range n {
			f.up[i*rank+r] = float32(up * column(q[i*l:][:l], vectors, c, l))
		}
		for i := range m {
			f.down[r*m+i] = float32(down * column(b[i*l:][:l], vectors, c, l))
		}
	}
	f.lost = max(f.lost, 0)
	return f
}

// descending are the places of the values, of the greatest first.
func descending(values []float64) []int {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(values[j], values[i]) })
	return order
}

// column is a row's product with a column of a matrix [l, l].
func column(row []float32, matrix []float64, c, l int) (sum float64) {
	for k, v := range row {
		sum += float64(v) * matrix[k*l+c]
	}
	return sum
}

// transposedTimes is aᵀ·q of [n, m] and [n, l].
func transposedTimes(a, q []float32, n, m, l int) []float32 {
	out := make([]float32, m*l)
	for i := range n {
		right := q[i*l:][:l]
		for j, v := range a[i*m:][:m] {
			if v == 0 {
				continue
			}
			row := out[j*l:][:l]
			for k, w := range right {
				row[k] += v * w
			}
		}
	}
	return out
}

// orthonormal makes the columns of q [n, l] orthogonal to each other, of length 1, by
// Gram's and Schmidt's method, twice. A column that depends on others becomes 0.
func orthonormal(q []float32, n, l int) {
	c := make([][]float64, l) // the columns
	for k := range c {
		c[k] = make([]float64, n)
		for i := range n {
			c[k][i] = float64(q[i*l+k])
		}
	}
	for k, x := range c {
		before := length(x)
		for range 2 {
			for _, y := range c[:k] {
				by := dot(x, y)
				for i, v := range y {
					x[i] -= by * v
				}
			}
		}
		by := length(x)
		if by <= 1e-6*before {
			by = math.Inf(1)
		}
		for i := range x {
			x[i] /= by
			q[i*l+k] = float32(x[i])
		}
	}
}

func length(x []float64) float64 { return math.Sqrt(dot(x, x)) }

func dot(x, y []float64) (sum float64) {
	for i, v := range x {
		sum += v * y[i]
	}
	return sum
}

// eigen finds the eigenvalues of a symmetric matrix [n, n], which is lost, and its
// eigenvectors, the columns of the second result, with Jacobi's rotations.
func eigen(a []float64, n int) (values, vectors []float64) {
	vectors = make([]float64, n*n)
	var norm float64
	for i := range n {
		vectors[i*n+i] = 1
		norm += dot(a[i*n:][:n], a[i*n:][:n])
	}
	for range 60 { // sweeps; a dozen are usual
		var off float64
		for i := range n {
			for j := range i {
				off += a[i*n+j] * a[i*n+j]
			}
		}
		if off <= 1e-28*norm {
			break
		}
		for p := range n {
			for q := p + 1; q < n; q++ {
				jacobi(a, vectors, n, p, q)
			}
		}
	}
	values = make([]float64, n)
	for i := range n {
		values[i] = a[i*n+i]
	}
	return values, vectors
}

// jacobi makes a[p, q] zero.
func jacobi(a, vectors []float64, n, p, q int) {
	if a[p*n+q] == 0 {
		return
	}
	theta := (a[q*n+q] - a[p*n+p]) / (2 * a[p*n+q])
	t := 1 / (math.Abs(theta) + math.Hypot(theta, 1))
	if theta < 0 {
		t = -t
	}
	c := 1 / math.Hypot(t, 1)
	s := t * c
	for k := range n {
		x, y := a[k*n+p], a[k*n+q]
		a[k*n+p], a[k*n+q] = c*x-s*y, s*x+c*y
	}
	for k := range n {
		x, y := a[p*n+k], a[q*n+k]
		a[p*n+k], a[q*n+k] = c*x-s*y, s*x+c*y
		x, y = vectors[k*n+p], vectors[k*n+q]
		vectors[k*n+p], vectors[k*n+q] = c*x-s*y, s*x+c*y
	}
}
