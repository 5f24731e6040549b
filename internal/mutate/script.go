// Package mutate makes invalid model files for tests. It changes shapes, types, names,
// offsets, strides and JSON values, which random changes of bytes seldom reach. It
// starts from a small valid file; a [Script] chooses the changes.
package mutate

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// Script is a sequence of choices, of one byte or more each. After its end every choice
// is the first one, which changes nothing: an empty script leaves a file as it is.
type Script struct{ rest []byte }

// NewScript is the script with the choices of a fuzz target's input.
func NewScript(choices []byte) *Script { return &Script{choices} }

// Choices are the choices of a seed, the same on every machine.
func Choices(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	choices := make([]byte, 64)
	for i := range choices {
		choices[i] = byte(r.Uint32())
	}
	return choices
}

// Random is the script of a seed.
func Random(seed uint64) *Script { return NewScript(Choices(seed)) }

func (s *Script) done() bool { return len(s.rest) == 0 }

// Below is a choice from 0 to n-1.
func (s *Script) Below(n int) int {
	v := 0
	for m := 1; m < n && !s.done(); m <<= 8 {
		v = v<<8 | int(s.rest[0])
		s.rest = s.rest[1:]
	}
	return v % max(n, 1)
}

// Pick is a choice from a list.
func Pick[T any](s *Script, list []T) T { return list[s.Below(len(list))] }

// numbers are edge cases for counts, sizes and offsets.
var numbers = []uint64{0, 1, 2, 3, 7, 31, 33, 255, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1 << 40, 1 << 62, math.MaxInt64, 1 << 63, math.MaxUint64}

// liar replaces one of a header's numbers.
type liar struct {
	at int
	by uint64
}

// newLiar replaces one of n numbers, in every sixth script.
func newLiar(s *Script, n int) *liar {
	if s.Below(6) != 1 {
		return &liar{at: -1}
	}
	return &liar{at: s.Below(n), by: Pick(s, numbers)}
}

func (l *liar) number(v uint64) uint64 {
	l.at--
	if l.at == -1 {
		return l.by
	}
	return v
}

// damage changes bytes regardless of their meaning, in every eighth script: some of the
// first front bytes, where the header is, the file's end or its length.
func damage(s *Script, b []byte, front int) []byte {
	if s.Below(8) != 1 || front < 16 || len(b) < front {
		return b
	}
	switch s.Below(6) {
	case 0:
		for range 1 + s.Below(8) {
			b[s.Below(front)] = byte(s.Below(256))
		}
	case 1:
		for range 1 + s.Below(8) {
			b[s.Below(len(b))] ^= 1 << s.Below(8)
		}
	case 2:
		return b[:s.Below(len(b))]
	case 3:
		return append(b, make([]byte, s.Below(256))...)
	case 4: // an archive's directory is at its end
		b[len(b)-1-s.Below(front)] = byte(s.Below(256))
	case 5:
		at, v := s.Below(front-8), Pick(s, numbers)
		if s.Below(2) == 0 {
			binary.LittleEndian.PutUint32(b[at:], uint32(v))
		} else {
			binary.LittleEndian.PutUint64(b[at:], v)
		}
	}
	return b
}
