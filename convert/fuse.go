package convert

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A fusion is a layer of the original layout that the diffusers library has in
// pieces: their rows one after the other are its own. Most have one piece and
// are just named otherwise. In all names "#" stands for a block's number.
type fusion struct {
	ldm    string
	theirs []string

	// swapped are the halves of a modulation whose shift and scale the library
	// has in the other order; swappedWithout limits that to blocks that lack a
	// layer.
	swapped        bool
	swappedWithout string
}

// one is a layer under another name.
func one(ldm, theirs string) fusion { return fusion{ldm: ldm, theirs: []string{theirs}} }

// fusions finds layers of a table by their names in the diffusers library.
func fusions(table []fusion) map[string]pieceOf {
	all := map[string]pieceOf{}
	for i := range table {
		for k, name := range table[i].theirs {
			all[name] = pieceOf{&table[i], k}
		}
	}
	return all
}

// pieceOf is a place in a fusion.
type pieceOf struct {
	*fusion
	index int
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

// find gives the layer that a tensor of the diffusers library belongs to, and
// its name in the original layout. That is empty for a tensor of the library's
// alone.
func find(table map[string]pieceOf, name string) (p pieceOf, ldm string, ok bool) {
	cut := strings.LastIndexByte(name, '.')
	if cut < 0 {
		return p, "", false
	}
	pattern, number := numbered(name)
	patternCut := strings.LastIndexByte(pattern, '.')
	for _, try := range []struct{ theirs, leaf string }{
		{name, ""}, {name[:cut], name[cut:]}, {pattern, ""}, {pattern[:patternCut], pattern[patternCut:]},
	} {
		if p, ok = table[try.theirs]; ok {
			if p.ldm == "" {
				return p, "", true
			}
			return p, strings.Replace(p.ldm, "#", number, 1) + try.leaf, true
		}
	}
	return p, "", false
}

// theirsOf is the way back: the names in the diffusers library of the pieces of
// a tensor of the original layout, in the order of their rows.
func theirsOf(table []fusion, name string) []string {
	pattern, number := numbered(name)
	for _, f := range table {
		for _, have := range []string{name, pattern} {
			rest, ok := strings.CutPrefix(have, f.ldm)
			if f.ldm == "" || !ok || rest != "" && (rest[0] != '.' || strings.Count(rest, ".") > 1) {
				continue
			}
			all := make([]string, len(f.theirs))
			for i, theirs := range f.theirs {
				all[i] = strings.Replace(theirs, "#", number, 1) + rest
			}
			return all
		}
	}
	return nil
}

// fuse puts the tensors of the original layout together. What is in no table
// keeps its name.
func fuse(all []raw, layers []fusion) ([]raw, error) {
	table := fusions(layers)
	there := make(map[string]bool, len(all))
	for _, t := range all {
		there[t.Name] = true
	}
	type group struct {
		pieceOf
		pieces []raw
		number string
	}
	groups := map[string]*group{}
	var order []string
	var out []raw
	for _, t := range all {
		p, ldm, ok := find(table, t.Name)
		switch {
		case !ok:
			out = append(out, t)
			continue
		case ldm == "":
			continue
		case groups[ldm] == nil:
			_, number := numbered(t.Name)
			groups[ldm] = &group{pieceOf: p, pieces: make([]raw, len(p.theirs)), number: number}
			order = append(order, ldm)
		}
		if groups[ldm].fusion != p.fusion || groups[ldm].pieces[p.index].Name != "" {
			return nil, fmt.Errorf("tensor %q and another one are both part of %q", t.Name, ldm)
		}
		groups[ldm].pieces[p.index] = t
	}
	for _, ldm := range order {
		g := groups[ldm]
		t, err := join(ldm, g.pieces)
		if err != nil {
			return nil, err
		}
		without := g.swappedWithout == "" || !there[strings.Replace(g.swappedWithout, "#", g.number, 1)]
		if g.swapped && without {
			if t, err = swapHalves(t); err != nil {
				return nil, err
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// join puts pieces one after the other, along their first dimension.
func join(name string, pieces []raw) (raw, error) {
	whole := pieces[0]
	whole.Name = name
	if len(pieces) == 1 {
		return whole, nil
	}
	whole.Shape, whole.Bytes, whole.Scale = slices.Clone(whole.Shape), nil, nil
	rows, scaled := int64(0), false
	for i, p := range pieces {
		p.Tensor = p.flat()
		switch {
		case p.Name == "":
			return whole, fmt.Errorf("piece %d of %d of tensor %q is missing", i+1, len(pieces), name)
		case len(p.Shape) == 0 || p.Type != whole.Type || p.kind != whole.kind || !slices.Equal(p.Shape[1:], pieces[0].Shape[1:]):
			return whole, fmt.Errorf("tensor %q of %s and shape %v and %q of %s and shape %v are not pieces of one", pieces[0].Name, whole.kind, pieces[0].Shape, p.Name, p.kind, p.Shape)
		}
		rows += p.Shape[0]
		scaled = scaled || p.Scale != nil
		whole.Parts = append(whole.Parts, p.runs()...)
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
func swapHalves(t raw) (raw, error) {
	t.Tensor = t.flat()
	if len(t.Shape) == 0 || t.Shape[0]%2 != 0 || t.Parts != nil || len(t.Bytes)%2 != 0 {
		return t, fmt.Errorf("tensor %q has the shape %v; two halves are wanted", t.Name, t.Shape)
	}
	half := len(t.Bytes) / 2
	t.Parts, t.Bytes = [][]byte{t.Bytes[half:], t.Bytes[:half]}, nil
	if n := len(t.Scale); n > 1 {
		t.Scale = slices.Concat(t.Scale[n/2:], t.Scale[:n/2])
	}
	return t, nil
}
