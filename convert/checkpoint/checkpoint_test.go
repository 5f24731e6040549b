package checkpoint

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const fixtures = "../../testdata/convert/checkpoint"

// testdata/convert/checkpoint.py wrote the files with torch, and what is in
// them.
func TestParse(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(fixtures, "expected.json"))
	require.NoError(t, err)
	var files map[string]map[string]struct {
		DType string
		Shape []int64
		Data  string
	}
	require.NoError(t, json.Unmarshal(text, &files))
	require.Len(t, files, 10)
	for name, want := range files {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(fixtures, name))
			require.NoError(t, err)
			require.True(t, Looks(data))
			got, err := Parse(data)
			require.NoError(t, err)
			require.Len(t, got, len(want))
			for _, x := range got {
				w, ok := want[x.Name]
				require.True(t, ok, x.Name)
				require.Equal(t, w.DType, x.DType, x.Name)
				require.Equal(t, w.Shape, append([]int64{}, x.Shape...), x.Name)
				require.Equal(t, w.Data, hex.EncodeToString(inOrder(x)), x.Name)
			}
		})
	}
}

// inOrder are a tensor's elements in the shape's order.
func inOrder(x Tensor) []byte {
	if x.Strides == nil {
		return x.Data
	}
	n, size := int64(1), int64(0)
	for _, d := range x.Shape {
		n *= d
	}
	for _, e := range elementTypes {
		if e.dtype == x.DType {
			size = e.size
		}
	}
	out := make([]byte, n*size)
	half := n / 2 // in two goes, as converting goes piece by piece
	x.Gather(out[:half*size], size, 0)
	x.Gather(out[half*size:], size, half)
	return out
}

