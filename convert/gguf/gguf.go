// Package gguf reads and writes ggml's file format: typed metadata, a table of
// tensors, and their bytes
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
//
// The reader knows versions 2 and 3, little-endian. It checks all that ggml's
// own reader checks and more: every count against the bytes that are left,
// every length, type, shape and offset; the tensors must lie one after
// another, without gaps or overlaps. It allocates at most a small multiple of what
// it reads.
package gguf

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/dtype"
)

// Magic is what a file begins with.
const Magic = "GGUF"

// Version is the version that is written. Version 2 is read, too; the two
// differ in big-endian files only.
const Version = 3

// DefaultAlignment is the alignment of tensors in bytes unless the metadata
// says otherwise.
const DefaultAlignment = 32

// MaxName bounds a tensor's name, in bytes. ggml's default is 63, of which
// stable-diffusion.cpp makes 127: its own names need that.
const MaxName = 1 << 10

const alignmentKey = "general.alignment"

const (
	maxDims = 4 // GGML_MAX_DIMS
	maxKey  = 1<<16 - 1
	// maxAlignment bounds what a file may ask for; files use 32, some 4096.
	maxAlignment = 1 << 20
)

// KV is one entry of the metadata. Value is a uint8, int8, uint16, int16,
// uint32, int32, uint64, int64, float32, float64, bool or string, or a slice of
// one of these.
type KV struct {
	Key   string
	Value any
}

// Tensor is one tensor of a file.
type Tensor struct {
	Name  string
	Type  dtype.Type
	Shape []int64 // PyTorch's order, which is the reverse of the file's
	Data  []byte  // within the bytes given to Parse
}

// File is a parsed file.
type File struct {
	Version   uint32
	Meta      []KV
	Tensors   []Tensor // in the order of their bytes
	Alignment int64    // of the tensors in the file, in bytes: a power of two
}

// Get returns the metadata with a key, or nil.
func (f *File) Get(key string) any {
	for _, kv := range f.Meta {
		if kv.Key == key {
			return kv.Value
		}
	}
	return nil
}

// Looks reports whether data may be a GGUF file.
func Looks(data []byte) bool { return len(data) >= 4 && string(data[:4]) == Magic }

// size is a tensor's size in bytes.
func size(t dtype.Type, shape []int64) (int64, error) {
	n, row := int64(1), int64(1)
	for i, d := range shape {
		if d < 1 {
			return 0, fmt.Errorf("the shape %v, whose dimensions must be 1 or more", shape)
		}
		if n > (1<<62)/d {
			return 0, fmt.Errorf("the shape %v, larger than any file", shape)
		}
		n *= d
		if i == len(shape)-1 {
			row = d
		}
	}
	bytes, ok := t.Size(n, row)
	switch {
	case !t.InGGML():
		return 0, fmt.Errorf("the type %d, which is not known", uint32(t))
	case !ok && row%t.BlockSize() != 0:
		return 0, fmt.Errorf("rows of %d elements, which do not divide into the blocks of %d that %v has", row, t.BlockSize(), t)
	case !ok:
		return 0, fmt.Errorf("the shape %v, larger than any file", shape)
	}
	return bytes, nil
}

// pad is the number of bytes from an offset to the next aligned one.
func pad(offset, alignment int64) int64 { return (alignment - offset%alignment) % alignment }
