package layout

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Fusion is a layer of the original layout that the diffusers library has in
// pieces: their rows one after another are the layer's. Most layers have one
// piece and differ in the name alone. In all names "#" stands for the number of
// a block.
type Fusion struct {
	LDM       string   // the original name; "" for a tensor that the library alone has
	Diffusers []string // the library's names of the pieces

	// Swapped says that the layer gives a shift and a scale, halves of its rows
	// that the library has in the other order. SwappedWithout limits that to
	// blocks that lack a tensor.
	Swapped        bool
	SwappedWithout string
}

// One is a layer that differs in its name alone.
func One(ldmName, diffusersName string) Fusion {
	return Fusion{LDM: ldmName, Diffusers: []string{diffusersName}}
}

// piece is a place in a fusion.
type piece struct {
	*Fusion
	index int
}

// byPiece finds the layers of a table by the diffusers library's names.
func byPiece(table []Fusion) map[string]piece {
	all := map[string]piece{}
	for i := range table {
		for k, name := range table[i].Diffusers {
			all[name] = piece{&table[i], k}
		}
	}
	return all
}

// numbered splits a block's number off a name: "a.12.b.0" is "a.#.b.0" and "12".
func numbered(name string) (pattern, number string) {
	first, rest, ok := strings.Cut(name, ".")
	number, after, more := strings.Cut(rest, ".")
	if _, err := strconv.ParseUint(number, 10, 16); !ok || !more || err != nil {
		return name, ""
	}
	return first + ".#." + after, number
}

// find returns the layer that a tensor of the diffusers library belongs to, and
// the layer's name in the original layout, which is empty for a tensor that the
// library alone has.
func find(table map[string]piece, name string) (p piece, ldmName string, ok bool) {
	cut := strings.LastIndexByte(name, '.')
	if cut < 0 {
		return p, "", false
	}
	pattern, number := numbered(name)
	patternCut := strings.LastIndexByte(pattern, '.')
	for _, try := range []struct{ diffusersName, leaf string }{
		{name, ""}, {name[:cut], name[cut:]}, {pattern, ""}, {pattern[:patternCut], pattern[patternCut:]},
	} {
		if p, ok = table[try.diffusersName]; ok {
			if p.LDM == "" {
				return p, "", true
			}
			return p, strings.Replace(p.LDM, "#", number, 1) + try.leaf, true
		}
	}
	return p, "", false
}

// Pieces is the inverse of [Fuse] for one name: what the diffusers library calls
// the pieces of a tensor of the original layout, in the order of their rows. nil
// for a name that is not in the table.
func Pieces(table []Fusion, name string) []string {
	pattern, number := numbered(name)
	for _, f := range table {
		for _, have := range []string{name, pattern} {
			rest, ok := strings.CutPrefix(have, f.LDM)
			if f.LDM == "" || !ok || rest != "" && (rest[0] != '.' || strings.Count(rest, ".") > 1) {
				continue
			}
			all := make([]string, len(f.Diffusers))
			for i, diffusersName := range f.Diffusers {
				all[i] = strings.Replace(diffusersName, "#", number, 1) + rest
			}
			return all
		}
	}
	return nil
}

// Fuse puts the tensors of the original layout together from those of the
// diffusers library. Tensors that are not in the table keep their names.
func Fuse(all []model.Stored, layers []Fusion) ([]model.Stored, error) {
	table := byPiece(layers)
	present := make(map[string]bool, len(all))
	for _, t := range all {
		present[t.Name] = true
	}
	type group struct {
		piece
		pieces []model.Stored
		number string
	}
	groups := map[string]*group{}
	var order []string
	var out []model.Stored
	for _, t := range all {
		p, name, ok := find(table, t.Name)
		switch {
		case !ok:
			out = append(out, t)
			continue
		case name == "":
			continue
		case groups[name] == nil:
			_, number := numbered(t.Name)
			groups[name] = &group{piece: p, pieces: make([]model.Stored, len(p.Diffusers)), number: number}
			order = append(order, name)
		}
		if groups[name].Fusion != p.Fusion || groups[name].pieces[p.index].Name != "" {
			return nil, fmt.Errorf("tensor %q and another one are both part of %q", t.Name, name)
		}
		groups[name].pieces[p.index] = t
	}
	for _, name := range order {
		g := groups[name]
		t, err := join(name, g.pieces)
		if err != nil {
			return nil, err
		}
		applies := g.SwappedWithout == "" || !present[strings.Replace(g.SwappedWithout, "#", g.number, 1)]
		if g.Swapped && applies {
			if t, err = swapHalves(t); err != nil {
				return nil, err
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// join puts pieces one after another, along their first dimension.
func join(name string, pieces []model.Stored) (model.Stored, error) {
	first := pieces[0]
	if len(pieces) == 1 {
		first.Name = name
		return first, nil
	}
	whole := model.Stored{Tensor: model.Tensor{Name: name, Type: first.Type, Shape: slices.Clone(first.Shape)}, DType: first.DType}
	rows, scaled := int64(0), false
	for i, p := range pieces {
		p.Tensor = p.InOrder()
		switch {
		case p.Name == "":
			return whole, fmt.Errorf("piece %d of %d of tensor %q is missing", i+1, len(pieces), name)
		case len(p.Shape) == 0 || p.Type != first.Type || p.DType != first.DType || !slices.Equal(p.Shape[1:], first.Shape[1:]):
			return whole, fmt.Errorf("tensor %q of %s and shape %v and %q of %s and shape %v are not pieces of one", first.Name, first.DType, first.Shape, p.Name, p.DType, p.Shape)
		}
		rows += p.Shape[0]
		scaled = scaled || p.Scale != nil
		whole.Parts = append(whole.Parts, p.Runs()...)
	}
	whole.Shape[0] = rows
	if !scaled {
		return whole, nil
	}
	for _, p := range pieces { // a scale for each row
		switch int64(len(p.Scale)) {
		case 1:
			whole.Scale = append(whole.Scale, slices.Repeat(p.Scale, int(p.Shape[0]))...)
		case p.Shape[0]:
			whole.Scale = append(whole.Scale, p.Scale...)
		default:
			return whole, fmt.Errorf("tensor %q has no scale, and other pieces of %q have", p.Name, name)
		}
	}
	return whole, nil
}

// swapHalves exchanges the halves of a tensor's rows.
func swapHalves(t model.Stored) (model.Stored, error) {
	t.Tensor = t.InOrder()
	if len(t.Shape) == 0 || t.Shape[0]%2 != 0 || t.Parts != nil || len(t.Bytes)%2 != 0 {
		return t, fmt.Errorf("tensor %q has the shape %v; an even number of rows is expected", t.Name, t.Shape)
	}
	half := len(t.Bytes) / 2
	t.Parts, t.Bytes = [][]byte{t.Bytes[half:], t.Bytes[:half]}, nil
	if n := len(t.Scale); n > 1 {
		t.Scale = slices.Concat(t.Scale[n/2:], t.Scale[:n/2])
	}
	return t, nil
}
