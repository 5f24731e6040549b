package convert

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/guard"
)

// Float32 converts the tensor's elements, of any type, to dst, whose length
// must be theirs.
func (t Tensor) Float32(dst []float32) error {
	if int64(len(dst)) != t.Elements() {
		return fmt.Errorf("tensor %q has %d elements, %d wanted", t.Name, t.Elements(), len(dst))
	}
	t = t.flat()
	rest := dst
	for _, run := range t.runs() {
		n := min(t.elementsIn(run), int64(len(rest)))
		if t.Parts == nil {
			n = int64(len(rest))
		}
		if err := dtype.Float32(t.Type, rest[:n], run); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		rest = rest[n:]
	}
	t.rescale(dst, 0)
	return nil
}

// elementsIn is the number of elements in a run of the tensor's bytes.
func (t Tensor) elementsIn(run []byte) int64 {
	return int64(len(run)) / max(1, t.Type.BlockBytes()) * t.Type.BlockSize()
}

// rescale multiplies elements with their scale; begin is the first one's place.
func (t Tensor) rescale(elements []float32, begin int64) {
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

// Finite reports whether no element is NaN or infinite; for quantized types,
// no scale is. It reads the bytes at the speed of memory.
func (t Tensor) Finite() bool {
	t = t.flat()
	for _, run := range t.runs() {
		if !dtype.Finite(t.Type, run) {
			return false
		}
	}
	return true
}

// NotFiniteError says that weights are NaN or infinite.
type NotFiniteError struct{ Tensor string }

func (e *NotFiniteError) Error() string {
	return fmt.Sprintf("tensor %q has elements that are NaN or infinite; finite numbers are wanted: the file is damaged", e.Tensor)
}

// CheckFinite looks for NaN and infinity in the tensors whose names begin with
// a prefix, on all processors. The error is the first such tensor's
// ([NotFiniteError]). It reads every byte: some 0.2 s for 2 GB that the system
// has in memory, and as long as the disk takes for what it hasn't.
func (m *Model) CheckFinite(ctx context.Context, prefix string) error {
	var selected []Tensor
	for _, t := range m.Tensors {
		if len(t.Name) >= len(prefix) && t.Name[:len(prefix)] == prefix {
			selected = append(selected, t)
		}
	}
	err := inParallel(ctx, runtime.GOMAXPROCS(0), len(selected), func(i int) error {
		if !selected[i].Finite() {
			return &NotFiniteError{selected[i].Name}
		}
		return nil
	})
	if changed := m.Intact(); changed != nil {
		return changed
	}
	return err
}

// inParallel calls work for 0 to n-1 on so many goroutines, until one fails or
// ctx is done, and returns the error of the lowest number.
func inParallel(ctx context.Context, workers, n int, work func(i int) error) error {
	var (
		all    sync.WaitGroup
		mutex  sync.Mutex
		next   int
		failed = n
		first  error
	)
	take := func() int {
		mutex.Lock()
		defer mutex.Unlock()
		if first != nil || next >= n || ctx.Err() != nil {
			return -1
		}
		next++
		return next - 1
	}
	for range min(n, workers) {
		all.Go(func() {
			for i := take(); i >= 0; i = take() {
				// Work has callers' code in it.
				if err := guard.Call("the work", func() error { return work(i) }); err != nil {
					mutex.Lock()
					if i < failed {
						failed, first = i, err
					}
					mutex.Unlock()
				}
			}
		})
	}
	all.Wait()
	if first == nil {
		return context.Cause(ctx)
	}
	return first
}