// archive makes a file as torch.save does, of entries "name", "data" ….
func archive(t testing.TB, entries ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: entries[i], Method: zip.Store})
		require.NoError(t, err)
		_, err = f.Write([]byte(entries[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// evil are pickles that run something when Python loads them.
var evil = []struct{ name, pickle string }{
	{"os.system", "cos\nsystem\n(S'true'\ntR."},
	{"posix.system", "\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R."},
	{"nt.system", "\x80\x02cnt\nsystem\nX\x04\x00\x00\x00true\x85R."},
	{"os.popen", "\x80\x04\x8c\x02os\x8c\x05popen\x93\x8c\x04true\x85R."},
	{"subprocess.Popen", "\x80\x02csubprocess\nPopen\nX\x04\x00\x00\x00true\x85R."},
	{"builtins.eval", "\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R."},
	{"builtins.exec", "\x80\x02cbuiltins\nexec\nX\x01\x00\x00\x001\x85R."},
	{"__builtin__.eval", "\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R."},
	{"builtins.getattr", "\x80\x02cbuiltins\ngetattr\n."},
	{"builtins.__import__", "\x80\x02cbuiltins\n__import__\nX\x02\x00\x00\x00os\x85R."},
	{"importlib.import_module", "\x80\x02cimportlib\nimport_module\nX\x02\x00\x00\x00os\x85R."},
	{"runpy._run_code", "\x80\x02crunpy\n_run_code\n."},
	{"webbrowser.open", "\x80\x02cwebbrowser\nopen\n."},
	{"shutil.rmtree", "\x80\x02cshutil\nrmtree\nX\x01\x00\x00\x00/\x85R."},
	{"socket.socket", "\x80\x02csocket\nsocket\n)R."},
	{"pickle.loads", "\x80\x02cpickle\nloads\n."},
	{"torch.load", "\x80\x02ctorch\nload\n."},
	{"torch.hub.load", "\x80\x02ctorch.hub\nload\n."},
	{"torch.FloatStorage()", "\x80\x02ctorch\nFloatStorage\n)\x81."},
	{"torch.float32()", "\x80\x02ctorch\nfloat32\n)R."},
	{"os.FloatStorage", "\x80\x02cos\nFloatStorage\n)R."},
	{"numpy.core.multiarray._reconstruct", "\x80\x02cnumpy.core.multiarray\n_reconstruct\n."},
	{"operator.attrgetter", "\x80\x04\x8c\x08operator\x8c\x0aattrgetter\x93."},
	{"collections.OrderedDict.__init__", "\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93."},
}

// Nothing but tensors and containers is let in, and what it was is named,
// wherever in the file it is. A folder to be deleted shows that nothing ran.
func TestEvil(t *testing.T) {
	for _, c := range evil {
		t.Run(c.name, func(t *testing.T) {
			for _, data := range [][]byte{
				archive(t, "x/data.pkl", c.pickle),
				append([]byte("\x80\x02"), strings.TrimPrefix(c.pickle, "\x80\x02")...),
			} {
				_, err := Parse(data)
				var refused *RefusedError
				require.ErrorAs(t, err, &refused)
				require.Equal(t, c.name, refused.Name)
				require.NotContains(t, err.Error(), "\n")
			}
		})
	}
}

// Instructions whose very presence would be a call of another kind.
func TestUnknownInstructions(t *testing.T) {
	for _, op := range "io\x82\x83\x84\x92\x96\x97\x98" { // INST, OBJ, EXT1 …, NEWOBJ_EX, out-of-band buffers
		b := make([]byte, 8)
		b[0] = byte(op)
		_, err := Parse(archive(t, "x/data.pkl", "\x80\x02("+string(b)+"."))
		require.ErrorContains(t, err, "is not known")
	}
}

// tensorPickle is {"w": a tensor} with one field changed by its caller.
func tensorPickle(count, offset, shape, stride string) string {
	return "\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" +
		count + "tQ" + offset + shape + stride + "\x89NtRs."
}

// A file may hold one tensor, or a list of nothing but tensors.
func TestWithoutDictionary(t *testing.T) {
	whole := tensorPickle("K\x04", "K\x00", "K\x04\x85", "K\x01\x85")
	one := strings.TrimSuffix(strings.TrimPrefix(whole, "\x80\x02}X\x01\x00\x00\x00w"), "s.")
	four := strings.Repeat("\x00", 16)
	names := func(pickle string) (names []string, err error) {
		all, err := Parse(archive(t, "x/data.pkl", "\x80\x02"+pickle+".", "x/data/0", four))
		for _, x := range all {
			require.Equal(t, []int64{4}, x.Shape)
			names = append(names, x.Name)
		}
		return names, err
	}
	got, err := names(one)
	require.NoError(t, err)
	require.Equal(t, []string{"0"}, got)
	got, err = names("]" + one + "a" + one + "a")
	require.NoError(t, err)
	require.Equal(t, []string{"0", "1"}, got)
	for _, other := range []string{"]", "]" + one + "aK\x01a", "]" + "]" + one + "aa"} {
		_, err = names(other)
		require.ErrorContains(t, err, "no dictionary of tensors")
	}
}

func TestDamaged(t *testing.T) {
	four := strings.Repeat("\x00", 16)
	good := tensorPickle("K\x04", "K\x00", "K\x04\x85", "K\x01\x85")
	all, err := Parse(archive(t, "x/data.pkl", good, "x/data/0", four))
	require.NoError(t, err)
	require.Len(t, all, 1)
	huge := "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"no pickle", archive(t, "x/other", "x"), "an archive without data.pkl"},
		{"two pickles", archive(t, "x/data.pkl", good, "y/data.pkl", good), "more than one data.pkl"},
		{"twice", archive(t, "x/data.pkl", good, "x/data/0", four, "x/data/0", four), `has "x/data/0" twice`},
		{"storage missing", archive(t, "x/data.pkl", good), `no entry "x/data/0"`},
		{"storage short", archive(t, "x/data.pkl", good, "x/data/0", four[1:]), `storage "0" must have 4 elements of F32, got 15 bytes`},
		{"big-endian", archive(t, "x/data.pkl", good, "x/data/0", four, "x/byteorder", "big"), "byte order"},
		{"count", archive(t, "x/data.pkl", tensorPickle(huge, "K\x00", "K\x04\x85", "K\x01\x85"), "x/data/0", four), "in a way that torch does not"},
		{"negative count", archive(t, "x/data.pkl", tensorPickle("J\xff\xff\xff\xff", "K\x00", "K\x04\x85", "K\x01\x85"), "x/data/0", four), "in a way that torch does not"},
		{"offset", archive(t, "x/data.pkl", tensorPickle("K\x04", "K\x01", "K\x04\x85", "K\x01\x85"), "x/data/0", four), "exceeds its storage of 4"},
		{"huge offset", archive(t, "x/data.pkl", tensorPickle("K\x04", huge, "K\x04\x85", "K\x01\x85"), "x/data/0", four), "begins at element 9223372036854775807"},
		{"negative offset", archive(t, "x/data.pkl", tensorPickle("K\x04", "J\xff\xff\xff\xff", "K\x04\x85", "K\x01\x85"), "x/data/0", four), "begins at element -1"},
		{"shape", archive(t, "x/data.pkl", tensorPickle("K\x04", "K\x00", huge+"\x85", "K\x01\x85"), "x/data/0", four), "on a storage of 4 elements"},
		{"negative shape", archive(t, "x/data.pkl", tensorPickle("K\x04", "K\x00", "J\xff\xff\xff\xff\x85", "K\x01\x85"), "x/data/0", four), "a tensor with the shape [-1]"},
		{"stride", archive(t, "x/data.pkl", tensorPickle("K\x04", "K\x00", "K\x02\x85", huge+"\x85"), "x/data/0", four), "exceeds its storage of 4"},
		{"strides wrap", archive(t, "x/data.pkl", tensorPickle("K\x04", "K\x00", "K\x02K\x02\x86", huge+huge+"\x86"), "x/data/0", four), "exceeds its storage of 4"},
		{"repeated", archive(t, "x/data.pkl", tensorPickle("K\x01", "K\x00", "J\x00\x00\x00\x40\x85", "K\x00\x85"), "x/data/0", four), "on a storage of 1 elements"},
		{"no dictionary", archive(t, "x/data.pkl", "\x80\x02K\x01."), "no dictionary of tensors"},
		{"no tensors", archive(t, "x/data.pkl", "\x80\x02}."), "no tensors"},
		{"cut off", archive(t, "x/data.pkl", good[:len(good)-1]), "the pickle ends too early"},
		{"empty stack", archive(t, "x/data.pkl", "\x80\x02R."), "takes more from its stack"},
		{"no mark", archive(t, "x/data.pkl", "\x80\x02u."), "a mark that is not there"},
		{"memo", archive(t, "x/data.pkl", "\x80\x02h\x07."), "memo 7, which is empty"},
		{"protocol", archive(t, "x/data.pkl", "\x80\x06."), "the pickle protocol must be at most 5, got 6"},
		{"key without value", archive(t, "x/data.pkl", "\x80\x02}(K\x01u."), "lacks its value"},
		{"legacy without magic", []byte("\x80\x02K\x01."), "magic number is missing"},
		{"self", archive(t, "x/data.pkl", "\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."), "no tensors"},
		{"tar", append(append(make([]byte, 257), "ustar"...), make([]byte, 512)...), "the archive is damaged"},
		{"text", []byte("hello, world"), "neither a zip archive nor a pickle"},
		{"empty", nil, "neither a zip archive nor a pickle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.data)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// tarArchive makes a file as torch did before 0.2, of entries "name", "data" ….
func tarArchive(t testing.TB, entries ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: entries[i], Size: int64(len(entries[i+1])), Mode: 0o600}))
		_, err := w.Write([]byte(entries[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestDamagedTar(t *testing.T) {
	const none = "\x80\x02K\x00."
	storage := "\x80\x02K\x01.\x80\x02K\x07X\x03\x00\x00\x00cpuctorch\nFloatStorage\n\x87."
	number := func(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }
	stored := storage + number(1) + "\x00\x00\x80?" + "\x80\x02]."
	entry := "\x80\x02K\x01.\x80\x02K\x08K\x07ctorch\nFloatTensor\n\x87."
	named := entry + number(1) + number(1) + number(1) + number(0)
	good := []string{"storages", stored, "tensors", named, "pickle", "\x80\x02}X\x01\x00\x00\x00aK\x08Qs."}
	all, err := Parse(tarArchive(t, good...))
	require.NoError(t, err)
	require.Equal(t, []Tensor{{Name: "a", DType: "F32", Shape: []int64{1}, Data: []byte{0, 0, 0x80, 0x3f}}}, all)
	for _, c := range []struct {
		at   int
		to   string
		want string
	}{
		{0, "sizes", "no entry \"storages\""},
		{0, "tensors", "\"tensors\" twice"},
		{1, storage + number(2) + "\x00\x00\x80?", "storage 7 has 2 elements, and 4 bytes are left"},
		{1, storage + number(1<<63) + "\x00\x00\x80?", "and 4 bytes are left"},
		{1, "\x80\x02J\xff\xff\xff\x7f.", "storages: the pickle ends too early"},
		{1, none + "\x80\x02]K\x01a.", "parts of others"},
		{1, strings.Replace(stored, "FloatStorage", "QuadStorage", 1), "torch.QuadStorage"},
		{3, entry + number(17), "tensor 8 has 17 dimensions"},
		{3, entry + number(1) + number(2) + number(1) + number(0), "on a storage of 1 elements"},
		{3, strings.Replace(named, "K\x08K\x07", "K\x08K\x06", 1), "on a storage that is not there"},
		{5, "\x80\x02}X\x01\x00\x00\x00aK\x09Qs.", "names \"9\", which is no tensor"},
		{5, evil[0].pickle, "its pickle refers to"},
	} {
		bad := slices.Clone(good)
		bad[c.at] = c.to
		_, err := Parse(tarArchive(t, bad...))
		require.ErrorContains(t, err, c.want)
	}
}

func TestCompressed(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("x/data.pkl")
	require.NoError(t, err)
	_, err = f.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = Parse(b.Bytes())
	require.ErrorContains(t, err, "is compressed")
}

// Two names for the same bytes: the directory's second entry is made to point
// at the first one's.
func TestOverlap(t *testing.T) {
	data := archive(t, "x/data/0", strings.Repeat("a", 64), "x/data/1", strings.Repeat("b", 64))
	at := bytes.LastIndex(data, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(data[at+42:], 0)
	_, err := Parse(data)
	require.ErrorContains(t, err, "entries of the archive overlap")
}

// Every beginning of a file is an error.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"zip.pt", "legacy.pt", "tar.pt"} {
		data, err := os.ReadFile(filepath.Join(fixtures, name))
		require.NoError(t, err)
		// Behind a tar archive's files there are zeros, which may be missing.
		for n := range len(bytes.TrimRight(data, "\x00")) {
			_, err := Parse(data[:n])
			require.Error(t, err, "%d of %d bytes of %s", n, len(data), name)
		}
	}
}
