package gguf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Layout is where everything is in a file.
type Layout struct {
	Header  []byte  // what the file begins with, up to the first tensor
	Offsets []int64 // of the tensors, in the file
	Sizes   []int64 // of the tensors, in bytes
	Size    int64   // of the file
}

// NewLayout plans a file. Only the names, types and shapes of the tensors
// count, so that their bytes can be made while the file is written, in any
// order. What lies between the tensors must be zero.
func NewLayout(meta []KV, tensors []Tensor) (*Layout, error) {
	l := &Layout{}
	if err := l.plan(meta, tensors); err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	return l, nil
}

func (l *Layout) plan(meta []KV, tensors []Tensor) error {
	var b bytes.Buffer
	b.WriteString(Magic)
	put(&b, uint32(Version), uint64(len(tensors)), uint64(len(meta)))
	seen := map[string]bool{}
	for _, kv := range meta {
		if seen[kv.Key] || kv.Key == "" || len(kv.Key) > maxKey || kv.Key == alignmentKey {
			return fmt.Errorf("metadata %q: keys must differ and have 1 to %d bytes", kv.Key, maxKey)
		}
		seen[kv.Key] = true
		putText(&b, kv.Key)
		if err := putValue(&b, kv.Value); err != nil {
			return fmt.Errorf("metadata %q: %w", kv.Key, err)
		}
	}
	clear(seen)
	at := int64(0)
	for _, t := range tensors {
		if seen[t.Name] || len(t.Name) > MaxName {
			return fmt.Errorf("tensor %.60q: names must differ and have at most %d bytes", t.Name, MaxName)
		}
		seen[t.Name] = true
		n, err := size(t.Type, t.Shape)
		if err != nil {
			return fmt.Errorf("tensor %q has %w", t.Name, err)
		}
		if len(t.Shape) > maxDims {
			return fmt.Errorf("tensor %q must have at most %d dimensions, got %d", t.Name, maxDims, len(t.Shape))
		}
		putText(&b, t.Name)
		put(&b, uint32(len(t.Shape)))
		for _, d := range slices.Backward(t.Shape) {
			put(&b, d)
		}
		put(&b, uint32(t.Type), at)
		l.Offsets = append(l.Offsets, at)
		l.Sizes = append(l.Sizes, n)
		at += n + pad(n, DefaultAlignment)
	}
	b.Write(make([]byte, pad(int64(b.Len()), DefaultAlignment)))
	l.Header = b.Bytes()
	for i := range l.Offsets {
		l.Offsets[i] += int64(len(l.Header))
	}
	l.Size = int64(len(l.Header)) + at
	return nil
}

// put writes numbers. A bytes.Buffer takes all of them.
func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		_ = binary.Write(b, binary.LittleEndian, v)
	}
}

func putText(b *bytes.Buffer, s string) {
	put(b, uint64(len(s)))
	b.WriteString(s)
}

// putValue writes a value of the metadata after its type's number.
func putValue(b *bytes.Buffer, value any) error {
	switch v := value.(type) {
	case string:
		put(b, kindString)
		putText(b, v)
	case []string:
		put(b, kindArray, kindString, uint64(len(v)))
		for _, s := range v {
			putText(b, s)
		}
	default:
		kind, array, ok := kindOf(value)
		if !ok {
			return fmt.Errorf("values of the type %T cannot be written", value)
		}
		if array >= 0 {
			put(b, kindArray, kind, uint64(array), value)
		} else {
			put(b, kind, value)
		}
	}
	return nil
}

// kindOf is the number of a value's type, and the length of an array or -1.
func kindOf(value any) (kind uint32, array int, ok bool) {
	switch v := value.(type) {
	case uint8:
		return kindU8, -1, true
	case int8:
		return kindI8, -1, true
	case uint16:
		return kindU16, -1, true
	case int16:
		return kindI16, -1, true
	case uint32:
		return kindU32, -1, true
	case int32:
		return kindI32, -1, true
	case uint64:
		return kindU64, -1, true
	case int64:
		return kindI64, -1, true
	case float32:
		return kindF32, -1, true
	case float64:
		return kindF64, -1, true
	case bool:
		return kindBool, -1, true
	case []uint8:
		return kindU8, len(v), true
	case []int8:
		return kindI8, len(v), true
	case []uint16:
		return kindU16, len(v), true
	case []int16:
		return kindI16, len(v), true
	case []uint32:
		return kindU32, len(v), true
	case []int32:
		return kindI32, len(v), true
	case []uint64:
		return kindU64, len(v), true
	case []int64:
		return kindI64, len(v), true
	case []float32:
		return kindF32, len(v), true
	case []float64:
		return kindF64, len(v), true
	case []bool:
		return kindBool, len(v), true
	}
	return 0, 0, false
}
