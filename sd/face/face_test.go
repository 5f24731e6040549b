package face

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// file is one as NumPy writes it (numpy.lib.format, version 1): a header of 118 bytes.
func file(header string, data ...byte) []byte {
	header += strings.Repeat(" ", 117-len(header)) + "\n"
	return append([]byte(magic+"\x01\x00\x76\x00"+header), data...)
}

func dict(descr, shape string) string {
	return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" + shape + "), }"
}

func TestRead(t *testing.T) {
	want := []float32{1, -0.5}
	for name, data := range map[string][]byte{
		"float32":        file(dict("<f4", "2,"), 0, 0, 128, 63, 0, 0, 0, 191),
		"a row":          file(dict("<f4", "1, 2"), 0, 0, 128, 63, 0, 0, 0, 191),
		"big-endian":     file(dict(">f4", "2,"), 63, 128, 0, 0, 191, 0, 0, 0),
		"float16":        file(dict("<f2", "2,"), 0, 0x3c, 0, 0xb8),
		"float64":        file(dict("<f8", "2,"), 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0xe0, 0xbf),
		"version 2":      append([]byte(magic+"\x02\x00\x76\x00\x00\x00"), file(dict("<f4", "2,"), 0, 0, 128, 63, 0, 0, 0, 191)[10:]...),
		"JSON":           []byte(" [1, -5e-1]\n"),
		"a list of one":  []byte("[[1, -0.5]]"),
		"without spaces": file("{'descr':'<f4','fortran_order':False,'shape':(2,)}", 0, 0, 128, 63, 0, 0, 0, 191),
	} {
		v, err := Read(bytes.NewReader(data))
		require.NoError(t, err, name)
		require.Equal(t, want, v, name)
	}
}

func TestRefuses(t *testing.T) {
	long := make([]byte, maxFile+1)
	for _, c := range []struct {
		data []byte
		want string
	}{
		{nil, "must be a file of NumPy"},
		{[]byte("\x89PNG"), "must be a file of NumPy"},
		{[]byte("[]"), "must have 1 to 16384 numbers, got 0"},
		{[]byte("[[1], [2]]"), "must be one face's vector, got 2"},
		{[]byte(`["a"]`), "must be a file of NumPy"},
		{[]byte("[1e99]"), "must be a file of NumPy"},
		{[]byte(magic), "header of NumPy's file is broken"},
		{[]byte(magic + "\x01\x00\xff\xff"), "header of NumPy's file is broken"},
		{[]byte(magic + "\x09\x00\x01\x00 "), "header of NumPy's file is broken"},
		{[]byte(magic + "\x02\x00\xff\xff\xff\xff "), "header of NumPy's file is broken"},
		{file("{'descr': '<f4'}"), "header of NumPy's file is broken"},
		{file(dict("<i4", "1,"), 0, 0, 0, 0), "must be of float16, float32 or float64"},
		{file(dict("<f4", "2, 512")), "must be one face's vector, got the shape (2, 512)"},
		{file(dict("<f4", "")), "must have 1 to 16384 numbers, got 0"},
		{file(dict("<f4", "0,")), "must have 1 to 16384 numbers, got 0"},
		{file(dict("<f4", "1, 99999999999999999999")), "must be one face's vector"},
		{file(dict("<f8", "16385,")), "must have 1 to 16384 numbers, got 16385"},
		{file(dict("<f4", "2,"), 0, 0, 0, 0), "2 numbers of f4 must have 8 bytes, got 4"},
		{file(dict("<f4", "1,"), 0, 0, 0, 0, 0), "1 numbers of f4 must have 4 bytes, got 5"},
		{file(dict("<f4", "1,"), 0, 0, 0xc0, 0x7f), "must be finite, got NaN at 0"},
		{file(dict("<f8", "1,"), 0, 0, 0, 0, 0, 0, 0xf0, 0x47), "must be finite, got +Inf at 0"},
		{long, "must have at most 1048576 bytes"},
	} {
		_, err := Read(bytes.NewReader(c.data))
		require.ErrorContains(t, err, c.want, "%.40q", c.data)
	}
	_, err := Open(filepath.Join(t.TempDir(), "no.npy"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(t.TempDir())
	require.ErrorContains(t, err, "must be a regular file")
}

func FuzzRead(f *testing.F) {
	f.Add(file(dict("<f4", "2,"), 0, 0, 128, 63, 0, 0, 0, 191))
	f.Add(file(dict(">f2", "1, 1"), 0x3c, 0))
	f.Add([]byte("[[1, -0.5]]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := Read(bytes.NewReader(data))
		require.True(t, err != nil || len(v) > 0 && len(v) <= MaxNumbers)
	})
}
