package family

import (
	"slices"

	"github.com/sdgo/sdgo/convert/model"
)

// Weight is a weight that a network of some configuration has.
type Weight struct {
	Name  string  // canonical
	Shape []int64 // as in the original layout
}

// weights collects those of a network, layer by layer.
type weights struct {
	prefix string
	all    []Weight
}

func (w *weights) add(name string, shape ...int) {
	s := make([]int64, len(shape))
	for i, d := range shape {
		s[i] = int64(d)
	}
	w.all = append(w.all, Weight{w.prefix + name, s})
}

// linear is a matrix and its bias.
func (w *weights) linear(name string, out, in int) {
	w.add(name+".weight", out, in)
	w.add(name+".bias", out)
}

// conv is a convolution with a square kernel.
func (w *weights) conv(name string, out, in, kernel int) {
	w.add(name+".weight", out, in, kernel, kernel)
	w.add(name+".bias", out)
}

func (w *weights) norm(name string, channels int) {
	w.add(name+".weight", channels)
	w.add(name+".bias", channels)
}

// complete checks that the model has all weights of its networks, in their
// shapes, and no others but those that are optional. It gives the tensors the
// original layout's shapes.
func (r *Reader) complete(optional []string, networks ...[]Weight) {
	known := map[string]bool{}
	for _, name := range optional {
		known[name] = true
	}
	for _, network := range networks {
		for _, w := range network {
			known[w.Name] = true
			i := r.Model.Index(w.Name)
			if i < 0 && r.Model.Skipped(w.Name) != "" {
				r.Fail("%s", r.Model.Skipped(w.Name))
				return
			}
			if i < 0 {
				r.Fail("tensor %q of shape %v is missing", w.Name, w.Shape)
				return
			}
			t := &r.Model.Tensors[i]
			if !model.SameShape(t.Shape, w.Shape) {
				r.Fail("tensor %q must have the shape %v, got %v", w.Name, w.Shape, t.Shape)
				return
			}
			if !t.Type.Quantized() { // whose rows depend on the shape
				t.Shape = w.Shape
			}
		}
	}
	var surplus []string
	for _, t := range r.Model.Tensors {
		if !known[t.Name] {
			surplus = append(surplus, t.Name)
		}
	}
	if len(surplus) > 0 {
		r.Fail("%d tensors are surplus, such as %q: a model of this family has no such part", len(surplus), slices.Min(surplus))
	}
}
