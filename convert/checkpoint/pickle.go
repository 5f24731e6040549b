package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// maxProtocol is the newest protocol that is read. torch writes 2.
const maxProtocol = 5

// maxSteps bounds the instructions of a file. A checkpoint of Stable Diffusion
// takes some 50,000, one with its optimizer's state ten times as many. Every
// instruction costs a bounded amount of memory (some 150 bytes) beyond the
// bytes it reads, and a file has no more of them than a quarter of its bytes
// and freeSteps: torch writes a tensor, its elements not counted, in some 25
// instructions and 160 bytes.
const (
	maxSteps  = 2 << 20
	freeSteps = 10_000
)

// The values of the machine are nil, bool, int64, float64, string, []byte,
// tuple and what follows.
type (
	tuple  []any
	opaque string // something that was read and is of no use, such as a very long number
	mark   struct{}
	global struct{ module, name string }
	list   struct{ items []any }
	dict   struct {
		keys, values []any
		parameters   bool // that attributes hold, see build
	}
)

// get finds the last value of a key that is a string.
func (d *dict) get(key string) any {
	for i := len(d.keys) - 1; i >= 0; i-- {
		if d.keys[i] == any(key) {
			return d.values[i]
		}
	}
	return nil
}

// machine interprets pickles one after another. It never calls anything.
type machine struct {
	data     []byte
	at       int
	stack    []any
	memo     map[int64]any
	steps    int // that are left
	storages map[string]*storage
	objects  map[int64]any // storages and tensors of a tar archive, by their keys; nil elsewhere

	// plain says that the pickle is a file of its own, which may bring classes along;
	// objectSeen that it does.
	plain, objectSeen bool
}

// newMachine makes one for a pickle in a file of a size.
func newMachine(data []byte, size int) *machine {
	return &machine{data: data, steps: min(size/4+freeSteps, maxSteps), memo: map[int64]any{}, storages: map[string]*storage{}}
}

var errEnd = errors.New("the pickle ends too early")

// run interprets one pickle and returns its value.
func (m *machine) run() (any, error) {
	m.stack, m.memo = m.stack[:0], map[int64]any{}
	for {
		if err := m.charge(1); err != nil {
			return nil, err
		}
		op, err := m.read(1)
		if err != nil {
			return nil, err
		}
		if op[0] == opStop {
			return m.pop()
		}
		if err := m.step(op[0]); err != nil {
			return nil, err
		}
	}
}

// charge takes n of the steps that are left: one for each instruction, and for
// each element that an instruction copies.
func (m *machine) charge(n int) error {
	if m.steps -= n; m.steps < 0 {
		return errors.New("the pickle has more instructions than a file of this size needs")
	}
	return nil
}

func (m *machine) read(n uint64) ([]byte, error) {
	if n > uint64(len(m.data)-m.at) {
		return nil, errEnd
	}
	b := m.data[m.at : m.at+int(n)]
	m.at += int(n)
	return b, nil
}

// sized reads a little-endian length of n bytes and as many bytes as it says.
func (m *machine) sized(n uint64) ([]byte, error) {
	b, err := m.read(n)
	if err != nil {
		return nil, err
	}
	return m.read(little(b))
}

func little(b []byte) uint64 {
	var full [8]byte
	copy(full[:], b)
	return binary.LittleEndian.Uint64(full[:])
}

// line reads to the end of a line.
func (m *machine) line() (string, error) {
	n := bytes.IndexByte(m.data[m.at:], '\n')
	if n < 0 {
		return "", errEnd
	}
	s := string(m.data[m.at : m.at+n])
	m.at += n + 1
	return s, nil
}

func (m *machine) push(v any) error {
	m.stack = append(m.stack, v)
	return nil
}

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, errors.New("the pickle takes more from its stack than is there")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

// popMark takes what is above the topmost mark, and the mark.
func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if m.stack[i] == any(mark{}) {
			items := slices.Clone(m.stack[i+1:])
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, errors.New("the pickle looks for a mark that is not there")
}

