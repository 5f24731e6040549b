package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/sdgo/sdgo/convert/dtype"
)

// Parse reads a file from its bytes, which the tensors keep using.
func Parse(data []byte) (*File, error) {
	f, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	return f, nil
}

func parse(data []byte) (*File, error) {
	if !Looks(data) {
		return nil, fmt.Errorf("the file does not begin with %q", Magic)
	}
	r := &reader{data: data, at: len(Magic)}
	f := &File{}
	var tensors, metas uint64
	if err := errors.Join(get(r, &f.Version), get(r, &tensors), get(r, &metas)); err != nil {
		return nil, fmt.Errorf("%w within its header", ErrCutOff)
	}
	switch {
	case f.Version == bits.ReverseBytes32(2) || f.Version == bits.ReverseBytes32(3):
		return nil, errors.New("the file is big-endian; only little-endian files can be read")
	case f.Version != 2 && f.Version != 3:
		return nil, fmt.Errorf("the version must be 2 or 3, got %d", f.Version)
	}
	if err := r.metadata(f, metas); err != nil {
		return nil, err
	}
	var err error
	if f.Alignment, err = f.alignment(); err != nil {
		return nil, err
	}
	offsets, err := r.table(f, tensors)
	if err != nil {
		return nil, err
	}
	return f, f.place(data, int64(r.at)+pad(int64(r.at), f.Alignment), offsets)
}

// reader reads values one after another. It never reads beyond data.
type reader struct {
	data []byte
	at   int
}

// ErrCutOff is in the error for a file that ends before what it should have.
var ErrCutOff = errors.New("the file is cut off")

// left is the number of bytes that are left.
func (r *reader) left() uint64 { return uint64(len(r.data) - r.at) }

func (r *reader) bytes(n uint64) ([]byte, error) {
	if n > r.left() {
		return nil, ErrCutOff
	}
	b := r.data[r.at : r.at+int(n)]
	r.at += int(n)
	return b, nil
}

// text reads a length and as many bytes, at most limit.
func (r *reader) text(limit uint64) (string, error) {
	var n uint64
	if err := get(r, &n); err != nil {
		return "", err
	}
	if n > limit {
		return "", fmt.Errorf("a length must be at most %d bytes, got %d", limit, n)
	}
	b, err := r.bytes(n)
	return string(b), err
}

// number is what a file has numbers of.
type number interface {
	uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64 | float32 | float64
}

// get reads one number.
func get[T number](r *reader, v *T) error {
	b, err := r.bytes(uint64(binary.Size(*v)))
	if err != nil {
		return err
	}
	_, err = binary.Decode(b, binary.LittleEndian, v)
	return err
}

// metadata reads the entries, of which each takes 13 bytes at least.
func (r *reader) metadata(f *File, count uint64) error {
	if count > r.left()/13 {
		return fmt.Errorf("%d entries of metadata do not fit into a file of %d bytes", count, len(r.data))
	}
	seen := make(map[string]bool, count)
	for i := range count {
		key, err := r.text(maxKey)
		if err != nil {
			return fmt.Errorf("the key of metadata entry %d: %w", i, err)
		}
		if seen[key] {
			return fmt.Errorf("the metadata has %q twice", key)
		}
		seen[key] = true
		value, err := r.value()
		if err != nil {
			return fmt.Errorf("metadata %q: %w", key, err)
		}
		f.Meta = append(f.Meta, KV{key, value})
	}
	return nil
}

// The numbers of the types of metadata.
const (
	kindU8 uint32 = iota
	kindI8
	kindU16
	kindI16
	kindU32
	kindI32
	kindF32
	kindBool
	kindString
	kindArray
	kindU64
	kindI64
	kindF64
)

func (r *reader) value() (any, error) {
	var kind uint32
	if err := get(r, &kind); err != nil {
		return nil, err
	}
	if kind != kindArray {
		list, err := r.list(kind, 1)
		if err != nil {
			return nil, err
		}
		return first(list), nil
	}
	var count uint64
	if err := errors.Join(get(r, &kind), get(r, &count)); err != nil {
		return nil, ErrCutOff
	}
	if kind == kindArray {
		return nil, errors.New("arrays of arrays are not supported")
	}
	return r.list(kind, count)
}

// list reads count values of one type into a slice of its Go type.
func (r *reader) list(kind uint32, count uint64) (any, error) {
	switch kind {
	case kindU8:
		return numbers[uint8](r, count)
	case kindI8:
		return numbers[int8](r, count)
	case kindU16:
		return numbers[uint16](r, count)
	case kindI16:
		return numbers[int16](r, count)
	case kindU32:
		return numbers[uint32](r, count)
	case kindI32:
		return numbers[int32](r, count)
	case kindF32:
		return numbers[float32](r, count)
	case kindU64:
		return numbers[uint64](r, count)
	case kindI64:
		return numbers[int64](r, count)
	case kindF64:
		return numbers[float64](r, count)
	case kindBool:
		return r.bools(count)
	case kindString:
		return r.texts(count)
	}
	return nil, fmt.Errorf("type %d is not known", kind)
}

