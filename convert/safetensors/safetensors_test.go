package safetensors

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/allocation"
	"github.com/sdgo/sdgo/internal/mutate"
)

// file frames a header and a body.
func file(header string, body int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, body)...)
}

func TestRoundTrip(t *testing.T) {
	want := []Tensor{
		{"b", "F16", []int64{2, 3}, []byte("0123456789ab")},
		{"a", "F32", []int64{1}, []byte("wxyz")},
		{"empty", "F32", []int64{0, 7}, []byte{}},
		{"scalar", "I64", []int64{}, []byte("12345678")},
	}
	var b bytes.Buffer
	require.NoError(t, Write(&b, map[string]string{"format": "pt"}, want))
	require.True(t, Looks(b.Bytes()))
	got, err := Parse(b.Bytes())
	require.NoError(t, err)
	require.Equal(t, "pt", got.Metadata["format"])
	require.Len(t, got.Tensors, len(want))
	for _, w := range want {
		i := 0
		for got.Tensors[i].Name != w.Name {
			i++
		}
		require.Equal(t, w, got.Tensors[i])
	}
	require.ErrorContains(t, Write(&b, nil, []Tensor{want[0], want[0]}), "twice")
	require.ErrorContains(t, Write(&b, nil, []Tensor{{"x", "F32", []int64{2}, make([]byte, 4)}}), "takes 8")
}

// refused are files that break one rule each, and what is said of them.
func refused() map[string]struct {
	file []byte
	want string
} {
	return map[string]struct {
		file []byte
		want string
	}{
		"empty":                 {nil, "at least 8"},
		"text":                  {[]byte("This is a text file, nothing else.\n"), "at most"},
		"header beyond file":    {file(`{}`, 0)[:9], "cut off"},
		"header too large":      {binary.LittleEndian.AppendUint64(nil, MaxHeader+1), "at most"},
		"header overflows":      {append(bytes.Repeat([]byte{0xff}, 8), '{', '}'), "at most"},
		"no brace":              {file(` {}`, 0), "begin with"},
		"no JSON":               {file(`{"a"`, 0), "JSON"},
		"cut JSON":              {file(`{"a":{"dtype":"F32"`, 0), "tensor \"a\""},
		"after the JSON":        {file(`{} x`, 0), "after the header"},
		"metadata":              {file(`{"__metadata__":{"a":1}}`, 0), "strings"},
		"twice":                 {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), "twice"},
		"missing field":         {file(`{"a":{"dtype":"U8","shape":[1]}}`, 1), "must have dtype, shape and two data_offsets"},
		"field twice":           {file(`{"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}`, 1), `"shape" is there twice`},
		"field in capitals":     {file(`{"a":{"DTYPE":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "must have dtype, shape and two data_offsets"},
		"no object":             {file(`{"a":[1]}`, 1), "no JSON object"},
		"three offsets":         {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}`, 1), "must have dtype, shape and two data_offsets"},
		"type":                  {file(`{"a":{"dtype":"Q9","shape":[1],"data_offsets":[0,1]}}`, 1), "unknown type"},
		"number for type":       {file(`{"a":{"dtype":7,"shape":[1],"data_offsets":[0,1]}}`, 1), "tensor \"a\""},
		"negative dimension":    {file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1), "negative"},
		"negative offset":       {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}`, 1), "tensor \"a\""},
		"fraction":              {file(`{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}`, 1), "tensor \"a\""},
		"overflowing shape":     {file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}`, 0), "larger than any file"},
		"many dimensions":       {file(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("1,", 16)+`1],"data_offsets":[0,1]}}`, 1), "dimensions"},
		"long field":            {file(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("1,", 1000)+`1],"data_offsets":[0,1]}}`, 1), `field "shape" must be at most 1024 bytes, got 2003`},
		"long field of another": {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":"`+strings.Repeat("x", 2000)+`"}}`, 1), `field "x" must be at most 1024 bytes, got 2002`},
		"size":                  {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "takes 8"},
		"backwards":             {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, 1), "before"},
		"beyond the file":       {file(`{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}`, 7), "cut off"},
		"far beyond the file":   {file(`{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}`, 7), "cut off"},
		"overlap":               {file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}`, 6), "overlap"},
		"gap":                   {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3), "a gap of 1 bytes"},
		"surplus bytes":         {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 2), "after the last"},
		"nesting bomb":          {file(`{"a":`+strings.Repeat("[", 200000), 0), "tensor \"a\""},
		"tensor named metadata": {file(`{"__metadata__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "strings"},
		"long name":             {file(`{"`+strings.Repeat("a", 1025)+`":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "a name must be at most 1024 bytes, got 1025"},
		"metadata twice":        {file(`{"__metadata__":{"a":"1","a":"2"}}`, 0), `has "a" twice`},
		"two metadata":          {file(`{"__metadata__":{},"__metadata__":{}}`, 0), "twice"},
		"path for a name":       {file(`{"../../a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"../../a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), "twice"},
		"escaped twice":         {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), "twice"},
	}
}

func TestRefused(t *testing.T) {
	for name, test := range refused() {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(test.file)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(file(`{}`, 0))
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[],"data_offsets":[4,5]}}`, 5))
	f.Add(file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0))
	for _, c := range refused() {
		f.Add(c.file)
	}
	f.Add(file(`{`+strings.Repeat(`"a":{"dtype":"U8","shape":[],"data_offsets":[0,0],"x":{}},`, 500)+`"b":0}`, 0))
	f.Add(file(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("0,", 5000)+`0],"data_offsets":[0,0]}}`, 0))
	f.Fuzz(requireParse)
}

// FuzzMutated makes files that are wrong in few places.
func FuzzMutated(f *testing.F) {
	model := mutate.Small()
	for seed := range uint64(20) {
		f.Add(mutate.Choices(seed))
	}
	f.Fuzz(func(t *testing.T, script []byte) { requireParse(t, model.Safetensors(mutate.NewScript(script))) })
}

// requireParse reads a file: at a bounded cost, and what is read can be written
// and read again.
func requireParse(t *testing.T, data []byte) {
	var parsed *File
	var err error
	allocation.Bound(t, len(data), 64, func() { parsed, err = Parse(data) })
	if err != nil {
		return
	}
	total := 0
	for _, tensor := range parsed.Tensors {
		total += len(tensor.Data)
	}
	require.LessOrEqual(t, total, len(data))
	var again bytes.Buffer
	require.NoError(t, Write(&again, parsed.Metadata, parsed.Tensors))
	back, err := Parse(again.Bytes())
	require.NoError(t, err)
	require.Len(t, back.Tensors, len(parsed.Tensors))
}
