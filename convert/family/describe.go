package family

import (
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Describer finds properties of a model in the names and shapes of its tensors.
type Describer struct {
	Model *model.Model
	words []string // for people: "dev", "16 latent channels"
}

// Describe sets the model's properties, and adds words to its description.
func Describe(m *model.Model) {
	f := Lookup(m.Family)
	if f == nil || f.Properties == nil {
		return
	}
	d := &Describer{Model: m}
	f.Properties(d)
	if len(d.words) > 0 {
		m.Description += " (" + strings.Join(d.words, ", ") + ")"
	}
}

// Property notes a number, if it is more than 0.
func (d *Describer) Property(name string, value int) {
	if value > 0 {
		d.Model.Properties = append(d.Model.Properties, model.Property{Name: name, Value: value})
	}
}

// Say adds words to the description.
func (d *Describer) Say(text string) {
	if text != "" {
		d.words = append(d.words, text)
	}
}

// Tensor finds a tensor by the end of its name.
func (d *Describer) Tensor(suffix string) (model.Tensor, bool) {
	if t, ok := d.Model.Tensor(suffix); ok {
		return t, true
	}
	for _, t := range d.Model.Tensors {
		if rest, ok := strings.CutSuffix(t.Name, suffix); ok && strings.HasSuffix(rest, ".") {
			return t, true
		}
	}
	return model.Tensor{}, false
}

// Has reports whether there is a tensor whose name ends so.
func (d *Describer) Has(suffix string) bool {
	_, ok := d.Tensor(suffix)
	return ok
}

// Dim is a dimension of the shape of a tensor whose name ends so; 0 if there is
// none.
func (d *Describer) Dim(suffix string, i int) int {
	t, ok := d.Tensor(suffix)
	if !ok {
		return 0
	}
	return dimension(t, i)
}

func dimension(t model.Tensor, i int) int {
	if i >= len(t.Shape) || t.Shape[i] > 1<<30 {
		return 0
	}
	return int(t.Shape[i])
}

// Blocks is one more than the highest number after a prefix, which may begin at
// any level of a name.
func (d *Describer) Blocks(prefix string) (n int) {
	return d.BlocksOf(prefix, func(string) bool { return true })
}

// BlocksOf is Blocks of the tensors with some names.
func (d *Describer) BlocksOf(prefix string, counts func(name string) bool) (n int) {
	for _, t := range d.Model.Tensors {
		at := strings.Index(t.Name, prefix)
		if at < 0 || !counts(t.Name) || at > 0 && t.Name[at-1] != '.' {
			continue
		}
		digits, _, _ := strings.Cut(t.Name[at+len(prefix):], ".")
		if i, err := strconv.ParseUint(digits, 10, 16); err == nil {
			n = max(n, int(i)+1)
		}
	}
	return n
}

// textWidths name the models whose text encoders have a width, and whose UNets
// attend to as many columns.
var textWidths = map[int]string{768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 1280: "Stable Diffusion XL's refiner", 2048: "Stable Diffusion XL"}
