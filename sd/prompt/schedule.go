package prompt

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Limits of a schedule: alternation in a long prompt repeats it for every step.
const (
	maxScheduled = 16 << 20 // bytes
	maxSteps     = 1 << 16
)

// Entry is the prompt of a range of steps.
type Entry struct {
	Until int    // the last step of this text, counted from 1; the first is the one after the entry before
	Text  string // for Parse
}

// Schedule resolves prompt editing and alternation, the parts of a prompt that change during sampling:
//
//	[from:to:when]  from, then to
//	[to:when]       nothing, then to
//	[from::when]    from, then nothing
//	[a|b|c]         alternates: another one in each step
//
// "when" is a fraction of the steps if it has a decimal point, else a number of steps. Everything nests, in brackets of attention
// too. steps below 1 counts as 1. The entries are in order of Until, and the last one's is steps; a prompt without
// changes has one entry.
//
// As in the reference, a prompt that does not follow the grammar, such as one with a '|' outside of brackets, stays as it
// is. Where brackets do not balance, the reference sometimes treats a well-formed piece next to them as text, too; here a
// well-formed piece always works. Errors are *LimitError.
func Schedule(text string, steps int) ([]Entry, error) {
	return SchedulePass(text, Pass{Steps: steps})
}

// Pass is one of the passes that a picture is drawn in: the first, and those of a hires fix. The steps of all of them are
// counted on: of fractions 0 to 1 is the first pass, 1 to 2 the next one, and with a first pass of 20 steps step 25 is
// the fifth of the next.
type Pass struct {
	Steps  int // of the pass
	Index  int // 0 for the first
	Before int // steps of all passes before
}

// SchedulePass is Schedule for one pass of several. Its entries count the pass's own steps.
func SchedulePass(text string, pass Pass) ([]Entry, error) {
	steps := pass.Steps
	if err := checkLength(text); err != nil {
		return nil, err
	}
	if steps > maxSteps {
		return nil, &LimitError{What: "steps", Got: steps, Max: maxSteps}
	}
	steps = max(steps, 1)
	s := scheduler{text: text, steps: steps, pass: pass, seen: map[int]*node{}, ends: map[int]bool{steps: true}}
	nodes, err := s.top()
	if err != nil {
		return nil, err
	}
	if s.malformed {
		return []Entry{{steps, text}}, nil
	}
	var out []Entry
	size := 0
	for _, step := range s.changes() {
		var b strings.Builder
		for _, n := range nodes {
			n.write(&b, step)
		}
		if size += b.Len(); size > maxScheduled {
			return nil, &LimitError{What: "bytes of scheduled text", Got: size, Max: maxScheduled}
		}
		out = append(out, Entry{step, b.String()})
	}
	return out, nil
}

// node is a piece of a prompt: plain text, or alternatives, of which each step has one.
type node struct {
	text    string
	choices [][]*node
	when    int  // with two choices: the last step of the first
	turns   bool // the choices alternate
	end     int  // its end in the prompt
}

func (n *node) write(b *strings.Builder, step int) {
	b.WriteString(n.text)
	if len(n.choices) == 0 {
		return
	}
	i := 0
	switch {
	case n.turns:
		i = (step - 1) % len(n.choices)
	case len(n.choices) == 2 && step > n.when:
		i = 1
	}
	for _, c := range n.choices[i] {
		c.write(b, step)
	}
}

// scheduler is a recursive descent parser. The character after a bracket's first piece decides what the bracket starts.
// So only brackets that turn out to be text are read twice, and seen remembers those.
type scheduler struct {
	text  string
	steps int
	pass  Pass

	seen      map[int]*node // by the position of its bracket; nil for a bracket that is text
	ends      map[int]bool  // steps after which the text changes
	turns     bool          // there is alternation: every step has its own text
	malformed bool
	depth     int
}

// top reads the whole prompt; brackets and colons without a meaning are text.
func (s *scheduler) top() ([]*node, error) {
	var out []*node
	for at := 0; at < len(s.text); {
		nodes, end, err := s.sequence(at)
		if err != nil {
			return nil, err
		}
		out = append(out, nodes...)
		for _, n := range nodes {
			s.collect(n)
		}
		if at = end; at == len(s.text) {
			break
		}
		if strings.IndexByte("[]():", s.text[at]) < 0 {
			s.malformed = true
			break
		}
		out = append(out, &node{text: s.text[at : at+1]})
		at++
	}
	return out, nil
}

// changes returns the steps after which the text changes, in order: all of them if there is alternation.
func (s *scheduler) changes() []int {
	if s.turns {
		for step := 1; step < s.steps; step++ {
			s.ends[step] = true
		}
	}
	return slices.Sorted(maps.Keys(s.ends))
}

