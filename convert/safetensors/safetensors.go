// Package safetensors reads and writes the safetensors format: a length, a
// JSON header, and the tensors' bytes.
//
// The reader holds to every rule of the format
// (https://github.com/huggingface/safetensors#format): the header is at most
// 100,000,000 bytes and begins with '{', no name is there twice, every tensor's
// bytes are its shape times its type, and the tensors cover the rest of the
// file without a gap or an overlap. There is no lenient mode. Names of more than
// 1024 bytes, which the format allows, are refused, too.
package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
)

// MaxHeader is the largest header that the format allows, in bytes.
const MaxHeader = 100_000_000

// maxDims bounds a shape; PyTorch's own limit is 64, no model needs 8.
const maxDims = 16

// maxName bounds a tensor's name, in bytes: a GGUF file could have no longer one.
const maxName = 1 << 10

// maxField bounds a field of a tensor's description, in bytes of JSON: maxDims
// numbers and the white space between them.
const maxField = 1 << 10

// ErrCutOff is in the error for a file that ends before what it should have.
var ErrCutOff = errors.New("the file is cut off")

const metadataKey = "__metadata__"

// Tensor is one tensor of a file.
type Tensor struct {
	Name  string
	DType string  // as the format writes it: "F32", "F16", "BF16", …
	Shape []int64 // PyTorch's order; empty for a scalar
	Data  []byte  // within the bytes given to Parse
}

// File is a parsed file.
type File struct {
	Metadata map[string]string
	Tensors  []Tensor // in the order of their bytes
}

// bitsOf are the element sizes of the format's types, in bits.
var bitsOf = map[string]int64{
	"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
	"I16": 16, "U16": 16, "F16": 16, "BF16": 16,
	"I32": 32, "U32": 32, "F32": 32,
	"I64": 64, "U64": 64, "F64": 64, "C64": 64,
}

// Looks reports whether data may be a safetensors file: whether a header that
// begins with '{' fits into it.
func Looks(data []byte) bool {
	return len(data) > 8 && data[8] == '{' && binary.LittleEndian.Uint64(data) <= uint64(len(data)-8)
}

// Parse reads a file from its bytes, which the tensors keep using.
func Parse(data []byte) (*File, error) {
	if len(data) < 8 {
		return nil, fmt.Errorf("safetensors: a file must have at least 8 bytes for the header's length, got %d", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	body := data[8:]
	switch {
	case n > MaxHeader:
		return nil, fmt.Errorf("safetensors: the header must be at most %d bytes, got %d: this is no safetensors file, or a damaged one", MaxHeader, n)
	case n > uint64(len(body)):
		return nil, fmt.Errorf("safetensors: a header of %d bytes in a file of %d: %w", n, len(data), ErrCutOff)
	case n < 2 || body[0] != '{':
		return nil, errors.New("safetensors: the header does not begin with '{'")
	}
	p, err := parseHeader(body[:n])
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	if err := p.place(body[n:]); err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	file := &File{Metadata: p.metadata, Tensors: make([]Tensor, len(p.tensors))}
	for i, t := range p.tensors {
		file.Tensors[i] = t.Tensor
	}
	return file, nil
}

// entry is a tensor's description in the header.
type entry struct {
	DType   *string   `json:"dtype"`
	Shape   *[]int64  `json:"shape"`
	Offsets *[]uint64 `json:"data_offsets"`
}

// placed is a tensor whose bytes are not yet checked.
type placed struct {
	Tensor
	begin, end uint64
}

func parseHeader(header []byte) (*parsing, error) {
	d := json.NewDecoder(bytes.NewReader(header))
	if _, err := d.Token(); err != nil { // the '{' that is known to be there
		return nil, headerError(err)
	}
	p := &parsing{}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, headerError(err)
		}
		name, ok := token.(string)
		if !ok {
			return nil, errors.New("the header is no JSON object")
		}
		if len(name) > maxName {
			return nil, fmt.Errorf("a name must be at most %d bytes, got %d", maxName, len(name))
		}
		if seen[name] {
			return nil, fmt.Errorf("the header names %q twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			if p.metadata, err = decodeMetadata(d); err != nil {
				return nil, fmt.Errorf("%s must map strings to strings: %w", metadataKey, err)
			}
			continue
		}
		e, err := decodeEntry(d)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, headerError(err))
		}
		t, err := e.check(name)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		p.tensors = append(p.tensors, t)
	}
	if _, err := d.Token(); err != nil {
		return nil, headerError(err)
	}
	if rest := bytes.TrimSpace(header[d.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes after the header's JSON", len(rest))
	}
	return p, nil
}

