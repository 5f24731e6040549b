package unigram

import (
	"maps"
	"slices"
)

// tree finds the pieces that a text begins with, byte by byte. The children of a node are side by side, in the order of
// their bytes.
type tree struct {
	nodes []node
}

type node struct {
	first    int32 // of the children
	id       int32 // of the piece that ends here; -1: none
	children uint16
	label    byte
}

// newTree makes the tree of pieces; an empty one is left out.
func newTree(ids map[string]int32) tree {
	pieces := slices.Sorted(maps.Keys(ids))
	if len(pieces) > 0 && pieces[0] == "" {
		pieces = pieces[1:]
	}
	t := tree{nodes: []node{{id: -1}}}
	type span struct{ node, low, high, depth int } // pieces that go through a node
	for waiting := []span{{0, 0, len(pieces), 0}}; len(waiting) > 0; {
		s := waiting[0]
		waiting = waiting[1:]
		if s.depth > 0 && s.low < s.high && len(pieces[s.low]) == s.depth {
			t.nodes[s.node].id = ids[pieces[s.low]]
			s.low++
		}
		t.nodes[s.node].first = int32(len(t.nodes))
		for low := s.low; low < s.high; {
			label, high := pieces[low][s.depth], low
			for high < s.high && pieces[high][s.depth] == label {
				high++
			}
			waiting = append(waiting, span{len(t.nodes), low, high, s.depth + 1})
			t.nodes = append(t.nodes, node{id: -1, label: label})
			t.nodes[s.node].children++
			low = high
		}
	}
	return t
}

// prefixes visits the pieces that a text begins with, the shortest first.
func (t tree) prefixes(text string, visit func(length int, id int32)) {
	at := int32(0)
	for i := range len(text) {
		n := t.nodes[at]
		k, found := slices.BinarySearchFunc(t.nodes[n.first:][:n.children], text[i], func(n node, b byte) int { return int(n.label) - int(b) })
		if !found {
			return
		}
		at = n.first + int32(k)
		if id := t.nodes[at].id; id >= 0 {
			visit(i+1, id)
		}
	}
}
