package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

// precision is how the factors of low-rank changes are kept.
type precision int

const (
	// full is float32. Beside weights of float32 anything else would cost precision where
	// operators round what they multiply by to the type of the factor.
	full precision = iota
	// asInFile is float16 where all files have that, else float32.
	asInFile
	// rounded is float16, of factors whose rows a power of two brings into its range, and its
	// inverse in the scale: 11 bits of each number that is at least 1/256 of the largest of
	// its row. The products of a layer with such weights are no better.
	rounded
)

// factorsBeside is the precision of factors beside a weight of some type.
func (n adapting) factorsBeside(typ dtype.Type) precision {
	switch {
	case typ == dtype.F32:
		return full
	case n.device.Kind == cgo.CPU: // whose kernels are fast with float16 alone
		return rounded
	default:
		return asInFile
	}
}

// join makes one product of several: their ranks one after another.
func join(i int, w cgo.Weight, all []LowRank, p precision) (c cgo.Change, err error) {
	isHalf := func(l LowRank) bool { return l.Down.Type == dtype.F16 && l.Up.Type == dtype.F16 }
	c = cgo.Change{Weight: i, Float16: p == rounded || p == asInFile && !slices.ContainsFunc(all, func(l LowRank) bool { return !isHalf(l) })}
	rank, size := 0, 4
	if c.Float16 {
		size = 2
	}
	for _, l := range all {
		rank += l.Rank
	}
	rows := int(w.Shape[0])
	c.Up = make([]byte, rows*rank*size)
	at := 0
	for _, l := range all {
		scale := slices.Repeat([]float32{float32(l.Scale)}, l.Rank)
		var down, up []byte
		switch {
		case !c.Float16:
			if down, err = float32Bytes(l.Down); err == nil {
				up, err = float32Bytes(l.Up)
			}
		case isHalf(l):
			if down, err = ownBytes(l.Down); err == nil {
				up, err = ownBytes(l.Up)
			}
		default:
			down, up, err = halves(l, scale)
		}
		if err != nil {
			return c, err
		}
		c.Down, c.Scale = append(c.Down, down...), append(c.Scale, scale...)
		for r := range len(up) / (l.Rank * size) {
			copy(c.Up[((l.Row+r)*rank+at)*size:], up[r*l.Rank*size:][:l.Rank*size])
		}
		at += l.Rank
	}
	return c, nil
}

// halves are factors as float16. Each rank's scale gets what its numbers are divided by.
func halves(l LowRank, scale []float32) (down, up []byte, err error) {
	d, u := make([]float32, l.Down.Elements()), make([]float32, l.Up.Elements())
	if err := l.Down.Float32(d); err != nil {
		return nil, nil, err
	}
	if err := l.Up.Float32(u); err != nil {
		return nil, nil, err
	}
	in, rows := len(d)/l.Rank, len(u)/l.Rank
	for r := range l.Rank {
		e := intoRange(d, r*in, 1, in) + intoRange(u, r, l.Rank, rows)
		scale[r] = float32(math.Ldexp(l.Scale, e))
	}
	down, up = make([]byte, 2*len(d)), make([]byte, 2*len(u))
	if err := dtype.Encode(dtype.F16, down, d); err != nil {
		return nil, nil, fmt.Errorf("tensor %q: %w", l.Down.Name, err)
	}
	if err := dtype.Encode(dtype.F16, up, u); err != nil {
		return nil, nil, fmt.Errorf("tensor %q: %w", l.Up.Name, err)
	}
	return down, up, nil
}

// intoRange divides n numbers of x by a power of two, if their largest would be outside
// of 2^-6 to 2^6, and returns its exponent. float16 has all of its bits from 2^-14 on.
func intoRange(x []float32, from, step, n int) (exponent int) {
	const bound = 6
	largest := 0.0
	for i := range n {
		largest = max(largest, math.Abs(float64(x[from+i*step])))
	}
	_, e := math.Frexp(largest) // below 2^e
	if largest == 0 || e > -bound && e <= bound {
		return 0
	}
	for i := range n {
		x[from+i*step] = float32(math.Ldexp(float64(x[from+i*step]), -e))
	}
	return e
}

// float32Bytes are a tensor's elements as float32.
func float32Bytes(t convert.Tensor) ([]byte, error) {
	x := make([]float32, t.Elements())
	if err := t.Float32(x); err != nil {
		return nil, err
	}
	return bytesOf(x), nil
}

// ownBytes are a tensor's elements in its own type, not a copy where the file has them in
// one piece.
func ownBytes(t convert.Tensor) ([]byte, error) {
	runs := t.InOrder().Runs()
	if len(runs) == 1 {
		return runs[0], nil
	}
	return slices.Concat(runs...), nil
}
