package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"

	"github.com/sdgo/sdgo/convert/dtype"
)

// Deviation is how far a converted tensor is from its source.
type Deviation struct {
	Name     string
	From, To dtype.Type
	Max      float64 // largest difference of an element
	RMS      float64 // root of the mean squared difference
	Scale    float64 // root mean square of the source
}

// Relative is the RMS difference in proportion to the source's own size.
func (d Deviation) Relative() float64 {
	if d.Scale == 0 {
		return d.RMS
	}
	return d.RMS / d.Scale
}

// Verify reads a file back and compares each tensor with the model that it was
// converted from, on all processors. It fails where the file lacks a tensor,
// has another shape, or holds NaN or infinity. The worst come first. Memory
// stays at a few MB and one pair of tensors for each processor.
func Verify(ctx context.Context, source *Model, path string) ([]Deviation, error) {
	switch {
	case ctx == nil:
		return nil, errNilContext
	case source == nil || len(source.Tensors) == 0:
		return nil, errors.New("a model without tensors: it is nil, empty or closed")
	}
	converted, err := Load(path)
	if err != nil {
		return nil, err
	}
	defer converted.Close()
	if len(converted.Tensors) != len(source.Tensors) {
		return nil, fmt.Errorf("%s: %d tensors, %d are wanted", path, len(converted.Tensors), len(source.Tensors))
	}
	all := make([]Deviation, len(source.Tensors))
	err = inParallel(ctx, runtime.GOMAXPROCS(0), len(all), func(i int) error {
		from := source.Tensors[i]
		to, ok := converted.Tensor(from.Name)
		if !ok {
			return fmt.Errorf("%s: tensor %q is missing", path, from.Name)
		}
		if !sameButForOnes(from.Shape, to.Shape) {
			return fmt.Errorf("%s: tensor %q has the shape %v; %v is wanted", path, to.Name, to.Shape, from.Shape)
		}
		if !to.Finite() {
			return fmt.Errorf("%s: %w", path, &NotFiniteError{to.Name})
		}
		var err error
		all[i], err = deviation(from, to)
		source.release(from)
		converted.release(to)
		return err
	})
	for _, m := range []*Model{source, converted} {
		if changed := m.Intact(); changed != nil {
			return nil, changed
		}
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b Deviation) int { return cmp.Compare(b.Relative(), a.Relative()) })
	return all, nil
}

// deviation compares two tensors piece by piece.
func deviation(a, b Tensor) (Deviation, error) {
	d := Deviation{Name: a.Name, From: a.Type, To: b.Type}
	const step = 1 << 18 // a multiple of every block
	x, y := make([]float32, step), make([]float32, step)
	var squares, total float64
	for begin := int64(0); begin < a.Elements(); begin += step {
		n := min(step, a.Elements()-begin)
		if err := a.slice(x[:n], begin); err != nil {
			return d, err
		}
		if err := b.slice(y[:n], begin); err != nil {
			return d, err
		}
		for i, v := range x[:n] {
			diff := float64(y[i]) - float64(v)
			d.Max = max(d.Max, math.Abs(diff))
			squares += diff * diff
			total += float64(v) * float64(v)
		}
	}
	n := float64(a.Elements())
	d.RMS, d.Scale = math.Sqrt(squares/n), math.Sqrt(total/n)
	return d, nil
}

// slice converts elements from begin on, a whole number of blocks.
func (t Tensor) slice(dst []float32, begin int64) error {
	if t.strided != nil {
		ordered := make([]byte, int64(len(dst))*t.Type.BlockBytes())
		t.gather(ordered, begin)
		if err := dtype.Float32(t.Type, dst, ordered); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		t.rescale(dst, begin)
		return nil
	}
	at, rest := begin, dst
	for _, run := range t.runs() {
		elements := t.elementsIn(run)
		if at < elements && len(rest) > 0 {
			n := min(elements-at, int64(len(rest)))
			from, _ := t.Type.Size(at, t.Type.BlockSize())
			until, _ := t.Type.Size(at+n, t.Type.BlockSize())
			if err := dtype.Float32(t.Type, rest[:n], run[from:until]); err != nil {
				return fmt.Errorf("tensor %q: %w", t.Name, err)
			}
			at, rest = at+n, rest[n:]
		}
		at -= elements
	}
	if len(rest) > 0 {
		return fmt.Errorf("tensor %q has %d bytes of %s for the shape %v", t.Name, t.size(), t.Type, t.Shape)
	}
	t.rescale(dst, begin)
	return nil
}
