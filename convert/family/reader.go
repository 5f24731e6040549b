package family

import (
	"fmt"
	"math"
	"strconv"

	"github.com/sdgo/sdgo/convert/model"
)

// Reader reads numbers off a model's tensors and metadata. It keeps the first
// thing that is wrong: what comes later would work with numbers that were never
// found.
type Reader struct {
	Model *model.Model
	err   error
}

// Fail notes what is wrong, unless something was before.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// Has reports whether there is a tensor of a name.
func (r *Reader) Has(name string) bool { return r.Model.Index(name) >= 0 }

// Shape returns the shape of a tensor that must have `dims` dimensions, not
// counting ones at the end. The result has four, ones at the end.
func (r *Reader) Shape(name string, dims int) []int {
	s := []int{1, 1, 1, 1}
	t, ok := r.Model.Tensor(name)
	if why := r.Model.Skipped(name); !ok && why != "" {
		r.Fail("%s", why)
		return s
	}
	if !ok {
		r.Fail("tensor %q is missing: %w", name, model.ErrUnrecognized)
		return s
	}
	for i, v := range t.Shape {
		if i >= dims && v != 1 || v > math.MaxInt32 {
			r.Fail("tensor %q must have %d dimensions, got the shape %v", name, dims, t.Shape)
			return s
		}
		if v < 1 {
			r.Fail("tensor %q must have dimensions of at least 1, got the shape %v", name, t.Shape)
			return s
		}
		s[i] = int(v)
	}
	return s
}

// Count is the number of tensors whose names come from the format with 0, 1, 2 …
// until one is missing.
func (r *Reader) Count(format string) int {
	n := 0
	for n < 1000 && r.Has(fmt.Sprintf(format, n)) {
		n++
	}
	return n
}

// Number applies a number of the metadata, if it is there. It must be from low
// to high.
func (r *Reader) Number(key string, low, high float64, set func(float64)) {
	text, ok := r.Model.Metadata[key]
	if !ok {
		return
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= low && v <= high) {
		r.Fail("%s must be a number from %g to %g, got %.20q", key, low, high, text)
		return
	}
	set(v)
}
