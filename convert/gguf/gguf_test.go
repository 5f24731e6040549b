package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/allocation"
	"github.com/sdgo/sdgo/internal/mutate"
)

var sample = []Tensor{
	{Name: "a.weight", Type: dtype.F32, Shape: []int64{2, 3}},
	{Name: "b.weight", Type: dtype.Q8_0, Shape: []int64{3, 64}},
	{Name: "c.bias", Type: dtype.F16, Shape: []int64{5}},
	{Name: "d.scalar", Type: dtype.F32},
	{Name: "e." + strings.Repeat("x", 120), Type: dtype.BF16, Shape: []int64{4, 2, 3, 3}},
}

var sampleMeta = []KV{
	{"general.architecture", "sd1"}, {"u8", uint8(200)}, {"i8", int8(-3)}, {"u16", uint16(60000)}, {"i16", int16(-9)},
	{"u32", uint32(1 << 31)}, {"i32", int32(-1)}, {"u64", uint64(1 << 63)}, {"i64", int64(-1 << 62)}, {"f32", float32(0.5)},
	{"f64", math.Pi}, {"yes", true}, {"no", false}, {"empty", ""}, {"texts", []string{"a b", "", "ü"}}, {"no texts", []string{}},
	{"floats", []float32{1, -2}}, {"ints", []int32{3, 4, 5}}, {"bools", []bool{true, false}}, {"doubles", []float64{1e300}},
	{"u8s", []uint8{0, 255}}, {"i8s", []int8{-128, 127}}, {"u16s", []uint16{65535}}, {"i16s", []int16{-32768, 1}}, {"u32s", []uint32{math.MaxUint32}},
	{"u64s", []uint64{math.MaxUint64, 1}}, {"i64s", []int64{math.MinInt64, 1}}, {"none", []uint64{}},
}