// top is the container that an instruction adds to.
func top[T any](m *machine) (T, error) {
	if n := len(m.stack); n > 0 {
		if v, ok := m.stack[n-1].(T); ok {
			return v, nil
		}
	}
	var zero T
	return zero, fmt.Errorf("the pickle adds to something that is no %T", zero)
}

// step interprets one instruction. The groups are by what they do.
func (m *machine) step(op byte) error {
	switch op {
	case opProto:
		version, err := m.read(1)
		if err == nil && version[0] > maxProtocol {
			err = fmt.Errorf("the pickle protocol must be at most %d, got %d", maxProtocol, version[0])
		}
		return err
	case opFrame:
		_, err := m.read(8)
		return err
	case opMark:
		return m.push(mark{})
	case opPop:
		_, err := m.pop()
		return err
	case opPopMark:
		_, err := m.popMark()
		return err
	case opDup:
		v, err := top[any](m)
		if err != nil {
			return err
		}
		return m.push(v)
	case opGlobal, opStackGlobal:
		return m.global(op)
	case opPersID, opBinPersID:
		return m.persistent(op)
	case opReduce, opNewObj:
		return m.call()
	case opBuild:
		return m.build()
	}
	for _, group := range []func(*machine, byte) (bool, error){(*machine).scalar, (*machine).text, (*machine).memory, (*machine).container} {
		if done, err := group(m, op); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("pickle instruction %#02x is not known", op)
}

// scalar pushes numbers and the like.
func (m *machine) scalar(op byte) (bool, error) {
	switch op {
	case opNone:
		return true, m.push(nil)
	case opNewTrue, opNewFalse:
		return true, m.push(op == opNewTrue)
	case opBinInt1, opBinInt2, opBinInt:
		size := map[byte]uint64{opBinInt1: 1, opBinInt2: 2, opBinInt: 4}[op]
		b, err := m.read(size)
		if err != nil {
			return true, err
		}
		v := int64(little(b))
		if op == opBinInt {
			v = int64(int32(v))
		}
		return true, m.push(v)
	case opBinFloat:
		b, err := m.read(8)
		if err != nil {
			return true, err
		}
		return true, m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case opLong1, opLong4:
		size := map[byte]uint64{opLong1: 1, opLong4: 4}[op]
		b, err := m.sized(size)
		if err != nil {
			return true, err
		}
		return true, m.push(long(b))
	case opInt, opLong, opFloat:
		s, err := m.line()
		if err != nil {
			return true, err
		}
		return true, m.number(op, s)
	}
	return false, nil
}

// long is a little-endian number in two's complement.
func long(b []byte) any {
	if len(b) > 8 {
		return opaque(fmt.Sprintf("long %x", b[:min(len(b), 64)]))
	}
	v := int64(little(b))
	if n := len(b); n > 0 && n < 8 && b[n-1] >= 0x80 {
		v -= 1 << (8 * n)
	}
	return v
}

func (m *machine) number(op byte, s string) error {
	switch {
	case op == opFloat:
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("the number %.20q in the pickle", s)
		}
		return m.push(v)
	case op == opInt && (s == "00" || s == "01"):
		return m.push(s == "01")
	}
	if n := len(s); op == opLong && n > 0 && s[n-1] == 'L' {
		s = s[:n-1]
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return m.push(opaque("a long number"))
	}
	if err != nil {
		return fmt.Errorf("the number %.20q in the pickle", s)
	}
	return m.push(v)
}

// text pushes strings and bytes.
func (m *machine) text(op byte) (bool, error) {
	sizes := map[byte]uint64{opShortBinUnicode: 1, opBinUnicode: 4, opBinUnicode8: 8, opShortBinString: 1, opBinString: 4,
		opShortBinBytes: 1, opBinBytes: 4, opBinBytes8: 8}
	if op == opUnicode {
		s, err := m.line()
		if err != nil {
			return true, err
		}
		return true, m.push(s)
	}
	size, ok := sizes[op]
	if !ok {
		return false, nil
	}
	b, err := m.sized(size)
	if err != nil {
		return true, err
	}
	if op == opShortBinBytes || op == opBinBytes || op == opBinBytes8 {
		return true, m.push(b)
	}
	return true, m.push(string(b))
}
