package write

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
)

// Deviation is how far a converted tensor is from its source.
type Deviation struct {
	Name     string
	From, To dtype.Type
	Max      float64 // largest absolute difference of an element
	RMS      float64 // root mean square of the differences
	Scale    float64 // root mean square of the source
}

// Relative is the RMS difference divided by the source's RMS.
func (d Deviation) Relative() float64 {
	if d.Scale == 0 {
		return d.RMS
	}
	return d.RMS / d.Scale
}

// Compare compares each tensor of a model that was read back from path with the
// source that it was converted from, on all processors. It fails where the file
// lacks a tensor, has another shape, or holds NaN or infinity. The result has the
// worst first. Memory stays at a few MB and one pair of tensors for each
// processor.
func Compare(ctx context.Context, source, converted *model.Model, path string) ([]Deviation, error) {
	if len(converted.Tensors) != len(source.Tensors) {
		return nil, fmt.Errorf("%s must have %d tensors, got %d", path, len(source.Tensors), len(converted.Tensors))
	}
	all := make([]Deviation, len(source.Tensors))
	err := inParallel(ctx, runtime.GOMAXPROCS(0), len(all), func(i int) error {
		from := source.Tensors[i]
		to, ok := converted.Tensor(from.Name)
		if !ok {
			return fmt.Errorf("%s: tensor %q is missing", path, from.Name)
		}
		if !model.SameShape(from.Shape, to.Shape) {
			return fmt.Errorf("%s: tensor %q must have the shape %v, got %v", path, to.Name, from.Shape, to.Shape)
		}
		if !to.Finite() {
			return fmt.Errorf("%s: %w", path, &model.NotFiniteError{Tensor: to.Name})
		}
		var err error
		all[i], err = deviation(from, to)
		release(source, from)
		release(converted, to)
		return err
	})
	for _, m := range []*model.Model{source, converted} {
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

// CheckSource says what is wrong with the arguments of a comparison.
func CheckSource(ctx context.Context, source *model.Model) error {
	switch {
	case ctx == nil:
		return errNilContext
	case source == nil || len(source.Tensors) == 0:
		return errors.New("a model without tensors: it is nil, empty or closed")
	}
	return nil
}

// CheckFinite looks for NaN and infinity in the tensors whose names begin with
// a prefix, on all processors. The error is the first such tensor's
// ([model.NotFiniteError]). It reads every byte: some 0.2 s for 2 GB that the
// system has in memory, and as long as the disk takes for the rest.
func CheckFinite(ctx context.Context, m *model.Model, prefix string) error {
	var selected []model.Tensor
	for _, t := range m.Tensors {
		if strings.HasPrefix(t.Name, prefix) {
			selected = append(selected, t)
		}
	}
	err := inParallel(ctx, runtime.GOMAXPROCS(0), len(selected), func(i int) error {
		if !selected[i].Finite() {
			return &model.NotFiniteError{Tensor: selected[i].Name}
		}
		return nil
	})
	if changed := m.Intact(); changed != nil {
		return changed
	}
	return err
}

// release gives the memory of a tensor back, as far as a file has it.
func release(m *model.Model, t model.Tensor) {
	for _, run := range t.Runs() {
		m.Release(run)
	}
}

// deviation compares two tensors piece by piece.
func deviation(a, b model.Tensor) (Deviation, error) {
	d := Deviation{Name: a.Name, From: a.Type, To: b.Type}
	const step = 1 << 18 // a multiple of every block
	x, y := make([]float32, step), make([]float32, step)
	var squares, total float64
	for begin := int64(0); begin < a.Elements(); begin += step {
		n := min(step, a.Elements()-begin)
		if err := a.Float32From(begin, x[:n]); err != nil {
			return d, err
		}
		if err := b.Float32From(begin, y[:n]); err != nil {
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