func numbers[T number](r *reader, count uint64) ([]T, error) {
	var one T
	size := uint64(binary.Size(one))
	if count > r.left()/size {
		return nil, ErrCutOff
	}
	b, err := r.bytes(count * size)
	if err != nil {
		return nil, err
	}
	all := make([]T, count)
	_, err = binary.Decode(b, binary.LittleEndian, all)
	return all, err
}

func (r *reader) bools(count uint64) ([]bool, error) {
	b, err := r.bytes(count)
	if err != nil {
		return nil, err
	}
	all := make([]bool, len(b))
	for i, v := range b {
		if v > 1 {
			return nil, fmt.Errorf("a bool must be 0 or 1, got %d", v)
		}
		all[i] = v == 1
	}
	return all, nil
}

// texts reads strings, of which each takes 8 bytes at least.
func (r *reader) texts(count uint64) ([]string, error) {
	if count > r.left()/8 {
		return nil, ErrCutOff
	}
	all := make([]string, count)
	for i := range all {
		var err error
		if all[i], err = r.text(math.MaxInt32); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// first is the only element of a list of one.
func first(list any) any {
	switch list := list.(type) {
	case []uint8:
		return list[0]
	case []int8:
		return list[0]
	case []uint16:
		return list[0]
	case []int16:
		return list[0]
	case []uint32:
		return list[0]
	case []int32:
		return list[0]
	case []float32:
		return list[0]
	case []uint64:
		return list[0]
	case []int64:
		return list[0]
	case []float64:
		return list[0]
	case []bool:
		return list[0]
	case []string:
		return list[0]
	}
	return nil
}

// alignment is what the metadata says about it.
func (f *File) alignment() (int64, error) {
	value := f.Get(alignmentKey)
	if value == nil {
		return DefaultAlignment, nil
	}
	a, ok := value.(uint32)
	if !ok || a == 0 || a > maxAlignment || a&(a-1) != 0 {
		return 0, fmt.Errorf("%s must be a power of two up to %d, as a uint32, got %v", alignmentKey, maxAlignment, value)
	}
	return int64(a), nil
}

// table reads the table of tensors, of which each takes 24 bytes at least, and
// returns their offsets within the data.
func (r *reader) table(f *File, count uint64) (offsets []uint64, err error) {
	if count > r.left()/24 {
		return nil, fmt.Errorf("%d tensors do not fit into a file of %d bytes", count, len(r.data))
	}
	seen := make(map[string]bool, count)
	for i := range count {
		t, offset, err := r.tensor()
		if err != nil {
			return nil, fmt.Errorf("tensor %d %q: %w", i, t.Name, err)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("two tensors are named %q", t.Name)
		}
		seen[t.Name] = true
		f.Tensors = append(f.Tensors, t)
		offsets = append(offsets, offset)
	}
	return offsets, nil
}

func (r *reader) tensor() (t Tensor, offset uint64, err error) {
	if t.Name, err = r.text(MaxName); err != nil {
		return t, 0, err
	}
	var dims, kind uint32
	if err := get(r, &dims); err != nil {
		return t, 0, err
	}
	if dims > maxDims {
		return t, 0, fmt.Errorf("there must be at most %d dimensions, got %d", maxDims, dims)
	}
	t.Shape = make([]int64, dims)
	for i := range t.Shape {
		if err := get(r, &t.Shape[i]); err != nil {
			return t, 0, err
		}
	}
	slices.Reverse(t.Shape)
	if err := errors.Join(get(r, &kind), get(r, &offset)); err != nil {
		return t, 0, ErrCutOff
	}
	t.Type = dtype.Type(kind)
	return t, offset, nil
}

// place gives the tensors their bytes, which must lie one after another,
// beginning at start.
func (f *File) place(data []byte, start int64, offsets []uint64) error {
	at, end := start, start
	for i := range f.Tensors {
		t := &f.Tensors[i]
		n, err := size(t.Type, t.Shape)
		if err != nil {
			return fmt.Errorf("tensor %q has %w", t.Name, err)
		}
		if offsets[i] != uint64(at-start) {
			return fmt.Errorf("tensor %q must begin at byte %d of the data, where the one before it ends, got %d", t.Name, at-start, offsets[i])
		}
		if at > int64(len(data)) || n > int64(len(data))-at {
			return fmt.Errorf("tensor %q needs %d bytes from byte %d on, in a file of %d: %w", t.Name, n, at, len(data), ErrCutOff)
		}
		end = at + n
		t.Data = data[at:end:end]
		at = end + pad(end, f.Alignment)
	}
	if int64(len(data)) > at {
		return fmt.Errorf("%d bytes after the last tensor", int64(len(data))-end)
	}
	return nil
}
