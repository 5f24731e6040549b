package sd

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
)

const unetsFolder = "../testdata/unets"

// uniform are the numbers from -1 to 1 that testdata/unets/make.py makes of a name.
func uniform(name string, n int) []float64 {
	h := fnv.New64a()
	io.WriteString(h, name)
	seed, out := h.Sum64(), make([]float64, n)
	for i := range out {
		z := seed + uint64(i+1)*0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		out[i] = float64((z^z>>31)>>40)/(1<<23) - 1
	}
	return out
}

var isNorm = regexp.MustCompile(`norm\w*\.weight$`)

// unetWeight is the weight that make.py gives the diffusers library's tensor of a name.
func unetWeight(name string, shape []int64) []byte {
	n, fan := 1, 1
	for i, d := range shape {
		if n *= int(d); i > 0 {
			fan *= int(d)
		}
	}
	var out bytes.Buffer
	for _, u := range uniform(name, n) {
		w := u * math.Sqrt(3/float64(fan))
		if len(shape) == 1 {
			if w = 0.2 * u; isNorm.MatchString(name) {
				w++
			}
		}
		binary.Write(&out, binary.LittleEndian, float32(w))
	}
	return out.Bytes()
}

func unetInput(name string, shape ...int64) cgo.Input {
	n := 1
	for _, d := range shape {
		n *= int(d)
	}
	in := cgo.Input{Name: name, Shape: shape, F32: make([]float32, n)}
	for i, u := range uniform(name, n) {
		in.F32[i] = float32(1.7 * u)
	}
	return in
}

// unusualUNet are a network's tensors, in both layouts, and as scripts write the original
// one.
type unusualUNet struct{ original, diffusers, scripted []safetensors.Tensor }

// unusualUNets are the networks of testdata/unets, or those of some names.
func unusualUNets(t *testing.T, names ...string) map[string]*unusualUNet {
	t.Helper()
	file, err := os.Open(filepath.Join(unetsFolder, "names.tsv.gz"))
	require.NoError(t, err)
	defer file.Close()
	z, err := gzip.NewReader(file)
	require.NoError(t, err)
	text, err := io.ReadAll(z)
	require.NoError(t, err)
	all := map[string]*unusualUNet{}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(names) > 0 && !slices.Contains(names, f[0]) {
			continue
		}
		var shape []int64
		for d := range strings.SplitSeq(f[3], ",") {
			n, err := strconv.ParseInt(d, 10, 64)
			require.NoError(t, err)
			shape = append(shape, n)
		}
		if all[f[0]] == nil {
			all[f[0]] = &unusualUNet{}
		}
		one := safetensors.Tensor{Name: f[1], DType: "F32", Shape: shape, Data: unetWeight(f[2], shape)}
		all[f[0]].original = append(all[f[0]].original, one)
		one.Name = f[2]
		all[f[0]].diffusers = append(all[f[0]].diffusers, one)
		one.Name = f[4]
		all[f[0]].scripted = append(all[f[0]].scripted, one)
	}
	return all
}

// isXL reports whether a network of testdata/unets is of SDXL's family.
func isXL(name string) bool { return !strings.HasPrefix(name, "bk-sdm-") && name != "lcm" }

// unusualFile is a single file with a network of testdata/unets, in the original layout.
func unusualFile(t *testing.T, name string, unet []safetensors.Tensor) string {
	base := filepath.Join(netsFolder, "sd1.safetensors")
	if isXL(name) {
		base = filepath.Join(xlFolder, "base.safetensors")
	}
	data, err := os.ReadFile(base)
	require.NoError(t, err)
	file, err := safetensors.Parse(data)
	require.NoError(t, err)
	var all []safetensors.Tensor
	for _, tensor := range file.Tensors {
		if !strings.HasPrefix(tensor.Name, convert.UNetPrefix) {
			all = append(all, tensor)
		}
	}
	if isXL(name) {
		file.Metadata["sdgo.unet.head_dim"] = "32"
	}
	path := filepath.Join(t.TempDir(), name+".safetensors")
	return fixture.Save(t, path, file.Metadata, append(all, unet...))
}

// unusualFolder is the same as a diffusers folder.
func unusualFolder(t *testing.T, name string, unet *unusualUNet) string {
	base, dir := filepath.Join(netsFolder, "sd1-diffusers"), filepath.Join(t.TempDir(), name)
	if isXL(name) {
		base = filepath.Join(xlFolder, "base-diffusers")
	}
	require.NoError(t, os.CopyFS(dir, os.DirFS(base)))
	path := filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors")
	require.NoError(t, os.Remove(path))
	fixture.Save(t, path, nil, unet.diffusers)
	text, err := os.ReadFile(filepath.Join(unetsFolder, "configs.json"))
	require.NoError(t, err)
	configs := map[string]json.RawMessage{}
	require.NoError(t, json.Unmarshal(text, &configs))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "unet", "config.json"), configs[name], 0o666))
	return dir
}

// converted is a model as a GGUF file, with the same numbers.
func converted(t *testing.T, path string) string {
	m, err := convert.Load(path)
	require.NoError(t, err)
	defer m.Close()
	out := filepath.Join(t.TempDir(), "converted.gguf")
	require.NoError(t, convert.Convert(t.Context(), m, out, convert.Options{Keep: true}))
	return out
}

// UNets with fewer blocks, of a depth each, and UNets that take the guidance scale are
// what the diffusers library computes, from files of either layout.
func TestUnusualUNetsAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, unetsFolder, "reference.safetensors")
	for name, unet := range unusualUNets(t) {
		inputs := []cgo.Input{unetInput("x", 2, 4, 16, 8), {Name: "t", Shape: []int64{2}, F32: []float32{981, 17}}}
		if isXL(name) {
			inputs = append(inputs, unetInput("context", 2, 77, 96), cgo.Input{Name: "y", Shape: []int64{2, 112}, F32: ref.f32(name + ".y")})
		} else {
			inputs = append(inputs, unetInput("context", 2, 77, 64))
		}
		if strings.HasPrefix(name, "lcm") {
			inputs = append(inputs, cgo.Input{Name: "guidance", Shape: []int64{2, 256}, F32: ref.f32("guidance.embedding")[256:]})
		}
		want := ref.f32(name + ".out")
		paths := []string{unusualFile(t, name, unet.original), unusualFolder(t, name, unet)}
		if name == "ssd-1b" || name == "lcm" {
			paths = append(paths, converted(t, paths[1]))
		}
		if !slices.EqualFunc(unet.original, unet.scripted, func(a, b safetensors.Tensor) bool { return a.Name == b.Name }) {
			paths = append(paths, unusualFile(t, name, unet.scripted))
		}
		for _, path := range paths {
			for _, kernels := range []string{"", cgo.GGML} {
				m, err := Open(path, Options{Type: "f32", Kernels: kernels, Threads: 1})
				require.NoError(t, err, path)
				got := make([]float32, len(want))
				require.NoError(t, m.unet().Run(context.Background(), inputs, []cgo.Output{{Name: "out", Data: got}}))
				t.Logf("%s, %q: relative RMS error %.2g", filepath.Base(path), kernels, relativeRMS(got, want))
				requireClose(t, got, want, 1e-4, path)
				require.NoError(t, m.Close())
			}
		}
	}
}
