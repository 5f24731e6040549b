// Package bpe merges symbols pair by pair (byte-pair encoding, Sennrich et al. 2016), over the byte alphabet of
// GPT-2 (Radford et al. 2019).
package bpe

// Pair is two symbols, the right one after the left one.
type Pair struct{ Left, Right int32 }

// Merge is what a pair becomes: a symbol, and how soon, the least rank first.
type Merge struct{ ID, Rank int32 }

// Table has the pairs that merge.
type Table map[Pair]Merge

// Merger merges the symbols of one word at a time, best rank first and leftmost among equals. They form a linked list,
// and the pairs that can merge are in a heap, so a word of n symbols takes n log n steps. Its memory is reused for the
// next word.
type Merger struct {
	nodes []node
	heap  []candidate
}

type node struct {
	id         int32 // symbol, or gone where it was merged into its left neighbour
	prev, next int   // neighbours; -1 and len(nodes) at the ends
}

const gone = -1

// candidate is a pair that could merge when it was found: what it makes, and the node of its left half.
type candidate struct {
	Merge
	at int
}

func (c candidate) before(d candidate) bool {
	return c.Rank < d.Rank || c.Rank == d.Rank && c.at < d.at
}

// Merge appends the symbols that a word's symbols, of which there is at least one, become.
func (m *Merger) Merge(to []int32, t Table, word []int32) []int32 {
	m.nodes, m.heap = m.nodes[:0], m.heap[:0]
	for i, id := range word {
		m.nodes = append(m.nodes, node{id, i - 1, i + 1})
	}
	for i := range m.nodes {
		m.consider(t, i)
	}
	for len(m.heap) > 0 {
		c := m.pop()
		left := &m.nodes[c.at]
		if r, ok := m.result(t, c.at); !ok || r != c.Merge {
			continue // one of the halves has merged with its other neighbour since
		}
		right := &m.nodes[left.next]
		left.id, left.next, right.id = c.ID, right.next, gone
		if left.next < len(m.nodes) {
			m.nodes[left.next].prev = c.at
		}
		m.consider(t, c.at)
		m.consider(t, left.prev)
	}
	for i := 0; i < len(m.nodes); i = m.nodes[i].next {
		to = append(to, m.nodes[i].id)
	}
	return to
}

// result returns what the symbol at node i and its right neighbour merge into, if anything.
func (m *Merger) result(t Table, i int) (r Merge, ok bool) {
	if i < 0 || m.nodes[i].id == gone || m.nodes[i].next >= len(m.nodes) {
		return Merge{}, false
	}
	r, ok = t[Pair{m.nodes[i].id, m.nodes[m.nodes[i].next].id}]
	return r, ok
}

// consider adds the pair that starts at node i to the heap if it can merge.
func (m *Merger) consider(t Table, i int) {
	r, ok := m.result(t, i)
	if !ok {
		return
	}
	h := append(m.heap, candidate{r, i})
	for k := len(h) - 1; k > 0; {
		up := (k - 1) / 2
		if !h[k].before(h[up]) {
			break
		}
		h[k], h[up] = h[up], h[k]
		k = up
	}
	m.heap = h
}

// pop removes the best candidate from the heap, which must not be empty.
func (m *Merger) pop() candidate {
	h := m.heap
	best, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	for k := 0; ; {
		down := 2*k + 1
		if down >= last {
			break
		}
		if down+1 < last && h[down+1].before(h[down]) {
			down++
		}
		if !h[down].before(h[k]) {
			break
		}
		h[k], h[down] = h[down], h[k]
		k = down
	}
	m.heap = h
	return best
}
