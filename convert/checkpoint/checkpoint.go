// Package checkpoint reads the tensors of PyTorch checkpoints (.ckpt, .pt,
// .pth, .bin): the zip archives that torch.save has written since version 1.6,
// the plain format before, and the tar archives before version 0.2; and of the
// pickles (.pkl) of EDM and EDM2, whose objects carry the code of their classes.
//
// Such a file holds a pickle, a program for a stack machine that may call any
// Python function. The interpreter here has no functions to call: it knows
// numbers, strings, containers and how torch writes tensors. Everything else in
// the pickle is refused by its name ([RefusedError]). There is no lenient mode.
package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Tensor is one tensor of a checkpoint.
type Tensor struct {
	Name  string
	DType string  // as safetensors files write it: "F32", "F16", "BF16", …
	Shape []int64 // empty for a scalar
	Data  []byte  // within the bytes given to Parse

	// Strides are nil where the elements lie in the shape's order. Elsewhere they
	// are the distances of the next elements, in elements, for each dimension, and
	// Data reaches from the first one to the last.
	Strides []int64
}

// RefusedError says that a pickle names something that is neither a tensor nor
// a plain container. Loading such a file with Python would import it, and
// could run it.
type RefusedError struct {
	Name string // such as "os.system"
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("its pickle refers to %.100q, which is no part of a tensor: files that do so can run programs when Python loads them; "+
		"use a file with only tensors, or better a .safetensors file", e.Name)
}

// ErrCutOff is in the error for a file that ends before what it should have.
var ErrCutOff = errors.New("the file is cut off")

// Looks reports whether data may be a checkpoint.
func Looks(data []byte) bool {
	return len(data) > 4 && (string(data[:4]) == "PK\x03\x04" || data[0] == opProto && data[1] <= maxProtocol) || isTar(data)
}

// isTar finds archives of the format before 2017 by the mark in their header.
func isTar(data []byte) bool { return len(data) > 512 && string(data[257:262]) == "ustar" }

// Parse reads a checkpoint from its bytes, which the tensors keep using. Of a
// training checkpoint it gives the model's tensors ("state_dict"); nested names
// are joined with dots.
func Parse(data []byte) ([]Tensor, error) {
	f, err := ParseFile(data)
	if err != nil {
		return nil, err
	}
	return f.Tensors, nil
}

// File is what a checkpoint holds.
type File struct {
	Tensors []Tensor
	Object  *Object // that the tensors are part of; nil of files with tensors only
}

// ParseFile is Parse for readers that ask what the tensors are part of.
func ParseFile(data []byte) (*File, error) {
	f, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return f, nil
}

func parse(data []byte) (f *File, err error) {
	f = &File{}
	switch {
	case !Looks(data):
		return nil, errors.New("the file is neither a zip archive nor a pickle")
	case data[0] == 'P':
		f.Tensors, err = parseZip(data)
	case isTar(data):
		f.Tensors, err = parseTar(data)
	default:
		return parsePickle(data)
	}
	return f, err
}

// storage is a run of elements that tensors are views of.
type storage struct {
	element
	key   string
	count int64  // of elements
	data  []byte // nil until it is found
}

// element is a type of elements: its name in safetensors files and its bytes.
type element struct {
	dtype string
	size  int64
}

// storageTypes are torch's classes of storages.
var storageTypes = map[string]element{
	"DoubleStorage": {"F64", 8}, "FloatStorage": {"F32", 4}, "HalfStorage": {"F16", 2}, "BFloat16Storage": {"BF16", 2},
	"LongStorage": {"I64", 8}, "IntStorage": {"I32", 4}, "ShortStorage": {"I16", 2}, "CharStorage": {"I8", 1},
	"ByteStorage": {"U8", 1}, "BoolStorage": {"BOOL", 1},
}

// elementTypes are torch's types of elements, for storages without one.
var elementTypes = map[string]element{
	"float64": {"F64", 8}, "float32": {"F32", 4}, "float16": {"F16", 2}, "bfloat16": {"BF16", 2}, "int64": {"I64", 8}, "int32": {"I32", 4},
	"int16": {"I16", 2}, "int8": {"I8", 1}, "uint8": {"U8", 1}, "bool": {"BOOL", 1}, "uint16": {"U16", 2}, "uint32": {"U32", 4},
	"uint64": {"U64", 8}, "float8_e4m3fn": {"F8_E4M3", 1}, "float8_e5m2": {"F8_E5M2", 1},
}

// view is a tensor as a pickle describes it.
type view struct {
	element
	storage *storage
	offset  int64 // in elements, as are the strides
	shape   []int64
	strides []int64
}

