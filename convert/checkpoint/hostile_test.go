package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/internal/allocation"
	"github.com/sdgo/sdgo/internal/mutate"
)

// hostile are archives of the kinds that have fooled readers.
func hostile(t testing.TB) map[string][]byte {
	good := tensorPickle("K\x04", "K\x00", "K\x04\x85", "K\x01\x85")
	whole := archive(t, "x/data.pkl", good, "x/data/0", strings.Repeat("\x00", 16))
	// edit changes the directory's last entry, at an offset of its own.
	edit := func(at int, to ...byte) []byte {
		data := slices.Clone(whole)
		copy(data[bytes.LastIndex(data, []byte("PK\x01\x02"))+at:], to)
		return data
	}
	entries := func(n int, memo string) (s string) {
		for i := range n {
			s += fmt.Sprintf("X\x03\x00\x00\x00%03d", i) + memo
		}
		return s
	}
	shared := "\x80\x02}(" + entries(900, "N") + "uq\x00" + "}(" + entries(900, "h\x00") + "uq\x01" + "}X\x00\x03\x00\x00" + strings.Repeat("n", 768) + "h\x01s."
	tensor := strings.TrimSuffix(strings.TrimPrefix(good, "\x80\x02}X\x01\x00\x00\x00w"), "s.")
	return map[string][]byte{
		"many paths":   archive(t, "x/data.pkl", shared),
		"many tensors": archive(t, "x/data.pkl", strings.ReplaceAll(shared, "N", tensor), "x/data/0", strings.Repeat("\x00", 16)),
		"bomb":         archive(t, "x/data.pkl", "\x80\x02}("+strings.ReplaceAll(entries(900, "N"), "N", strings.ReplaceAll(tensor, "K\x04", "M\x00\x40"))+"u.", "x/data/0", strings.Repeat("\x00", 1<<16)),
		"pairs":        archive(t, "x/data.pkl", "\x80\x02]q\x00("+strings.Repeat("NN\x86", 2000)+"e0"+strings.Repeat("ccollections\nOrderedDict\nh\x00\x85R0", 2000)+"N."),
		"own parameters": archive(t, "x/data.pkl", "\x80\x02ctorch.nn.modules.container\nParameterDict\n)\x81q\x00K\x01K\x02s"+
			strings.Repeat("}X\x0b\x00\x00\x00_parametersh\x00sb", 40)+"."),
		"whole":         whole,
		"nested":        archive(t, "x/data.pkl", good, "x/data/0", string(archive(t, "x/data.pkl", good, "x/data/0", strings.Repeat("\x00", 16)))),
		"twice":         archive(t, "x/data.pkl", good, "x/data/0", "0123456789abcdef", "x/data/0", "0123456789abcdef"),
		"leaves":        archive(t, "../data.pkl", good, "../data/0", strings.Repeat("\x00", 16)),
		"absolute":      archive(t, "/data.pkl", good, "/data/0", strings.Repeat("\x00", 16)),
		"overlap":       edit(42, 0, 0, 0, 0),
		"huge":          edit(20, 0xfe, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff),
		"zip64":         edit(20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"beyond":        edit(42, 0xf0, 0xff, 0xff, 0x7f),
		"compressed":    edit(10, 8, 0),
		"many entries":  bytes.Replace(whole, []byte("PK\x05\x06\x00\x00\x00\x00\x02\x00\x02\x00"), []byte("PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff"), 1),
		"containers":    archive(t, "x/data.pkl", "\x80\x02"+strings.Repeat("}", 1<<16)+"."),
		"marks":         archive(t, "x/data.pkl", "\x80\x02"+strings.Repeat("(", 1<<16)),
		"memo":          archive(t, "x/data.pkl", "\x80\x04N"+strings.Repeat("\x94", 1<<16)+"."),
		"doubling":      archive(t, "x/data.pkl", "\x80\x02("+strings.Repeat("t2(22t", 1<<10)+"."),
		"grown":         archive(t, "x/data.pkl", "\x80\x02]q\x00"+strings.Repeat("(h\x00h\x00h\x00h\x00e", 1<<10)+"."),
		"long number":   archive(t, "x/data.pkl", "\x80\x02\x8b\xff\xff\xff\x7f."),
		"long string":   archive(t, "x/data.pkl", "\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff."),
		"nested dicts":  archive(t, "x/data.pkl", "\x80\x02"+strings.Repeat("}X\x01\x00\x00\x00a", 500)+"}"+strings.Repeat("s", 500)+"."),
		"shared dicts":  archive(t, "x/data.pkl", "\x80\x02}q\x00("+strings.Repeat("X\x01\x00\x00\x00ah\x00", 2000)+"u."),
		"expanded":      archive(t, "x/data.pkl", tensorPickle("K\x04", "K\x00", "K\x02K\x02\x86", "K\x00K\x00\x86"), "x/data/0", strings.Repeat("\x00", 16)),
		"all the names": archive(t, "x/data.pkl", "\x80\x02"+strings.Repeat("ctorch\nFloatStorage\n0", 1<<10)+"N."),
	}
}

// What is wrong with them is said, and costs no more than the file.
func TestHostile(t *testing.T) {
	for name, data := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			check(t, data)
			_, err := Parse(data)
			switch name {
			case "whole", "nested", "leaves", "absolute", "expanded": // an entry's name is never a file's
				require.NoError(t, err)
			default:
				require.Error(t, err)
				require.NotContains(t, err.Error(), "\n")
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join(fixtures, "*.*t*"))
	require.NoError(f, err)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(data)
	}
	for _, data := range hostile(f) {
		f.Add(data)
	}
	for _, c := range evil {
		f.Add(archive(f, "x/data.pkl", c.pickle))
	}
	f.Fuzz(check)
}