// collect notes the steps at which a piece of the prompt changes.
func (s *scheduler) collect(n *node) {
	if n.turns {
		s.turns = true
	} else if len(n.choices) == 2 && n.when >= 1 {
		s.ends[n.when] = true
	}
	for _, choice := range n.choices {
		for _, c := range choice {
			s.collect(c)
		}
	}
}

// sequence reads text and bracketed pieces, beginning at at, until there is neither.
func (s *scheduler) sequence(at int) (out []*node, end int, err error) {
	for at < len(s.text) {
		n, err := s.piece(at)
		if err != nil {
			return nil, 0, err
		}
		if n == nil {
			break
		}
		out = append(out, n)
		at = n.end
	}
	return out, at, nil
}

// piece reads one piece; nil means that none starts here.
func (s *scheduler) piece(at int) (*node, error) {
	switch s.text[at] {
	case '(', '[':
	case ']', ')', ':', '|':
		return nil, nil
	default:
		return s.plain(at), nil
	}
	if n, seen := s.seen[at]; seen {
		return n, nil
	}
	if s.depth == MaxDepth {
		return nil, &LimitError{What: "nested brackets", Got: s.depth + 1, Max: MaxDepth}
	}
	s.depth++
	n, err := s.bracket(at)
	s.depth--
	s.seen[at] = n
	return n, err
}

// plain reads text without special characters; a backslash escapes the next character of the same line.
func (s *scheduler) plain(at int) *node {
	end := at
	for end < len(s.text) && strings.IndexByte(`[]():|`, s.text[end]) < 0 {
		if s.text[end] == '\\' {
			if end+1 == len(s.text) || s.text[end+1] == '\n' {
				break
			}
			end++
		}
		end++
	}
	if end == at {
		return nil
	}
	return &node{text: s.text[at:end], end: end}
}

// bracket reads a bracketed piece; nil means that the bracket is text.
func (s *scheduler) bracket(at int) (*node, error) {
	first, end, err := s.sequence(at + 1)
	if err != nil || end == len(s.text) {
		return nil, err
	}
	round := s.text[at] == '('
	switch c := s.text[end]; {
	case c == ')' && round, c == ']' && !round:
		return s.emphasis(at, end+1, first), nil
	case c == ':' && round:
		second, end2, err := s.sequence(end + 1)
		if err != nil || end2 == len(s.text) || s.text[end2] != ')' {
			return nil, err
		}
		colon := &node{text: ":"}
		return s.emphasis(at, end2+1, append(append(first, colon), second...)), nil
	case c == ':':
		return s.change(end, first)
	case c == '|' && !round:
		return s.alternatives(end, first)
	}
	return nil, nil
}

// emphasis keeps the brackets, which Parse reads.
func (s *scheduler) emphasis(at, end int, inner []*node) *node {
	inner = append(inner, &node{text: s.text[end-1 : end]})
	return &node{text: s.text[at : at+1], choices: [][]*node{inner}, end: end}
}

// change reads the rest of [from:to:when] or [to:when], beginning at the first colon.
func (s *scheduler) change(colon int, first []*node) (*node, error) {
	if when, end, ok := s.when(colon + 1); ok {
		return &node{choices: [][]*node{nil, first}, when: when, end: end}, nil
	}
	second, end, err := s.sequence(colon + 1)
	if err != nil || end == len(s.text) || s.text[end] != ':' {
		return nil, err
	}
	when, end, ok := s.when(end + 1)
	if !ok {
		return nil, nil
	}
	return &node{choices: [][]*node{first, second}, when: when, end: end}, nil
}

func (s *scheduler) alternatives(bar int, first []*node) (*node, error) {
	choices := [][]*node{first}
	for end := bar; end < len(s.text); {
		switch s.text[end] {
		case '|':
			next, end2, err := s.sequence(end + 1)
			if err != nil {
				return nil, err
			}
			choices, end = append(choices, next), end2
		case ']':
			return &node{choices: choices, turns: true, end: end + 1}, nil
		default:
			return nil, nil
		}
	}
	return nil, nil
}

// when reads a number, white space around it, and the closing bracket, and returns the step that the number means.
func (s *scheduler) when(at int) (step, end int, ok bool) {
	number, _, closed := strings.Cut(s.text[at:min(len(s.text), at+64)], "]")
	end = at + len(number) + 1
	number = strings.TrimFunc(number, unicode.IsSpace)
	if !closed || number == "" || strings.Trim(number, "+-.0123456789eE") != "" {
		return 0, 0, false
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, 0, false
	}
	if strings.Contains(number, ".") {
		v = (v - float64(s.pass.Index)) * float64(s.steps)
	} else {
		v -= float64(s.pass.Before)
	}
	return int(math.Trunc(max(min(v, float64(s.steps)), -1))), end, true
}
