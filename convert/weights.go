package convert

import (
	"fmt"
	"slices"
)

// Weight is a weight that a network of some configuration has.
type Weight struct {
	Name  string  // canonical
	Shape []int64 // as in the original layout
}

// wants collects the weights of a network, by the layers that they belong to.
type wants struct {
	prefix string
	all    []Weight
}

func (w *wants) add(name string, shape ...int) {
	s := make([]int64, len(shape))
	for i, d := range shape {
		s[i] = int64(d)
	}
	w.all = append(w.all, Weight{w.prefix + name, s})
}

// linear is a matrix and its bias.
func (w *wants) linear(name string, out, in int) {
	w.add(name+".weight", out, in)
	w.add(name+".bias", out)
}

// conv is a convolution with a square kernel.
func (w *wants) conv(name string, out, in, kernel int) {
	w.add(name+".weight", out, in, kernel, kernel)
	w.add(name+".bias", out)
}

func (w *wants) norm(name string, channels int) {
	w.add(name+".weight", channels)
	w.add(name+".bias", channels)
}

// complete checks that the model has all weights of its networks, in their
// shapes, and no others. It gives the tensors the original layout's shapes.
func (m *Model) complete() error {
	known := map[string]bool{scheduleName: true}
	for _, prefix := range []string{m.Text.Prefix, m.Text2.Prefix} {
		known[prefix+openCLIPProjection], known[prefix+projection] = true, true
	}
	for _, all := range [][]Weight{m.Text.Weights(), m.Text2.Weights(), m.UNet.Weights(), m.VAE.Weights()} {
		for _, w := range all {
			known[w.Name] = true
			i, ok := m.index[w.Name]
			if !ok {
				return fmt.Errorf("tensor %q is missing; one of shape %v is wanted", w.Name, w.Shape)
			}
			t := &m.Tensors[i]
			if !sameButForOnes(t.Shape, w.Shape) {
				return fmt.Errorf("tensor %q has the shape %v; %v is wanted", w.Name, t.Shape, w.Shape)
			}
			if !t.Type.Quantized() { // whose rows depend on the shape
				t.Shape = w.Shape
			}
		}
	}
	var surplus []string
	for _, t := range m.Tensors {
		if !known[t.Name] {
			surplus = append(surplus, t.Name)
		}
	}
	if len(surplus) > 0 {
		return fmt.Errorf("%d tensors are surplus, such as %q: a model of this family has no such part", len(surplus), slices.Min(surplus))
	}
	return nil
}

// sameButForOnes compares shapes without their ones: a matrix and a 1x1
// convolution hold the same numbers in the same order, and GGUF files leave
// out leading ones.
func sameButForOnes(a, b []int64) bool {
	one := func(d int64) bool { return d == 1 }
	return slices.Equal(slices.DeleteFunc(slices.Clone(a), one), slices.DeleteFunc(slices.Clone(b), one))
}