// newView checks that all of a view's elements are in its storage.
func newView(s *storage, e element, offset int64, shape, strides []int64) (*view, error) {
	available := s.count * s.size / e.size
	if len(shape) != len(strides) || len(shape) > 16 {
		return nil, fmt.Errorf("a tensor with the shape %v and the strides %v", shape, strides)
	}
	if offset < 0 || offset > available {
		return nil, fmt.Errorf("a tensor that begins at element %d of a storage of %d", offset, available)
	}
	v := &view{e, s, offset, shape, strides}
	last, count := uint64(offset), uint64(1)
	for i, d := range shape {
		if d < 0 || strides[i] < 0 {
			return nil, fmt.Errorf("a tensor with the shape %v and the strides %v", shape, strides)
		}
		var high uint64
		if high, count = bits.Mul64(count, uint64(d)); high != 0 || count > uint64(available) {
			return nil, fmt.Errorf("a tensor of shape %v on a storage of %d elements", shape, available)
		}
	}
	if count == 0 {
		return v, nil
	}
	for i, d := range shape {
		high, reach := bits.Mul64(uint64(d-1), uint64(strides[i]))
		if last += reach; high != 0 || last < reach || last >= uint64(available) {
			return nil, fmt.Errorf("a tensor of shape %v with strides %v from element %d on exceeds its storage of %d", shape, strides, offset, available)
		}
	}
	if last >= uint64(available) {
		return nil, fmt.Errorf("a tensor at element %d of a storage of %d", offset, available)
	}
	return v, nil
}

func (v *view) elements() int64 {
	n := int64(1)
	for _, d := range v.shape {
		n *= d
	}
	return n
}

func (v *view) contiguous() bool {
	want := int64(1)
	for i := len(v.shape) - 1; i >= 0; i-- {
		if v.shape[i] != 1 && v.strides[i] != want {
			return false
		}
		want *= v.shape[i]
	}
	return true
}

// tensor is the view with its bytes, as Parse returns it.
func (v *view) tensor(name string) (Tensor, error) {
	t := Tensor{Name: name, DType: v.dtype, Shape: slices.Clone(v.shape)}
	s, n := v.storage, v.elements()
	if n == 0 {
		return t, nil
	}
	if s.data == nil {
		return t, fmt.Errorf("its storage %q is missing", cut(s.key))
	}
	from, reach := v.offset*v.size, n
	if !v.contiguous() {
		t.Strides, reach = slices.Clone(v.strides), 1
		for i, d := range v.shape {
			reach += (d - 1) * v.strides[i]
		}
	}
	t.Data = s.data[from : from+reach*v.size : from+reach*v.size]
	return t, nil
}

// Gather writes elements of a tensor with strides to dst, in the shape's order,
// beginning with element first. dst has room for a whole number of elements of
// size bytes.
func (t Tensor) Gather(dst []byte, size, first int64) {
	at, from := make([]int64, len(t.Shape)), int64(0)
	rest := first
	for i := len(t.Shape) - 1; i >= 0; i-- {
		at[i] = rest % t.Shape[i]
		rest /= t.Shape[i]
		from += at[i] * t.Strides[i]
	}
	for ; len(dst) > 0; dst = dst[size:] {
		copy(dst[:size], t.Data[from*size:])
		for i := len(at) - 1; i >= 0; i-- {
			from += t.Strides[i]
			if at[i]++; at[i] < t.Shape[i] {
				break
			}
			from -= at[i] * t.Strides[i]
			at[i] = 0
		}
	}
}

// modelKeys are where checkpoints of training and of upscalers keep the model.
var modelKeys = []string{"state_dict", "params_ema", "params"}

// collect gathers the tensors of an object, with their names.
func collect(object any, size int) ([]Tensor, error) {
	root, ok := object.(*dict)
	if !ok {
		root, ok = numbered(object)
	}
	if !ok {
		return nil, errors.New("the file holds no dictionary of tensors")
	}
	for _, key := range modelKeys {
		if inner, ok := root.get(key).(*dict); ok {
			root = inner
			break
		}
	}
	switch average, err := averaged(root); {
	case err != nil:
		return nil, err
	case average != nil:
		root = average
	}
	c := newCollector(size)
	if err := c.walk("", root, 0); err != nil {
		return nil, err
	}
	if len(c.all) == 0 {
		return nil, errors.New("the file holds no tensors")
	}
	return c.all, nil
}

// numbered makes a dictionary of a tensor, or of a list of nothing but tensors, which are
// named by their places, counted from 0.
func numbered(object any) (*dict, bool) {
	all := []any{object}
	if l, ok := object.(*list); ok {
		all = l.items
	}
	d := &dict{}
	for i, one := range all {
		if _, ok := one.(*view); !ok {
			return nil, false
		}
		d.keys, d.values = append(d.keys, strconv.Itoa(i)), append(d.values, one)
	}
	return d, len(all) > 0
}

