package adapter

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/read"
)

// Open opens a file of changes: safetensors, or a PyTorch checkpoint, whose code is never
// run. Every tensor must be understood, finite, and complete with the others of its layer.
func Open(path string) (_ *File, err error) {
	defer model.Recovered(path, &err)
	holder, all, err := read.Stored(path)
	if err != nil {
		return nil, err
	}
	f := &File{Path: path, Name: nameOf(path), Alias: holder.Metadata[keyAlias], Metadata: holder.Metadata, holder: holder}
	if err := f.read(all); err != nil {
		holder.Close()
		return nil, err
	}
	f.Hash = hashOf(holder)
	if err := f.Intact(); err != nil {
		holder.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func nameOf(path string) string {
	name := filepath.Base(path)
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// hashOf is what AUTOMATIC1111 knows a LoRA by: the beginning of the SHA-256 of a
// safetensors file's bytes after its header, of other files of all bytes.
func hashOf(m *model.Model) string {
	files := m.Files()
	if len(files) == 0 {
		return ""
	}
	data := files[0].Data
	if m.Format == "safetensors" && len(data) >= 8 {
		if n := binary.LittleEndian.Uint64(data); n <= uint64(len(data)-8) {
			data = data[8+n:]
		}
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))[:12]
}

// group is the tensors of one layer.
type group struct {
	name    string // of the layer
	part    Part
	key     string
	number  int
	factors map[string]model.Tensor
}

// read sorts tensors by layers and finds each layer's kind.
func (f *File) read(all []model.Stored) error {
	all, bundled, err := takeBundled(all)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	f.Embeddings = bundled
	groups, unknown := f.groups(all)
	if len(unknown) > 0 {
		slices.Sort(unknown)
		if 2*len(unknown) > len(all) { // it is something else
			return fmt.Errorf("%s: %d of its %d tensors are of no known kind of LoRA (%.200q): %w", f.Path, len(unknown), len(all), unknown[:min(3, len(unknown))], model.ErrUnrecognized)
		}
		return fmt.Errorf("%s: %d of its %d tensors are of no known kind of LoRA: %.200q", f.Path, len(unknown), len(all), unknown[:min(3, len(unknown))])
	}
	peft, err := peftScales(f.Metadata)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	for _, g := range groups {
		modules, err := f.modules(g, peft)
		if err != nil {
			return err
		}
		f.Modules = append(f.Modules, modules...)
	}
	if len(f.Modules) == 0 {
		return fmt.Errorf("%s: it has no tensors of a LoRA: %w", f.Path, model.ErrUnrecognized)
	}
	return nil
}

// groups sorts tensors by layers, in the order of the file. unknown are the names of those
// that no scheme knows.
func (f *File) groups(all []model.Stored) (groups []*group, unknown []string) {
	if isList(all) {
		return listed(all), nil
	}
	onInput := map[string]bool{}
	for _, t := range all {
		if layer, ok := strings.CutSuffix(t.Name, ".on_input"); ok {
			onInput[layer] = true
		}
	}
	byName := map[string]*group{}
	for _, t := range all {
		layer, role, ok := leafOf(t.Name)
		if own, isWeight := strings.CutSuffix(t.Name, ".weight"); !ok && isWeight && onInput[own] { // (IA)³
			layer, role, ok = own, "weight", true
		}
		if slices.ContainsFunc(unused, func(end string) bool { return strings.HasSuffix(t.Name, end) }) {
			continue
		}
		if !ok {
			unknown = append(unknown, t.Name)
			continue
		}
		g := byName[layer]
		if g == nil {
			g = &group{name: layer, factors: map[string]model.Tensor{}}
			known := false
			for _, s := range schemes {
				var name string
				if g.part, name, g.number, known = s.layer(layer); known {
					g.key = normalized(g.part, name)
					break
				}
			}
			if !known {
				unknown = append(unknown, t.Name)
				continue
			}
			byName[layer] = g
			groups = append(groups, g)
		}
		if role == magnitude {
			role, t.Shape = dora, []int64{t.Elements()}
		}
		g.factors[role] = numbers(t)
	}
	return groups, unknown
}

// leafOf splits a tensor's name into its layer's and its role there.
func leafOf(name string) (layer, role string, ok bool) {
	for _, l := range leaves {
		if layer, ok := strings.CutSuffix(name, l.end); ok && layer != "" {
			return layer, l.role, true
		}
	}
	return "", "", false
}

// isList tells cloneofsimo's older files, which are a list of matrices: of each layer the
// one with the rank as columns, then the one with it as rows.
func isList(all []model.Stored) bool {
	return len(all) > 0 && len(all)%2 == 0 && !slices.ContainsFunc(all, func(t model.Stored) bool {
		n, err := strconv.Atoi(t.Name)
		return err != nil || n < 0 || n >= len(all)
	})
}

func listed(all []model.Stored) (groups []*group) {
	groups = make([]*group, len(all)/2)
	for _, t := range all {
		n, _ := strconv.Atoi(t.Name)
		g := groups[n/2]
		if g == nil {
			g = &group{name: strconv.Itoa(n / 2), number: n/2 + 1, factors: map[string]model.Tensor{}}
			groups[n/2] = g
		}
		g.factors[[]string{"up", "down"}[n%2]] = numbers(t)
	}
	return slices.DeleteFunc(groups, func(g *group) bool { return g == nil })
}

// numbers is a tensor whose elements can be read as numbers: whole ones of few elements,
// such as alpha in some files, become float32.
func numbers(t model.Stored) model.Tensor {
	if t.Type.Float() {
		return t.Tensor
	}
	t.Tensor.Type = wholeNumbers
	if n := t.Elements(); n == 1 {
		if v, ok := whole(t); ok {
			return floatTensor(t.Name, t.Shape, v)
		}
	}
	return t.Tensor
}

// modules are a layer's changes: of its weight, its bias, or both.
func (f *File) modules(g *group, peft scales) (all []Module, err error) {
	for role, t := range g.factors {
		if t.Type == wholeNumbers || slices.Contains(t.Shape, 0) {
			return nil, fmt.Errorf("%s: tensor %q (%s) must hold floating-point numbers, and have no dimension of 0; its shape is %v", f.Path, t.Name, role, t.Shape)
		}
	}
	for _, bias := range []string{"diff_b", "b_norm"} {
		if t, ok := g.factors[bias]; ok {
			delete(g.factors, bias)
			m := Module{Name: g.name, Part: g.part, key: g.key, kind: &full, bias: true, factors: map[string]model.Tensor{"diff": t}}
			if bias == "b_norm" {
				m.kind, m.factors = &norm, map[string]model.Tensor{"w_norm": t}
			}
			all = append(all, m)
		}
	}
	if _, alone := g.factors[alpha]; len(g.factors) > 0 && (!alone || len(g.factors) > 1 || len(all) == 0) {
		m := Module{Name: g.name, Part: g.part, key: g.key, number: g.number, factors: g.factors}
		var missing string
		if m.kind, missing = kindOf(m.hasRole); m.kind == nil {
			return nil, fmt.Errorf("%s: %s has %s and not %q, which goes with it", f.Path, g.name, quoted(g.factors), missing)
		}
		for role := range m.factors {
			if !slices.Contains(m.kind.Roles, role) && !slices.Contains(m.kind.May, role) {
				return nil, fmt.Errorf("%s: %s has %s; %s takes no %q", f.Path, g.name, quoted(g.factors), m.kind.Name, role)
			}
		}
		if m.alpha, err = scalar(m.factors[alpha]); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		m.scale = peft.of(m)
		all = append(all, m)
	}
	for _, m := range all {
		if err := f.check(m); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// hasRole is has, and knows what tells kinds apart besides.
func (m Module) hasRole(role string) bool {
	switch role {
	case lokr.Roles[0]:
		for r := range m.factors {
			if strings.HasPrefix(r, "lokr_") {
				return true
			}
		}
		return false
	case boft.Roles[1]:
		return len(m.factors["oft_blocks"].Shape) == 4
	}
	return m.has(role)
}

func quoted(factors map[string]model.Tensor) string {
	var names []string
	for role := range factors {
		names = append(names, strconv.Quote(role))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// scalar is the number that a tensor of one element holds; 0 of none.
func scalar(t model.Tensor) (float64, error) {
	if t.Name == "" {
		return 0, nil
	}
	if t.Elements() != 1 {
		return 0, fmt.Errorf("tensor %q must be one number, got the shape %v", t.Name, t.Shape)
	}
	x, err := floats(t)
	if err != nil {
		return 0, err
	}
	return float64(x[0]), nil
}
