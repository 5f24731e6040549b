package unigram

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Bounds of a compiled table, in bytes. nmt_nfkc's has 240,000, and replaces a character by at most 33.
const (
	maxCharsMap    = 1 << 24
	maxReplacement = 256
)

// charsMap is SentencePiece's compiled normalization: a double array (Yata's darts-clone) that finds, for the beginning of a
// text, what is written in its place, and those texts, each of which ends with a zero byte.
type charsMap struct {
	units []uint32
	texts string
}

func newCharsMap(data []byte) (*charsMap, error) {
	if len(data) < 4 || len(data) > maxCharsMap {
		return nil, errors.New("tokenizer: the table of the normalization is cut off or too large")
	}
	size := binary.LittleEndian.Uint32(data)
	if size == 0 || size%4 != 0 || uint64(size) > uint64(len(data)-4) {
		return nil, errors.New("tokenizer: the table of the normalization is cut off")
	}
	c := &charsMap{units: make([]uint32, size/4), texts: string(data[4+size:])}
	for part := range strings.SplitSeq(c.texts, "\x00") {
		if len(part) > maxReplacement {
			return nil, fmt.Errorf("tokenizer: the table of the normalization replaces a character by more than %d bytes", maxReplacement)
		}
	}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(data[4+4*i:])
	}
	return c, nil
}

// The parts of a unit of the double array.
func isLeafBeside(unit uint32) bool { return unit>>8&1 == 1 }
func valueOf(unit uint32) uint32    { return unit & (1<<31 - 1) }
func labelOf(unit uint32) uint32    { return unit & (1<<31 | 0xFF) }
func offsetOf(unit uint32) uint32   { return unit >> 10 << (unit & (1 << 9) >> 6) }

// replacement is what the shortest beginning of a text that is in the table becomes.
func (c *charsMap) replacement(text string) (string, bool) {
	at := offsetOf(c.units[0])
	for i := 0; i < len(text) && text[i] != 0; i++ {
		at ^= uint32(text[i])
		if int64(at) >= int64(len(c.units)) || labelOf(c.units[at]) != uint32(text[i]) {
			return "", false
		}
		unit := c.units[at]
		at ^= offsetOf(unit)
		if !isLeafBeside(unit) {
			continue
		}
		if int64(at) >= int64(len(c.units)) {
			return "", false
		}
		from := valueOf(c.units[at])
		if int64(from) > int64(len(c.texts)) {
			return "", false
		}
		text, _, _ := strings.Cut(c.texts[from:], "\x00")
		return text, true
	}
	return "", false
}

// maxWhole is the length, in bytes, up to which a character as readers see it (a grapheme cluster) is looked up as a whole,
// before its code points are: the tokenizers library's rule.
const maxWhole = 5

func (c *charsMap) normalize(text string) string {
	var b strings.Builder
	state := -1
	for text != "" {
		var cluster string
		cluster, text, _, state = uniseg.FirstGraphemeClusterInString(text, state)
		if len(cluster) <= maxWhole {
			if to, ok := c.replacement(cluster); ok {
				b.WriteString(to)
				continue
			}
		}
		for cluster != "" {
			_, size := utf8.DecodeRuneInString(cluster)
			if to, ok := c.replacement(cluster[:size]); ok {
				b.WriteString(to)
			} else {
				b.WriteString(cluster[:size])
			}
			cluster = cluster[size:]
		}
	}
	return strings.ToValidUTF8(b.String(), string(utf8.RuneError))
}