// FuzzMutated makes archives that are wrong in few places.
func FuzzMutated(f *testing.F) {
	model := mutate.Small()
	for seed := range uint64(20) {
		f.Add(mutate.Choices(seed))
	}
	f.Fuzz(func(t *testing.T, script []byte) { check(t, model.Checkpoint(mutate.NewScript(script))) })
}

// FuzzPickle spares the fuzzer the archive.
func FuzzPickle(f *testing.F) {
	f.Add(tensorPickle("K\x04", "K\x00", "K\x04\x85", "K\x01\x85"))
	for _, c := range evil {
		f.Add(c.pickle)
	}
	for _, data := range hostile(f) {
		if r, err := zip.NewReader(bytes.NewReader(data), int64(len(data))); err == nil || errors.Is(err, zip.ErrInsecurePath) {
			if in, err := r.File[0].Open(); err == nil {
				if pickle, err := io.ReadAll(in); err == nil {
					f.Add(string(pickle))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, pickle string) {
		check(t, archive(t, "x/data.pkl", pickle, "x/data/0", strings.Repeat("\x00", 16)))
	})
}

// legacyFront is what a file of the format before 1.6 begins with: the magic
// number, the protocol and a dictionary about the system.
const legacyFront = "\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."

// FuzzLegacy is the format before 1.6, after its fixed beginning.
func FuzzLegacy(f *testing.F) {
	object := tensorPickle("K\x04", "K\x00", "K\x04\x85", "K\x01\x85")
	keys := "\x80\x02]X\x01\x00\x00\x000a."
	number := func(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }
	elements := strings.Repeat("\x00", 16)
	all, err := Parse([]byte(legacyFront + object + keys + number(4) + elements))
	require.NoError(f, err)
	require.Len(f, all, 1)
	for _, tail := range []string{
		keys + number(4) + elements, keys + number(5) + elements, keys + number(1<<63), keys + number(1<<61) + elements,
		"\x80\x02](X\x01\x00\x00\x000X\x01\x00\x00\x000e." + number(4) + elements + number(4) + elements, "\x80\x02].", "\x80\x02]K\x07a.",
	} {
		f.Add(object + tail)
	}
	f.Add(evil[0].pickle)
	f.Fuzz(func(t *testing.T, rest string) { check(t, []byte(legacyFront+rest)) })
}

// FuzzTar is the format before 0.2, without the archive around its files.
func FuzzTar(f *testing.F) {
	number := func(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }
	storage := "\x80\x02K\x01.\x80\x02K\x07X\x03\x00\x00\x00cpuctorch\nFloatStorage\n\x87."
	tensor := "\x80\x02K\x01.\x80\x02K\x08K\x07ctorch\nFloatTensor\n\x87."
	object := "\x80\x02}X\x01\x00\x00\x00aK\x08Qs."
	f.Add(storage+number(1)+"\x00\x00\x80?"+"\x80\x02].", tensor+number(1)+number(1)+number(1)+number(0), object)
	f.Add(storage+number(1<<62), tensor+number(16)+strings.Repeat("\xff", 16*16+8), object)
	f.Add("\x80\x02J\xff\xff\xff\x7f.", "\x80\x02J\xff\xff\xff\x7f.", evil[0].pickle)
	f.Fuzz(func(t *testing.T, storages, tensors, pickle string) {
		check(t, tarArchive(t, "storages", storages, "tensors", tensors, "pickle", pickle))
	})
}

func check(t *testing.T, data []byte) {
	var all []Tensor
	allocation.Bound(t, len(data), 64, func() { all, _ = Parse(data) })
	total := 0
	for _, x := range all {
		if len(x.Data) > len(data) {
			t.Fatalf("tensor %q of %d bytes in a file of %d", x.Name, len(x.Data), len(data))
		}
		if total += len(inOrder(x)); total > 8*len(data)+1<<21 {
			t.Fatalf("tensors of %d bytes in a file of %d", total, len(data))
		}
	}
}