// decodeMetadata reads an object of strings, whose names must all differ.
func decodeMetadata(d *json.Decoder) (map[string]string, error) {
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	all := map[string]string{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string)
		if _, twice := all[key]; twice {
			return nil, fmt.Errorf("it has %.40q twice", key)
		}
		value, err := d.Token()
		if err != nil {
			return nil, err
		}
		text, ok := value.(string)
		if !ok {
			return nil, fmt.Errorf("the value of %.40q is no string", key)
		}
		all[key] = text
	}
	_, err := d.Token()
	return all, err
}

// decodeEntry reads a description with each field once, by its exact name:
// Go's decoder alone would take "DType" for "dtype", and of two the last.
func decodeEntry(d *json.Decoder) (e entry, err error) {
	token, err := d.Token()
	if err != nil {
		return e, err
	}
	if token != json.Delim('{') {
		return e, errors.New("it is described by something that is no JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return e, err
		}
		name, _ := token.(string)
		if seen[name] {
			return e, fmt.Errorf("field %.40q is there twice", name)
		}
		seen[name] = true
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return e, err
		}
		if len(raw) > maxField {
			return e, fmt.Errorf("field %.40q must be at most %d bytes, got %d", name, maxField, len(raw))
		}
		var to any
		switch name {
		case "dtype":
			to = &e.DType
		case "shape":
			to = &e.Shape
		case "data_offsets":
			to = &e.Offsets
		default:
			continue
		}
		if err := json.Unmarshal(raw, to); err != nil {
			return e, err
		}
	}
	_, err = d.Token()
	return e, err
}

func headerError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the header's JSON ends too early")
	}
	return fmt.Errorf("the header is malformed: %w", err)
}

// check turns a description into a tensor, its size known to be right.
func (e entry) check(name string) (placed, error) {
	if e.DType == nil || e.Shape == nil || e.Offsets == nil || len(*e.Offsets) != 2 {
		return placed{}, errors.New("it must have dtype, shape and two data_offsets")
	}
	size, ok := bitsOf[*e.DType]
	if !ok {
		return placed{}, fmt.Errorf("unknown type %.20q", *e.DType)
	}
	if len(*e.Shape) > maxDims {
		return placed{}, fmt.Errorf("there must be at most %d dimensions, got %d", maxDims, len(*e.Shape))
	}
	total := uint64(size / 8)
	for _, d := range *e.Shape {
		if d < 0 {
			return placed{}, fmt.Errorf("shape %v has a negative dimension", *e.Shape)
		}
		var high uint64
		if high, total = bits.Mul64(total, uint64(d)); high != 0 {
			return placed{}, fmt.Errorf("shape %v is larger than any file", *e.Shape)
		}
	}
	begin, end := (*e.Offsets)[0], (*e.Offsets)[1]
	if begin > end {
		return placed{}, fmt.Errorf("its bytes end at %d, before they begin at %d", end, begin)
	}
	if end-begin != total {
		return placed{}, fmt.Errorf("%d bytes for the shape %v of %s, which takes %d", end-begin, *e.Shape, *e.DType, total)
	}
	return placed{Tensor{Name: name, DType: *e.DType, Shape: *e.Shape}, begin, end}, nil
}

// parsing is a header that is read but not checked against the file's size.
type parsing struct {
	metadata map[string]string
	tensors  []placed
}

// place gives the tensors their bytes.
func (p *parsing) place(body []byte) error {
	slices.SortStableFunc(p.tensors, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at := uint64(0)
	for i, t := range p.tensors {
		switch {
		case t.begin < at:
			return fmt.Errorf("tensors %q and %q overlap", p.tensors[i-1].Name, t.Name)
		case t.begin > at:
			return fmt.Errorf("a gap of %d bytes before tensor %q", t.begin-at, t.Name)
		case t.end > uint64(len(body)):
			return fmt.Errorf("tensor %q ends at byte %d of %d: %w", t.Name, t.end, len(body), ErrCutOff)
		}
		p.tensors[i].Data = body[t.begin:t.end:t.end]
		at = t.end
	}
	if at != uint64(len(body)) {
		return fmt.Errorf("%d bytes after the last tensor", uint64(len(body))-at)
	}
	return nil
}
