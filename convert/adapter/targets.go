package adapter

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
)

// Targets are the layers of a model by all names that files of changes have for them:
// those of the original layout and of the diffusers library, for each network.
type Targets struct {
	description string
	byName      map[Part]map[string]piece // normalized name → layer
	shapes      map[string][]int64        // by the canonical name of a tensor
	order       map[Part][]visited        // as cloneofsimo's program visits them
	context     int                       // width of the text
}

// visited is a layer in the order in which cloneofsimo's program visits a network.
type visited struct {
	layer string
	place []int
	geglu bool // older versions left it out
}

// NewTargets makes the index of a model's layers. Only Stable Diffusion's families and those whose
// configuration is adaptable have one.
func NewTargets(m *model.Model) (*Targets, error) {
	c, ok := m.Config.(*family.StableDiffusion)
	if !ok {
		if c, ok := m.Config.(interface{ Adaptable() family.Adaptable }); ok {
			return transformerTargets(m, c.Adaptable()), nil
		}
		return nil, noTargets(m)
	}
	t := &Targets{description: m.Description, byName: map[Part]map[string]piece{UNet: {}, Text: {}, Text2: {}},
		shapes: map[string][]int64{}, order: map[Part][]visited{}, context: c.UNet.ContextDim}
	diffusers := c.DiffusersNames()
	for _, tensor := range m.Tensors {
		name := tensor.Name
		layer := strings.TrimSuffix(strings.TrimSuffix(name, ".weight"), ".bias")
		var part Part
		var own string
		switch {
		case layer == name:
			continue
		case strings.HasPrefix(name, model.UNetPrefix):
			part, own = UNet, strings.TrimPrefix(layer, model.UNetPrefix)
		case c.Text.Prefix != "" && strings.HasPrefix(name, c.Text.Prefix):
			part, own = Text, strings.TrimPrefix(layer, c.Text.Prefix)
		case c.Text2.Prefix != "" && strings.HasPrefix(name, c.Text2.Prefix):
			part, own = Text2, strings.TrimPrefix(layer, c.Text2.Prefix)
		default:
			continue
		}
		t.shapes[name] = tensor.Shape
		t.byName[part][normalized(part, own)] = piece{layer: layer}
		if _, library, ok := diffusers(name); ok {
			library = strings.TrimSuffix(strings.TrimSuffix(library, ".weight"), ".bias")
			t.byName[part][normalized(part, library)] = piece{layer: layer}
			if strings.HasSuffix(name, ".weight") {
				t.visit(part, library, layer)
			}
		}
	}
	for _, all := range t.order {
		slices.SortFunc(all, func(a, b visited) int { return slices.Compare(a.place, b.place) })
	}
	return t, nil
}

var (
	visitedUNet = regexp.MustCompile(`^(down_blocks|up_blocks|mid_block)\.?(\d*)\.attentions\.(\d+)\.transformer_blocks\.(\d+)\.(.*)$`)
	visitedText = regexp.MustCompile(`^(?:text_model\.)?encoder\.layers\.(\d+)\.self_attn\.(.*)$`)

	// In the order of the modules' attributes, in the versions of the diffusers and
	// transformers libraries that cloneofsimo's program was made for.
	visitedBlocks = []string{"down_blocks", "up_blocks", "mid_block"}
	visitedLayers = []string{"attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "ff.net.0.proj",
		"attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"}
	visitedHeads = []string{"k_proj", "v_proj", "q_proj", "out_proj"}
)

// visit puts a layer into the order of cloneofsimo's program, if that visits it.
func (t *Targets) visit(part Part, library, layer string) {
	number := func(s string) int {
		n, _ := strconv.Atoi(s)
		return n
	}
	v := visited{layer: layer}
	if m := visitedUNet.FindStringSubmatch(library); part == UNet && m != nil {
		at := slices.Index(visitedLayers, m[5])
		if at < 0 {
			return
		}
		v.place = []int{slices.Index(visitedBlocks, m[1]), number(m[2]), number(m[3]), number(m[4]), at}
		v.geglu = m[5] == "ff.net.0.proj"
	} else if m := visitedText.FindStringSubmatch(library); part.IsText() && m != nil {
		v.place = []int{number(m[1]), slices.Index(visitedHeads, m[2])}
	} else {
		return
	}
	t.order[part] = append(t.order[part], v)
}

// list are the layers of a network in the order of cloneofsimo's program, of which a
// file has n; nil if they are as many neither with nor without those of GEGLU.
func (t *Targets) list(part Part, n int) []visited {
	all := t.order[part]
	if len(all) == n {
		return all
	}
	all = slices.DeleteFunc(slices.Clone(all), func(v visited) bool { return v.geglu })
	if len(all) == n {
		return all
	}
	return nil
}