// maxName bounds a tensor's name, in bytes.
const maxName = 1000

// maxSharing bounds how many times larger than the file the tensors may be, which
// they are if they share storages. Tied weights double a part of a model.
const maxSharing = 4

// collector gathers tensors. It has a budget for what dictionaries that contain
// one another could multiply.
type collector struct {
	all    []Tensor
	seen   map[string]bool
	budget int64 // bytes of tensors
	names  int   // bytes of names
	visits int
}

func newCollector(size int) *collector {
	return &collector{budget: maxSharing*int64(size) + 1<<20, names: size + 1<<16, seen: map[string]bool{}, visits: size/4 + freeSteps}
}

// walk visits dictionaries down to a few levels; lists (of optimizers and the
// like) hold no part of a model.
func (c *collector) walk(prefix string, d *dict, depth int) error {
	for i, key := range d.keys {
		if c.visits--; c.visits < 0 {
			return errors.New("its dictionaries are entangled")
		}
		name, ok := key.(string)
		if !ok {
			continue
		}
		if len(prefix)+len(name) > maxName {
			return fmt.Errorf("a name must be at most %d bytes, got %d", maxName, len(prefix)+len(name))
		}
		if c.names -= len(prefix) + len(name); c.names < 0 {
			return errors.New("its dictionaries are entangled")
		}
		switch value := d.values[i].(type) {
		case *dict:
			if depth < 3 {
				if err := c.walk(prefix+name+".", value, depth+1); err != nil {
					return err
				}
			}
		case *view:
			name = prefix + name
			if c.seen[name] {
				return fmt.Errorf("two tensors are named %q", name)
			}
			c.seen[name] = true
			t, err := value.tensor(name)
			if c.budget -= value.elements() * value.size; err == nil && c.budget < 0 {
				err = errors.New("it and the ones before it share storages, and are many times larger than the file")
			}
			if err != nil {
				return fmt.Errorf("tensor %q: %w", name, err)
			}
			c.all = append(c.all, t)
		}
	}
	return nil
}

// legacyMagic is the number that the format before 1.6 begins with, as the machine has it.
const legacyMagic = opaque("long 6cfc9c46f9206aa85019")

// parsePickle reads a file that is a pickle, or several: the format before 1.6, or what
// pickle.dump wrote of objects that bring their classes along.
func parsePickle(data []byte) (*File, error) {
	m := newMachine(data, len(data))
	m.plain = true
	first, err := m.run()
	switch {
	case err != nil:
		return nil, err
	case m.objectSeen:
		return collectObject(first, len(data))
	case first != any(legacyMagic):
		return nil, errors.New("a pickle that torch.save did not write; its magic number is missing")
	}
	m.plain = false
	object, err := m.legacy()
	if err != nil {
		return nil, err
	}
	all, err := collect(object, len(data))
	return &File{Tensors: all}, err
}

// legacy reads what is after the magic number in the format before 1.6: pickles of a
// protocol's number, the system's description, the object and the storages' keys, then
// for each storage its length and elements.
func (m *machine) legacy() (object any, err error) {
	var keys any
	for i, to := range []*any{nil, nil, &object, &keys} {
		value, err := m.run()
		if err != nil {
			return nil, err
		}
		if i == 0 && value != any(int64(1001)) {
			return nil, fmt.Errorf("torch's protocol must be 1001, got %s", brief(value))
		}
		if to != nil {
			*to = value
		}
	}
	list, ok := keys.(*list)
	if !ok {
		return nil, errors.New("the list of storages is missing")
	}
	rest := m.data[m.at:]
	for _, k := range list.items {
		key, _ := k.(string)
		s := m.storages[key]
		if s == nil || s.data != nil {
			return nil, fmt.Errorf("the list of storages has %s, which no tensor uses or which it had before", brief(k))
		}
		if len(rest) < 8 {
			return nil, fmt.Errorf("%w within its storages", ErrCutOff)
		}
		count := int64(binary.LittleEndian.Uint64(rest))
		rest = rest[8:]
		if count != s.count || count > int64(len(rest))/s.size {
			return nil, fmt.Errorf("storage %q must have %d elements, got %d, and %d bytes are left", key, s.count, count, len(rest))
		}
		s.data, rest = rest[:count*s.size:count*s.size], rest[count*s.size:]
	}
	return object, nil
}

// brief describes a value for an error. Containers may hold one another, and are not
// written out.
func brief(v any) string {
	switch v := v.(type) {
	case nil, bool, int64, float64, string, opaque:
		return fmt.Sprintf("%.40q", fmt.Sprint(v))
	}
	return fmt.Sprintf("a %T", v)
}

// cut shortens a name from a file for an error.
func cut(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}
