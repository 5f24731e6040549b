package layout

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// scoreModule is a module of score_sde's networks, which number all in one list.
var scoreModule = regexp.MustCompile(`^(?:module\.)?all_modules\.(\d{1,4})\.(.+)$`)

// scoreKinds tell what a module is by one of its tensors.
var scoreKinds = []struct{ tensor, kind string }{
	{"GroupNorm_1.weight", "block"}, {"NIN_0.W", "attention"}, {"Conv2d_0.weight", "pyramid"}, {"Conv_0.weight", "combine"}, {"W", "frequencies"},
}

type scoreList struct {
	modules []map[string]model.Stored
	at      int
	names   map[int]string // the canonical names of modules
	err     error
}

// kind is that of the module at a place.
func (l *scoreList) kind(at int) string {
	if at >= len(l.modules) {
		return "the end"
	}
	for _, k := range scoreKinds {
		if _, ok := l.modules[at][k.tensor]; ok {
			return k.kind
		}
	}
	return cmp.Or(map[int]string{1: "norm", 2: "dense", 4: "convolution"}[len(l.modules[at]["weight"].Shape)], "unknown")
}

// next gives the next module, which must be of a kind, its canonical name.
func (l *scoreList) next(kind, name string) {
	if got := l.kind(l.at); l.err == nil && got != kind {
		l.err = fmt.Errorf("module %d of a score-based model is %s, not %s: %w", l.at, got, kind, model.ErrUnrecognized)
	}
	l.names[l.at] = name
	l.at++
}

// resizes reports whether the module at a place is a block that changes the size: such
// a one has a convolution in its skip, though its channels stay as many.
func (l *scoreList) resizes(at int) bool {
	if l.kind(at) != "block" {
		return false
	}
	first, skip := l.modules[at]["Conv_0.weight"], l.modules[at]["Conv_2.weight"]
	return len(first.Shape) == 4 && skip.Name != "" && first.Shape[0] == first.Shape[1]
}

// attention takes the module if it is one of attention.
func (l *scoreList) attention(name string) {
	if l.kind(l.at) == "attention" {
		l.next("attention", name)
	}
}

// walk names all modules in the order in which the network has them.
func (l *scoreList) walk() {
	if l.kind(0) == "frequencies" {
		l.next("frequencies", "time_embed.frequencies")
	}
	l.next("dense", "time_embed.0")
	l.next("dense", "time_embed.2")
	l.next("convolution", "input_blocks.0.0")
	levels, blocks, n := 1, 0, 1
	for l.err == nil { // down
		before := n
		for i := 0; blocks == 0 || i < blocks; i++ {
			if l.resizes(l.at) || l.kind(l.at) != "block" {
				break
			}
			l.next("block", fmt.Sprintf("input_blocks.%d.0", n))
			l.attention(fmt.Sprintf("input_blocks.%d.1", n))
			n++
		}
		if blocks == 0 {
			blocks = n - 1
		}
		if l.kind(l.at) == "combine" && blocks >= 1 && n-before == blocks { // the DDPM's convolution
			l.next("combine", fmt.Sprintf("input_blocks.%d.0.op", n))
			n++
			levels++
			continue
		}
		if !l.resizes(l.at) || blocks < 1 {
			break
		}
		l.next("block", fmt.Sprintf("input_blocks.%d.0", n))
		n++
		if kind := l.kind(l.at); kind == "combine" || kind == "pyramid" {
			l.next(kind, fmt.Sprintf("input_pyramid.%d", levels))
		}
		levels++
	}
	l.next("block", "middle_block.0")
	l.next("attention", "middle_block.1")
	l.next("block", "middle_block.2")
	l.up(levels, blocks)
	if l.kind(l.at) == "norm" {
		l.next("norm", "out.0")
		l.next("convolution", "out.2")
	}
	if l.err == nil && l.at != len(l.modules) {
		l.err = fmt.Errorf("a score-based model with %d modules too many: %w", len(l.modules)-l.at, model.ErrUnrecognized)
	}
}

// up names the modules of the way up.
func (l *scoreList) up(levels, blocks int) {
	n, pyramid := 0, false
	for level := levels - 1; level >= 0 && l.err == nil; level-- {
		for range blocks + 1 {
			l.next("block", fmt.Sprintf("output_blocks.%d.0", n))
			n++
		}
		after := 1
		if l.kind(l.at) == "attention" {
			after = 2
			l.attention(fmt.Sprintf("output_blocks.%d.1", n-1))
		}
		pyramid = pyramid || level > 0 && l.kind(l.at) == "norm" // at each level, or nowhere
		if pyramid {
			l.next("norm", fmt.Sprintf("output_pyramid.%d.0", level))
			l.next("convolution", fmt.Sprintf("output_pyramid.%d.2", level))
		}
		switch {
		case level > 0 && l.kind(l.at) == "combine": // the DDPM's convolution
			l.next("combine", fmt.Sprintf("output_blocks.%d.%d.conv", n-1, after))
		case level > 0:
			l.next("block", fmt.Sprintf("output_blocks.%d.%d", n-1, after))
		}
	}
}

var scoreBlock = map[string]string{"GroupNorm_0": "in_layers.0", "Conv_0": "in_layers.2", "Dense_0": "emb_layers.1",
	"GroupNorm_1": "out_layers.0", "Conv_1": "out_layers.3", "Conv_2": "skip_connection"}

