package model

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/dtype"
)

// Float32 converts the tensor's elements, of any type, to dst, whose length
// must be [Tensor.Elements].
func (t Tensor) Float32(dst []float32) error {
	if int64(len(dst)) != t.Elements() {
		return fmt.Errorf("tensor %q has %d elements, got room for %d", t.Name, t.Elements(), len(dst))
	}
	t = t.InOrder()
	rest := dst
	for _, run := range t.Runs() {
		n := min(t.ElementsIn(run), int64(len(rest)))
		if t.Parts == nil {
			n = int64(len(rest))
		}
		if err := dtype.Float32(t.Type, rest[:n], run); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		rest = rest[n:]
	}
	t.ApplyScale(dst, 0)
	return nil
}

// Float32From converts len(dst) elements, beginning with element begin. Both
// must be multiples of the type's block size.
func (t Tensor) Float32From(begin int64, dst []float32) error {
	if t.strided != nil {
		ordered := make([]byte, int64(len(dst))*t.Type.BlockBytes())
		t.Gather(ordered, begin)
		if err := dtype.Float32(t.Type, dst, ordered); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		t.ApplyScale(dst, begin)
		return nil
	}
	at, rest := begin, dst
	for _, run := range t.Runs() {
		elements := t.ElementsIn(run)
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
		return fmt.Errorf("tensor %q has %d bytes of %s for the shape %v", t.Name, t.Size(), t.Type, t.Shape)
	}
	t.ApplyScale(dst, begin)
	return nil
}

// ElementsIn is the number of elements in a piece of the tensor's bytes.
func (t Tensor) ElementsIn(run []byte) int64 {
	return int64(len(run)) / max(1, t.Type.BlockBytes()) * t.Type.BlockSize()
}

// ApplyScale multiplies elements by their scale, if the tensor has one. The first
// of them is element begin.
func (t Tensor) ApplyScale(elements []float32, begin int64) {
	switch {
	case len(t.Scale) == 1:
		for i := range elements {
			elements[i] *= t.Scale[0]
		}
	case len(t.Scale) > 1:
		row := t.Elements() / int64(len(t.Scale))
		for i := range elements {
			elements[i] *= t.Scale[(begin+int64(i))/row]
		}
	}
}

// Finite reports whether no element is NaN or infinite; of quantized types,
// whether no scale of a block is. It reads the bytes at the speed of memory.
func (t Tensor) Finite() bool {
	t = t.InOrder()
	for _, run := range t.Runs() {
		if !dtype.Finite(t.Type, run) {
			return false
		}
	}
	return true
}
