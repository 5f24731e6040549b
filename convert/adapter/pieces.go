package adapter

import (
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
)

// rows are those of a weight that a change is of: the diffusers library has some of a model's layers in pieces. The zero
// value is all of them.
type rows struct{ first, count int64 }

// piece is a layer by one of its names, or some of its rows.
type piece struct {
	layer string // canonical; "" for none
	rows  rows
}

// transformerTargets makes the index of a model whose denoiser is a transformer: by the canonical names, and by those of the
// diffusers library, whose pieces of fused layers are rows of these.
func transformerTargets(m *model.Model, of family.Adaptable) *Targets {
	t := &Targets{description: m.Description, byName: map[Part]map[string]piece{UNet: {}, Text: {}, Text2: {}},
		shapes: map[string][]int64{}, order: map[Part][]visited{}}
	for _, tensor := range m.Tensors {
		layer := strings.TrimSuffix(strings.TrimSuffix(tensor.Name, ".weight"), ".bias")
		if layer == tensor.Name {
			continue
		}
		text, isText := strings.CutPrefix(layer, of.Text)
		text2, isText2 := strings.CutPrefix(layer, of.Text2)
		own, isOwn := strings.CutPrefix(layer, of.Denoiser)
		switch {
		case of.Text2 != "" && isText2:
			t.shapes[tensor.Name] = tensor.Shape
			t.byName[Text2][normalized(Text2, text2)] = piece{layer: layer}
		case of.Text != "" && isText:
			t.shapes[tensor.Name] = tensor.Shape
			for _, name := range []string{text, "model." + text} {
				t.byName[Text][normalized(Text, name)] = piece{layer: layer}
			}
		case isOwn && !strings.HasPrefix(own, "text_encoders.") && !strings.HasPrefix(own, model.VAEPrefix):
			t.shapes[tensor.Name] = tensor.Shape
			t.byName[UNet][normalized(UNet, own)] = piece{layer: layer}
			if strings.HasSuffix(tensor.Name, ".weight") {
				t.addPieces(of, layer, own, tensor.Shape)
			}
		}
	}
	return t
}

// addPieces adds a layer by the diffusers library's names.
func (t *Targets) addPieces(of family.Adaptable, layer, own string, shape []int64) {
	names := of.Pieces(own + ".weight")
	if len(names) == 0 {
		return
	}
	first := int64(0)
	for i, name := range names {
		part := piece{layer: layer}
		if n := int64(len(names)); n > 1 {
			part.rows = rows{first, shape[0] / n}
			if n > 3 && len(shape) > 1 { // queries, keys and values, and what is wider
				part.rows.count = shape[1]
			}
			if i == len(names)-1 {
				part.rows.count = shape[0] - first
			}
			first += part.rows.count
		}
		t.byName[UNet][normalized(UNet, strings.TrimSuffix(name, ".weight"))] = part
	}
}

// of is the shape of some rows of a weight.
func (r rows) of(shape []int64) []int64 {
	if r.count == 0 || len(shape) == 0 {
		return shape
	}
	return append([]int64{r.count}, shape[1:]...)
}

// in is the part of a weight's elements that a change is of.
func (c Change) in(weight []float32) []float32 {
	if c.rows.count == 0 {
		return weight
	}
	each := int64(inner(c.Shape) * kernel(c.Shape))
	return weight[c.rows.first*each:][:c.rows.count*each]
}

// Row is the first of the weight's rows that the change is of.
func (c Change) Row() int { return int(c.rows.first) }

// overlaps says which other change is of the same rows of a weight; "" if none is.
func overlaps(seen map[string][]Change, c Change) string {
	for _, other := range seen[c.Weight] {
		if c.rows.count == 0 || other.rows.count == 0 || c.rows.first < other.rows.first+other.rows.count && other.rows.first < c.rows.first+c.rows.count {
			return other.Name
		}
	}
	seen[c.Weight] = append(seen[c.Weight], c)
	return ""
}

func noTargets(m *model.Model) error {
	return fmt.Errorf("%s: %s takes no LoRAs", m.Path, m.Description)
}