// ScorePixel gives tensors of the networks of score-based models (Song et al. 2021,
// score_sde) guided diffusion's names and forms.
func ScorePixel(all []model.Stored) ([]model.Stored, error) {
	l := &scoreList{names: map[int]string{}}
	for _, t := range all {
		m := scoreModule.FindStringSubmatch(t.Name)
		if m == nil {
			if t.Name != "sigmas" && t.Name != "module.sigmas" { // which follow from the process
				return nil, fmt.Errorf("tensor %q is no part of a score-based model", t.Name)
			}
			continue
		}
		at, _ := strconv.Atoi(m[1])
		for at >= len(l.modules) {
			l.modules = append(l.modules, map[string]model.Stored{})
		}
		l.modules[at][m[2]] = t
	}
	if l.walk(); l.err != nil {
		return nil, l.err
	}
	var out []model.Stored
	for at, module := range l.modules {
		more, err := scoreTensors(l.kind(at), l.names[at], module)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// scoreTensors are those of a module under its canonical name.
func scoreTensors(kind, name string, module map[string]model.Stored) (out []model.Stored, err error) {
	if kind == "attention" {
		return scoreAttention(name, module)
	}
	for _, inner := range slices.Sorted(maps.Keys(module)) {
		t := module[inner]
		layer, leaf, nested := strings.Cut(inner, ".")
		switch {
		case kind == "frequencies":
			t.Name = name
		case !nested: // weight or bias
			t.Name = name + "." + inner
		case kind == "block" && layer == "NIN_0": // of the DDPM: a matrix over channels in place of a convolution
			if t, err = scoreSkip(name, leaf, t); err != nil {
				return nil, err
			}
		case kind == "block":
			to, ok := scoreBlock[layer]
			if !ok {
				return nil, fmt.Errorf("tensor %q is no part of a score-based model", t.Name)
			}
			t.Name = name + "." + to + "." + leaf
		default: // a convolution in a module of its own
			t.Name = name + "." + leaf
		}
		out = append(out, t)
	}
	return out, nil
}

// scoreSkip is the layer in the skip of a block of the DDPM's, as a 1x1 convolution.
func scoreSkip(name, leaf string, t model.Stored) (model.Stored, error) {
	switch leaf {
	case "W":
		out, err := transposed(t)
		if err == nil {
			out.Name, out.Shape = name+".skip_connection.weight", append(out.Shape, 1, 1)
		}
		return out, err
	case "b":
		t.Name = name + ".skip_connection.bias"
		return t, nil
	}
	return t, fmt.Errorf("tensor %q is no part of a score-based model", t.Name)
}

// IsScoreDDPM reports whether a file of score_sde's holds the DDPM's network and not one of
// its own: its modules for another size are convolutions, and none is a block.
func IsScoreDDPM(all []model.Stored) bool {
	blocks, matrices, first := map[string]bool{}, map[string]bool{}, map[string]bool{}
	convolves := false
	for _, t := range all {
		m := scoreModule.FindStringSubmatch(t.Name)
		if m == nil {
			continue
		}
		switch m[2] {
		case "GroupNorm_1.weight":
			blocks[m[1]] = true
		case "NIN_0.W":
			matrices[m[1]] = true
		case "Conv_0.weight":
			first[m[1]] = len(t.Shape) == 4 && t.Shape[2] == 3
		}
	}
	for at, three := range first {
		convolves = convolves || three && !blocks[at]
	}
	for at := range blocks {
		convolves = convolves || matrices[at]
	}
	return convolves
}

// scoreAttention is a block of attention, whose matrices are transposed.
func scoreAttention(name string, module map[string]model.Stored) (out []model.Stored, err error) {
	for i, to := range []string{"weight", "bias"} {
		leaf := []string{"W", "b"}[i]
		pieces := make([]model.Stored, 4)
		for k := range pieces {
			t, ok := module[fmt.Sprintf("NIN_%d.%s", k, leaf)]
			if !ok {
				return nil, fmt.Errorf("piece %d of the attention %q is missing", k, name)
			}
			if i == 0 {
				if t, err = transposed(t); err != nil {
					return nil, err
				}
			}
			pieces[k] = t
		}
		qkv, err := join(name+".qkv."+to, pieces[:3])
		if err != nil {
			return nil, err
		}
		pieces[3].Name = name + ".proj_out." + to
		norm, ok := module["GroupNorm_0."+to]
		if !ok {
			return nil, fmt.Errorf("the normalisation of the attention %q is missing", name)
		}
		norm.Name = name + ".norm." + to
		out = append(out, qkv, pieces[3], norm)
	}
	return out, nil
}

// transposed is a matrix with rows as columns.
func transposed(t model.Stored) (model.Stored, error) {
	t.Tensor = t.InOrder()
	if len(t.Shape) != 2 || !t.Type.Float() || t.Parts != nil || t.Scale != nil {
		return t, fmt.Errorf("tensor %q must be a matrix of floating-point numbers, got %s of shape %v", t.Name, t.DType, t.Shape)
	}
	rows, columns, size := int(t.Shape[0]), int(t.Shape[1]), int(t.Type.BlockBytes())
	out := make([]byte, 0, len(t.Bytes))
	for column := range columns {
		for row := range rows {
			at := (row*columns + column) * size
			out = append(out, t.Bytes[at:at+size]...)
		}
	}
	t.Shape, t.Bytes = []int64{t.Shape[1], t.Shape[0]}, out
	return t, nil
}