// write makes a file whose tensors are filled with their number.
func write(t testing.TB, meta []KV, tensors []Tensor) []byte {
	l, err := NewLayout(meta, tensors)
	require.NoError(t, err)
	data := make([]byte, l.Size)
	copy(data, l.Header)
	for i := range tensors {
		copy(data[l.Offsets[i]:], bytes.Repeat([]byte{byte(i + 1)}, int(l.Sizes[i])))
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	data := write(t, sampleMeta, sample)
	f, err := Parse(data)
	require.NoError(t, err)
	require.EqualValues(t, 3, f.Version)
	require.Equal(t, sampleMeta, f.Meta)
	require.Len(t, f.Tensors, len(sample))
	sizes := []int{24, 3 * 68, 10, 4, 144}
	for i, got := range f.Tensors {
		require.Equal(t, sample[i].Name, got.Name)
		require.Equal(t, sample[i].Type, got.Type)
		require.Len(t, got.Shape, len(sample[i].Shape))
		require.EqualValues(t, append([]int64{}, sample[i].Shape...), got.Shape)
		require.Equal(t, bytes.Repeat([]byte{byte(i + 1)}, sizes[i]), got.Data)
	}
	require.Equal(t, math.Pi, f.Get("f64"))
	require.Nil(t, f.Get("nothing"))
}

// The file without the zeros after its last tensor is read, too.
func TestUnpaddedEnd(t *testing.T) {
	data := write(t, nil, sample[:1])
	f, err := Parse(data[:len(data)-8])
	require.NoError(t, err)
	require.Len(t, f.Tensors[0].Data, 24)
}

func TestVersion2(t *testing.T) {
	data := write(t, sampleMeta, sample)
	binary.LittleEndian.PutUint32(data[4:], 2)
	_, err := Parse(data)
	require.NoError(t, err)
}

// A file by hand, so that reader and writer are not only each other's mirror:
// the example of the specification's layout with one key and one tensor.
func byHand(edit func(f *fields)) []byte {
	f := &fields{magic: "GGUF", version: 3, tensors: 1, metas: 1, keyLen: 17, key: "general.alignment", kind: 4, value: 64,
		nameLen: 1, name: "t", dims: 2, shape: []uint64{32, 2}, typ: 8, offset: 0, data: 68}
	if edit != nil {
		edit(f)
	}
	var b bytes.Buffer
	b.WriteString(f.magic)
	put(&b, f.version, f.tensors, f.metas, f.keyLen)
	b.WriteString(f.key)
	put(&b, f.kind, f.value)
	b.WriteString(f.extra)
	put(&b, f.nameLen)
	b.WriteString(f.name)
	put(&b, f.dims, f.shape, f.typ, f.offset)
	b.WriteString(f.more)
	b.Write(make([]byte, (64-b.Len()%64)%64))
	b.Write(make([]byte, f.data))
	return b.Bytes()
}

type fields struct {
	magic                  string
	version                uint32
	tensors, metas, keyLen uint64
	key                    string
	kind, value            uint32
	extra                  string
	nameLen                uint64
	name                   string
	dims                   uint32
	shape                  []uint64
	typ                    uint32
	offset                 uint64
	more                   string
	data                   int
}

func TestByHand(t *testing.T) {
	f, err := Parse(byHand(nil))
	require.NoError(t, err)
	require.Equal(t, []KV{{"general.alignment", uint32(64)}}, f.Meta)
	require.Equal(t, "t", f.Tensors[0].Name)
	require.Equal(t, []int64{2, 32}, f.Tensors[0].Shape)
	require.Equal(t, dtype.Q8_0, f.Tensors[0].Type)
	require.Len(t, f.Tensors[0].Data, 68)
}

// attacks are files of the kinds that have crashed readers or made them
// allocate gigabytes, and what is said of each.
var attacks = []struct {
	name string
	edit func(f *fields)
	want string
}{
	{"magic", func(f *fields) { f.magic = "GGML" }, `does not begin with "GGUF"`},
	{"version 1", func(f *fields) { f.version = 1 }, "the version must be 2 or 3, got 1"},
	{"big-endian", func(f *fields) { f.version = 3 << 24 }, "big-endian"},
	{"tensor count", func(f *fields) { f.tensors = 1 << 60 }, "1152921504606846976 tensors do not fit"},
	{"one tensor too many", func(f *fields) { f.tensors = 2 }, "must begin at byte 128 of the data, where the one before it ends, got 0"},
	{"metadata count", func(f *fields) { f.metas = math.MaxUint64 }, "entries of metadata do not fit"},
	{"key length", func(f *fields) { f.keyLen = math.MaxUint64 - 3 }, "the key of metadata entry 0: a length must be"},
	{"key of 65536", func(f *fields) { f.keyLen = 65536; f.key = strings.Repeat("k", 65536) }, "a length must be at most 65535 bytes, got 65536"},
	{"version 4", func(f *fields) { f.version = 4 }, "the version must be 2 or 3, got 4"},
	{"big-endian version 2", func(f *fields) { f.version = 2 << 24 }, "big-endian"},
	{"array of an unknown type", func(f *fields) { f.kind = 9; f.value = 13; f.extra = strings.Repeat("\x00", 8) }, "type 13 is not known"},
	{"string length", func(f *fields) { f.kind = 8; f.value = math.MaxUint32; f.extra = "\x00\x00\x00\x00" }, `metadata "general.alignment": a length must be`},
	{"alignment 2^21", func(f *fields) { f.value = 1 << 21 }, "general.alignment must be a power of two up to 1048576, as a uint32, got 2097152"},
	{"unaligned offset", func(f *fields) { f.offset = 1 }, "must begin at byte 0 of the data, where the one before it ends, got 1"},
	{"name of 1025", func(f *fields) { f.nameLen = 1025; f.name = strings.Repeat("n", 1025) }, "a length must be at most 1024 bytes, got 1025"},
	{"key beyond the file", func(f *fields) { f.keyLen = 60000 }, "the file is cut off"},
	{"metadata type", func(f *fields) { f.kind = 13 }, "type 13 is not known"},
	{"alignment 0", func(f *fields) { f.value = 0 }, "general.alignment must be a power of two up to 1048576, as a uint32, got 0"},
	{"alignment 3", func(f *fields) { f.value = 3 }, "general.alignment must be a power of two up to 1048576, as a uint32, got 3"},
	{"alignment 2^31", func(f *fields) { f.value = 1 << 31 }, "general.alignment must be a power of two up to 1048576, as a uint32, got 2147483648"},
	{"alignment of another type", func(f *fields) { f.kind = 5 }, "as a uint32, got 64"},
	{"array length", func(f *fields) { f.kind = 9; f.value = 6; f.extra = "\xff\xff\xff\xff\xff\xff\xff\x3f" }, "the file is cut off"},
	{"string array length", func(f *fields) { f.kind = 9; f.value = 8; f.extra = "\xff\xff\xff\xff\xff\xff\xff\x1f" }, "the file is cut off"},
	{"array of arrays", func(f *fields) { f.kind = 9; f.value = 9; f.extra = strings.Repeat("\x01", 8) }, "arrays of arrays"},
	{"key twice", func(f *fields) {
		f.metas = 2
		f.extra = "\x11\x00\x00\x00\x00\x00\x00\x00general.alignment\x04\x00\x00\x00\x20\x00\x00\x00"
	}, `"general.alignment" twice`},
	{"bool of 2", func(f *fields) { f.kind = 9; f.value = 7; f.extra = "\x01\x00\x00\x00\x00\x00\x00\x00\x02" }, "a bool must be 0 or 1, got 2"},
	{"name length", func(f *fields) { f.nameLen = 1 << 40 }, "tensor 0"},
	{"dimensions", func(f *fields) { f.dims = 5; f.shape = []uint64{1, 1, 1, 1, 1} }, "must be at most 4 dimensions, got 5"},
	{"many dimensions", func(f *fields) { f.dims = math.MaxUint32 }, "at most 4 dimensions, got 4294967295"},
	{"dimension 0", func(f *fields) { f.shape = []uint64{32, 0} }, "whose dimensions must be 1 or more"},
	{"negative dimension", func(f *fields) { f.shape = []uint64{32, 1 << 63} }, "whose dimensions must be 1 or more"},
	{"product overflows", func(f *fields) { f.shape = []uint64{1 << 32, 1 << 32} }, "larger than any file"},
	{"bytes overflow", func(f *fields) { f.typ = 28; f.shape = []uint64{1 << 31, 1 << 30} }, "larger than any file"},
	{"larger than the file", func(f *fields) { f.shape = []uint64{32, 1 << 40} }, "the file is cut off"},
	{"row is no whole block", func(f *fields) { f.shape = []uint64{16, 4} }, "rows of 16 elements"},
	{"unknown type", func(f *fields) { f.typ = 4 }, "the type 4, which is not known"},
	{"huge type", func(f *fields) { f.typ = math.MaxUint32 }, "the type 4294967295, which is not known"},
	{"offset", func(f *fields) { f.offset = 64 }, "must begin at byte 0 of the data, where the one before it ends, got 64"},
	{"huge offset", func(f *fields) { f.offset = math.MaxUint64 - 63 }, "must begin at byte 0 of the data"},
	{"cut off", func(f *fields) { f.data = 67 }, "the file is cut off"},
	{"surplus", func(f *fields) { f.data = 200 }, "bytes after the last tensor"},
	{"tensor twice", func(f *fields) {
		f.tensors = 2
		f.more = "\x01\x00\x00\x00\x00\x00\x00\x00t\x01\x00\x00\x00\x20\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00"
	}, `two tensors are named "t"`},
	{"overlap", func(f *fields) {
		f.tensors = 2
		f.more = "\x01\x00\x00\x00\x00\x00\x00\x00u\x01\x00\x00\x00\x20\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00"
	}, "must begin at byte 128 of the data, where the one before it ends, got 64"},
}

func TestAttacks(t *testing.T) {
	for _, c := range attacks {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(byHand(c.edit))
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// Every prefix of a file is an error, except one that only lacks padding.
func TestTruncated(t *testing.T) {
	data := write(t, sampleMeta, sample)
	for n := range len(data) - int(pad(144, DefaultAlignment)) {
		_, err := Parse(data[:n])
		require.Error(t, err, "%d of %d bytes", n, len(data))
	}
}

func TestLayoutErrors(t *testing.T) {
	for _, c := range []struct {
		meta    []KV
		tensors []Tensor
		want    string
	}{
		{[]KV{{"a", 1}}, nil, "values of the type int cannot be written"},
		{[]KV{{"a", "x"}, {"a", "y"}}, nil, `metadata "a": keys must differ`},
		{[]KV{{"", "x"}}, nil, "keys must differ"},
		{[]KV{{"general.alignment", uint32(64)}}, nil, "keys must differ"},
		{nil, []Tensor{sample[0], sample[0]}, "names must differ"},
		{nil, []Tensor{{Name: "x", Type: dtype.F32, Shape: []int64{1, 1, 1, 1, 1}}}, "must have at most 4 dimensions, got 5"},
		{nil, []Tensor{{Name: "x", Type: dtype.Q4_0, Shape: []int64{33}}}, "rows of 33 elements"},
		{nil, []Tensor{{Name: "x", Type: 4, Shape: []int64{1}}}, "the type 4"},
		{nil, []Tensor{{Name: "x", Type: dtype.F32, Shape: []int64{-1}}}, "whose dimensions must be 1 or more"},
	} {
		_, err := NewLayout(c.meta, c.tensors)
		require.ErrorContains(t, err, c.want)
	}
}

// A reader must not allocate more than a small multiple of what it is given.
func FuzzParse(f *testing.F) {
	f.Add(write(f, sampleMeta, sample))
	f.Add(byHand(nil))
	data, err := os.ReadFile(reference)
	require.NoError(f, err)
	f.Add(data)
	for _, c := range attacks {
		f.Add(byHand(c.edit))
	}
	f.Fuzz(requireParse)
}

// FuzzMutated makes files that are wrong in few places.
func FuzzMutated(f *testing.F) {
	model := mutate.Small()
	for seed := range uint64(20) {
		f.Add(mutate.Choices(seed))
	}
	f.Fuzz(func(t *testing.T, script []byte) { requireParse(t, model.GGUF(mutate.NewScript(script))) })
}

// requireParse reads a file: at a bounded cost, and what is read can be written.
func requireParse(t *testing.T, data []byte) {
	var file *File
	var err error
	allocation.Bound(t, len(data), 32, func() { file, err = Parse(data) })
	if err != nil {
		return
	}
	total := 0
	for _, tensor := range file.Tensors {
		total += len(tensor.Data)
	}
	if total > len(data) {
		t.Fatalf("tensors of %d bytes in a file of %d", total, len(data))
	}
	if l, err := NewLayout(without(file.Meta, alignmentKey), file.Tensors); err != nil || l.Size < int64(total) {
		t.Fatalf("what was read cannot be written: %v", err)
	}
}

func without(meta []KV, key string) (rest []KV) {
	for _, kv := range meta {
		if kv.Key != key && kv.Key != "" {
			rest = append(rest, kv)
		}
	}
	return rest
}
