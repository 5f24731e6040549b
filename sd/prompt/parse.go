package prompt

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

const (
	roundFactor  = 1.1
	squareFactor = 1 / 1.1

	// A BREAK is an item with this text and this weight, so that brackets around it turn it back into a word, as in
	// the reference and in stable-diffusion.cpp.
	breakText   = "BREAK"
	breakWeight = -1
)

// Segment is text of one weight, or a break between chunks.
type Segment struct {
	Text   string  // with its white space; empty for a break
	Weight float64 // finite, also as float32; 1 for a break
	Break  bool    // what follows starts a new chunk
}

// Parse removes a prompt's tags and splits the rest into segments of equal weight. There is at least one segment; that
// of an empty prompt is empty. Errors are *LimitError, beyond MaxLength and MaxDepth, and *WeightError, for a weight
// such as 1.2.3 or one that overflows float32.
func Parse(text string) ([]Segment, []Tag, error) {
	if err := checkLength(text); err != nil {
		return nil, nil, err
	}
	text, tags := takeTags(text)
	p := parser{rest: text}
	for p.rest != "" {
		if err := p.step(); err != nil {
			return nil, nil, err
		}
	}
	p.closeAll()
	segments, err := p.segments()
	return segments, tags, err
}

type item struct {
	text   string
	weight float64
}

// parser has the state of the reference's parse_prompt_attention.
type parser struct {
	rest          string
	items         []item
	round, square []int // where in items each open bracket starts
}

// step reads one piece of the prompt: an escape, a bracket, a weight with its bracket, or text.
func (p *parser) step() error {
	switch c := p.rest[0]; c {
	case '\\':
		n := 1
		if len(p.rest) > 1 && strings.IndexByte(`()[]\`, p.rest[1]) >= 0 {
			n = 2
		}
		p.items = append(p.items, item{p.take(n)[1:], 1})
	case '(', '[':
		p.take(1)
		return p.open(c)
	case ')':
		p.close(&p.round, roundFactor, 1)
	case ']':
		p.close(&p.square, squareFactor, 1)
	case ':':
		return p.colon()
	default:
		n := strings.IndexAny(p.rest, `\()[]:`)
		if n < 0 {
			n = len(p.rest)
		}
		p.text(p.take(n))
	}
	return nil
}

// colon reads a weight with its bracket, or a colon that is text.
func (p *parser) colon() error {
	number, n := leadingWeight(p.rest)
	if n == 0 {
		p.text(p.take(1))
		return nil
	}
	factor, err := strconv.ParseFloat(number, 64)
	if err != nil && len(p.round) > 0 {
		return &WeightError{Text: number, Reason: "not a finite number"}
	}
	p.close(&p.round, factor, n)
	return nil
}

func (p *parser) take(n int) string {
	taken := p.rest[:n]
	p.rest = p.rest[n:]
	return taken
}

func (p *parser) open(bracket byte) error {
	if n := len(p.round) + len(p.square); n == MaxDepth {
		return &LimitError{What: "nested brackets", Got: n + 1, Max: MaxDepth}
	}
	if bracket == '(' {
		p.round = append(p.round, len(p.items))
	} else {
		p.square = append(p.square, len(p.items))
	}
	return nil
}

// close reads n bytes that close the innermost bracket of one shape; if none is open they are text.
func (p *parser) close(open *[]int, factor float64, n int) {
	taken := p.take(n)
	if last := len(*open) - 1; last >= 0 {
		p.multiply((*open)[last], factor)
		*open = (*open)[:last]
	} else {
		p.text(taken)
	}
}

func (p *parser) multiply(from int, factor float64) {
	for i := from; i < len(p.items); i++ {
		p.items[i].weight *= factor
	}
}

// closeAll closes the brackets that are still open, in the reference's order, which affects the weights' last bits.
func (p *parser) closeAll() {
	for _, from := range p.round {
		p.multiply(from, roundFactor)
	}
	for _, from := range p.square {
		p.multiply(from, squareFactor)
	}
}

// text adds text, split at each word BREAK; white space around BREAK is removed.
func (p *parser) text(text string) {
	for done := 0; ; {
		i := strings.Index(text[done:], breakText)
		if i < 0 {
			break
		}
		i += done
		done = i + len(breakText)
		if endsInWord(text[:i]) || startsWithWord(text[done:]) {
			continue
		}
		p.items = append(p.items, item{strings.TrimRightFunc(text[:i], unicode.IsSpace), 1}, item{breakText, breakWeight})
		text, done = strings.TrimLeftFunc(text[done:], unicode.IsSpace), 0
	}
	p.items = append(p.items, item{text, 1})
}

// segments joins neighbours of the same weight.
func (p *parser) segments() ([]Segment, error) {
	if len(p.items) == 0 {
		return []Segment{{Weight: 1}}, nil
	}
	var out []Segment
	for i := 0; i < len(p.items); {
		weight := p.items[i].weight
		var text strings.Builder
		for ; i < len(p.items) && p.items[i].weight == weight; i++ {
			text.WriteString(p.items[i].text)
		}
		s := Segment{Text: text.String(), Weight: weight}
		if !(math.Abs(weight) <= math.MaxFloat32) {
			return nil, &WeightError{Text: s.Text, Reason: "its brackets multiply to more than a float32 holds"}
		}
		if s.Text == breakText && weight == breakWeight {
			s = Segment{Weight: 1, Break: true}
		}
		out = append(out, s)
	}
	return out, nil
}

// leadingWeight matches :\s*([+-]?[.\d]+)\s*\) at the start of text and returns the number and the length of the match,
// 0 if there is none.
func leadingWeight(text string) (number string, n int) {
	start := strings.TrimLeftFunc(text[1:], unicode.IsSpace)
	digits := start
	if digits != "" && (digits[0] == '+' || digits[0] == '-') {
		digits = digits[1:]
	}
	end := strings.TrimLeft(digits, ".0123456789")
	after := strings.TrimLeftFunc(end, unicode.IsSpace)
	if len(end) == len(digits) || after == "" || after[0] != ')' {
		return "", 0
	}
	return start[:len(start)-len(end)], len(text) - len(after) + 1
}
