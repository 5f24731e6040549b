package family

import (
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Names of what a ControlNet Union has beside a ControlNet. "transformer_layes" is its
// authors' spelling.
const (
	typeTable = model.ControlPrefix + "task_embedding"
	typeLayer = model.ControlPrefix + "transformer_layes."
	typeFlags = model.ControlPrefix + "control_add_embedding.linear_1.weight"
)

// maxTypes bounds the kinds of pictures.
const maxTypes = 64

// renameTypes gives PyTorch's fused projections names of layers.
func renameTypes(m *model.Model) {
	for i, t := range m.Tensors {
		for from, to := range map[string]string{".attn.in_proj_weight": ".attn.in_proj.weight", ".attn.in_proj_bias": ".attn.in_proj.bias"} {
			if rest, ok := strings.CutSuffix(t.Name, from); ok && strings.HasPrefix(t.Name, typeLayer) {
				m.Rename(i, rest+to)
			}
		}
	}
}

// typeWeights are the weights for kinds of pictures.
func (c ControlNetConfig) typeWeights(w *unetWeights) {
	if c.Types == 0 {
		return
	}
	width := w.width(0)
	w.add("task_embedding", c.Types, width)
	for i := range c.TypeLayers {
		layer := fmt.Sprintf("transformer_layes.%d.", i)
		w.linear(layer+"attn.in_proj", 3*width, width)
		w.linear(layer+"attn.out_proj", width, width)
		w.linear(layer+"mlp.c_fc", 4*width, width)
		w.linear(layer+"mlp.c_proj", width, 4*width)
		w.norm(layer+"ln_1", width)
		w.norm(layer+"ln_2", width)
	}
	w.linear("spatial_ch_projs", width, width)
	w.linear("control_add_embedding.linear_1", 4*c.UNet.ModelChannels, c.FlagWidth*c.Types)
	w.linear("control_add_embedding.linear_2", 4*c.UNet.ModelChannels, 4*c.UNet.ModelChannels)
}

// readTypes reads what a ControlNet Union has in addition.
func (c *ControlNetConfig) readTypes(r *Reader) {
	if !r.Has(typeTable) {
		return
	}
	c.Types = r.Shape(typeTable, 2)[0]
	c.TypeLayers = r.Count(typeLayer + "%d.attn.in_proj.weight")
	in := r.Shape(typeFlags, 2)[1]
	switch {
	case r.err != nil:
	case c.Types > maxTypes || c.TypeLayers < 1 || c.TypeLayers > 16:
		r.Fail("a ControlNet Union must have 1 to %d kinds of pictures and 1 to 16 layers, got %d and %d", maxTypes, c.Types, c.TypeLayers)
	case in%c.Types != 0 || in/c.Types < 2 || in/c.Types > 1<<12 || in/c.Types%2 != 0:
		r.Fail("tensor %q must take an even number of columns for each of %d kinds of pictures, got %d", typeFlags, c.Types, in)
	default:
		c.FlagWidth = in / c.Types
	}
}
