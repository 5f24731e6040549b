package adapter

import (
	"fmt"
	"slices"
	"strings"
)

// Match finds the layers that a file changes among those of a model. unmatched are the
// names, as in the file, of layers that the model does not have. It is an error if it has
// none of them, or if factors do not have the shapes that a layer needs.
func (f *File) Match(t *Targets) (changes []Change, unmatched []string, err error) {
	counts := map[Part]int{}
	for _, m := range f.Modules {
		if m.number > 0 {
			counts[m.Part]++
		}
	}
	seen := map[string][]Change{}
	for _, m := range f.Modules {
		count := counts[m.Part]
		if m.Part == "" { // a list of one network, by the number of its layers
			m.Part = UNet
			if t.list(UNet, count) == nil && t.list(Text, count) != nil {
				m.Part = Text
			}
		}
		layer, err := f.layer(m, t, count)
		if err != nil {
			return nil, nil, err
		}
		c := Change{Module: m, Weight: layer.layer + ".weight", rows: layer.rows, file: f}
		if m.bias {
			c.Weight = layer.layer + ".bias"
		}
		var ok bool
		if c.Shape, ok = t.shapes[c.Weight]; layer.layer == "" || !ok {
			unmatched = append(unmatched, m.Name)
			continue
		}
		c.Shape = c.rows.of(c.Shape)
		if other := overlaps(seen, c); other != "" {
			return nil, nil, c.errorf("and %s both change %s", other, c.Weight)
		}
		if err := c.check(); err != nil {
			return nil, nil, f.explained(err, t)
		}
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return nil, unmatched, f.explained(fmt.Errorf("%s: none of its %d layers is in the model, such as %s",
			f.Path, len(f.Modules), strings.Join(unmatched[:min(3, len(unmatched))], ", ")), t)
	}
	slices.Sort(unmatched)
	return changes, unmatched, nil
}

// explained says what the file was made for, if that is another model.
func (f *File) explained(err error, t *Targets) error {
	if base := f.Info().Base; base != "" {
		return fmt.Errorf("%w; the file is for %s, the model is %s", err, base, t.description)
	}
	return fmt.Errorf("%w; the model is %s", err, t.description)
}

// layer is a module's layer; its name is "" if the model has none.
func (f *File) layer(m Module, t *Targets, count int) (piece, error) {
	if m.number == 0 {
		return t.byName[m.Part][m.key], nil
	}
	list := t.list(m.Part, count)
	if list == nil {
		return piece{}, fmt.Errorf("%s: it has a list of %d layers without names; of the model's attention there are %d", f.Path, count, len(t.order[m.Part]))
	}
	if m.number > len(list) {
		return piece{}, fmt.Errorf("%s: %s: the layers must be numbered from 0 to %d", f.Path, m.Name, len(list)-1)
	}
	return piece{layer: list[m.number-1].layer}, nil
}

func (c Change) check() error {
	if len(c.Shape) == 0 {
		return c.errorf("the weight %s has no shape", c.Weight)
	}
	if c.kind.check != nil {
		if err := c.kind.check(c); err != nil {
			return err
		}
	}
	if len(c.Shape) == 1 && c.kind != &full && c.kind != &norm {
		return c.errorf("%s is of vectors no change, such as %s of the shape %v", c.kind.Name, c.Weight, c.Shape)
	}
	if c.has(dora) {
		return c.checkDoRA()
	}
	return nil
}
