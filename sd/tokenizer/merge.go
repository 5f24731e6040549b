package tokenizer

// merger merges the bytes of one word at a time, best rank first and leftmost among equals. The symbols of the word
// form a linked list, and the pairs that can merge are in a heap, so a word of n bytes takes n log n steps. Its memory
// is reused for the next word.
type merger struct {
	nodes []node
	heap  []candidate
}

type node struct {
	id         int32 // symbol, or gone where it was merged into its left neighbour
	prev, next int   // neighbours; -1 and len(nodes) at the ends
}

const gone = -1

// candidate is a pair that could merge when it was found: the symbol that it makes, and the node of its left half.
type candidate struct {
	id int32
	at int
}

func (c candidate) before(d candidate) bool { return c.id < d.id || c.id == d.id && c.at < d.at }

// merge appends the ids of word, which is not empty, to ids.
func (m *merger) merge(ids []int32, t *table, word string) []int32 {
	m.nodes, m.heap = m.nodes[:0], m.heap[:0]
	for i := range len(word) {
		m.nodes = append(m.nodes, node{t.byteID[word[i]], i - 1, i + 1})
	}
	m.nodes[len(word)-1].id += 256
	for i := range m.nodes {
		m.consider(t, i)
	}
	for len(m.heap) > 0 {
		c := m.pop()
		left := &m.nodes[c.at]
		if id, ok := m.result(t, c.at); !ok || id != c.id {
			continue // one of the halves has merged with its other neighbour since
		}
		right := &m.nodes[left.next]
		left.id, left.next, right.id = c.id, right.next, gone
		if left.next < len(m.nodes) {
			m.nodes[left.next].prev = c.at
		}
		m.consider(t, c.at)
		m.consider(t, left.prev)
	}
	for i := 0; i < len(m.nodes); i = m.nodes[i].next {
		ids = append(ids, m.nodes[i].id)
	}
	return ids
}

// result returns what the symbol at node i and its right neighbour merge into, if anything.
func (m *merger) result(t *table, i int) (id int32, ok bool) {
	if i < 0 || m.nodes[i].id == gone || m.nodes[i].next >= len(m.nodes) {
		return 0, false
	}
	id, ok = t.merged[pair{m.nodes[i].id, m.nodes[m.nodes[i].next].id}]
	return id, ok
}

// consider adds the pair that starts at node i to the heap if it can merge.
func (m *merger) consider(t *table, i int) {
	id, ok := m.result(t, i)
	if !ok {
		return
	}
	h := append(m.heap, candidate{id, i})
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
func (m *merger) pop() candidate {
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
