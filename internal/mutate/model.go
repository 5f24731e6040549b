package mutate

import (
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
)

// Model is a file's content, independent of its format.
type Model struct {
	Tensors []Tensor
	Meta    map[string]string
}

// Tensor is a named array. Strides (nil: rows one after the other) and Offset are
// in elements; only checkpoints have them.
type Tensor struct {
	Name    string
	Type    dtype.Type
	Shape   []int64
	Data    []byte
	Offset  int64
	Strides []int64
}

// Weight is a tensor of float16 whose numbers depend on its name: matrices of about
// unit gain, norms close to 1, biases close to 0, so that a network of such weights
// gives finite results.
func Weight(name string, shape []int64) Tensor {
	h := fnv.New64a()
	h.Write([]byte(name))
	r := rand.New(rand.NewPCG(h.Sum64(), 0))
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	center, spread := 0.0, 0.1
	if len(shape) > 1 {
		spread = math.Sqrt(3 / float64(n/shape[0]))
	} else if strings.HasSuffix(name, ".weight") {
		center = 1
	}
	numbers := make([]float32, n)
	for i := range numbers {
		numbers[i] = float32(center + spread*(2*r.Float64()-1))
	}
	data := make([]byte, 2*n)
	if err := dtype.Encode(dtype.F16, data, numbers); err != nil {
		panic(err)
	}
	return Tensor{Name: name, Type: dtype.F16, Shape: shape, Data: data}
}

// Small is a model of three tensors, in files of less than a kilobyte.
func Small() *Model {
	return &Model{Meta: map[string]string{"general.architecture": "sd1", "a": "7", "b": "1.5", "c": "[1,2]"}, Tensors: []Tensor{
		{Name: "a.0.weight", Type: dtype.F16, Shape: []int64{2, 32}, Data: make([]byte, 128)},
		{Name: "a.0.bias", Type: dtype.F32, Shape: []int64{2}, Data: make([]byte, 8)},
		{Name: "b", Type: dtype.BF16, Shape: []int64{1, 2, 3, 1}, Data: make([]byte, 12)},
	}}
}

// maxData is the largest data of a tensor, in bytes. Shapes may claim more.
const maxData = 1 << 20

// fit gives a tensor as many bytes as its type and shape need.
func (t *Tensor) fit() {
	n, row := int64(1), int64(1)
	for _, d := range t.Shape {
		if d < 0 || d > maxData || n*d > maxData {
			return
		}
		n, row = n*d, d
	}
	size, ok := t.Type.Size(n, row)
	if !ok || size > maxData {
		return
	}
	data := make([]byte, size)
	for i := 0; i < len(data) && len(t.Data) > 0; i += len(t.Data) {
		copy(data[i:], t.Data)
	}
	t.Data = data
}

// Edited is a copy of the model with up to four changes, mostly one, because a reader
// stops at the first error.
func (m *Model) Edited(s *Script) *Model {
	e := &Model{Tensors: slices.Clone(m.Tensors), Meta: map[string]string{}}
	maps.Copy(e.Meta, m.Meta)
	for range Pick(s, []int{1, 1, 1, 1, 1, 2, 2, 4}) {
		if s.done() || len(e.Tensors) == 0 {
			break
		}
		e.edit(s)
	}
	return e
}

var types = []dtype.Type{dtype.F32, dtype.F16, dtype.BF16, dtype.F64, dtype.F8_E4M3, dtype.F8_E5M2, dtype.I8, dtype.I16, dtype.I32, dtype.I64,
	dtype.Q4_0, dtype.Q4_1, dtype.Q5_0, dtype.Q5_1, dtype.Q8_0, dtype.Q2_K, dtype.Q3_K, dtype.Q4_K, dtype.Q5_K, dtype.Q6_K,
	dtype.IQ2_XXS, dtype.IQ2_XS, dtype.IQ3_XXS, dtype.IQ1_S, dtype.IQ4_NL, dtype.IQ3_S, dtype.IQ2_S, dtype.IQ4_XS, dtype.IQ1_M,
	dtype.TQ1_0, dtype.TQ2_0, dtype.MXFP4, 4, 99}

func (m *Model) edit(s *Script) {
	i := s.Below(len(m.Tensors))
	t := &m.Tensors[i]
	t.Shape, t.Data = slices.Clone(t.Shape), slices.Clone(t.Data)
	switch Pick(s, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 8, 8, 8, 10, 10, 11, 11}) { // some changes get further into a reader and are more likely
	case 0:
		t.Type = Pick(s, types)
		t.fit()
	case 1:
		if len(t.Shape) > 0 {
			d := s.Below(len(t.Shape))
			t.Shape[d] = otherSize(s, t.Shape[d])
			t.fit()
		}
	case 2:
		slices.Reverse(t.Shape)
	case 3:
		t.Shape = append(t.Shape, 1)
	case 4:
		t.Shape = t.Shape[:max(len(t.Shape)-1, 0)]
		t.fit()
	case 5:
		other := &m.Tensors[s.Below(len(m.Tensors))]
		t.Name, other.Name = other.Name, t.Name
	case 6:
		m.Tensors = slices.Delete(m.Tensors, i, i+1)
	case 7: // a copy in another layer
		again := *t
		again.Name = renumbered(s, t.Name)
		m.Tensors = append(m.Tensors, again)
	case 8:
		m.resize(s, t)
	case 9:
		m.drop(s, t.Name)
	case 10:
		m.Meta[Pick(s, metaKeys)] = Pick(s, metaValues)
	case 11:
		t.extreme(s)
	case 12:
		t.rearrange(s)
	case 13:
		t.Name = Pick(s, []string{"", strings.Repeat("n", 2000), t.Name + "\x00", "a\nb", "../" + t.Name, "\xff", t.Name + ".scale_weight", "日本"})
	}
}

func otherSize(s *Script, size int64) int64 {
	return Pick(s, []int64{size + 1, size - 1, 2 * size, size / 2, size + 32, 0, 1, 2, 3, 4, 8, 16, 31, 33, 64, 77, 128, 1 << 31, 1 << 40, -1})
}

// resize changes a size wherever it occurs, so that the model stays consistent.
func (m *Model) resize(s *Script, t *Tensor) {
	if len(t.Shape) == 0 {
		return
	}
	from := t.Shape[s.Below(len(t.Shape))]
	to := otherSize(s, from)
	for i := range m.Tensors {
		if t := &m.Tensors[i]; slices.Contains(t.Shape, from) {
			t.Shape = slices.Clone(t.Shape)
			for d := range t.Shape {
				if t.Shape[d] == from {
					t.Shape[d] = to
				}
			}
			t.fit()
		}
	}
}

// drop removes all tensors with a prefix of that name: a layer, a block, a network.
func (m *Model) drop(s *Script, name string) {
	parts := strings.SplitAfter(name, ".")
	prefix := strings.Join(parts[:1+s.Below(len(parts))], "")
	m.Tensors = slices.DeleteFunc(slices.Clone(m.Tensors), func(t Tensor) bool { return strings.HasPrefix(t.Name, prefix) })
}

// renumbered changes one of the numbers in a name.
func renumbered(s *Script, name string) string {
	parts := strings.Split(name, ".")
	var at []int
	for i, p := range parts {
		if _, err := strconv.Atoi(p); err == nil {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return name + ".2"
	}
	parts[Pick(s, at)] = strconv.Itoa(Pick(s, []int{0, 1, 2, 3, 5, 11, 12, 25, 99, 1 << 30}))
	return strings.Join(parts, ".")
}

// extreme fills a tensor with NaN, infinity, the largest or the smallest numbers.
func (t *Tensor) extreme(s *Script) {
	pattern := Pick(s, [][]byte{{0xff}, {0x7f}, {0}, {1, 0, 0, 0}, {0xff, 0x7b}, {0, 0x7c}, {0, 0, 0x80, 0x7f}, {0xff, 0xff, 0x7f, 0x7f}, {0x12, 0x34, 0x56}})
	every := 1 + s.Below(2)*36
	for i := 0; i+len(pattern) <= len(t.Data); i += len(pattern) * every {
		copy(t.Data[i:], pattern)
	}
}

// rearrange gives a tensor other strides, and perhaps an offset.
func (t *Tensor) rearrange(s *Script) {
	if s.Below(2) == 0 { // transposed
		t.Strides = make([]int64, len(t.Shape))
		n := int64(1)
		for d := range t.Shape {
			t.Strides[d] = n
			n *= t.Shape[d]
		}
		return
	}
	steps := []int64{0, 1, 2, 3, 8, 32, 1 << 40, -1, math.MaxInt64}
	t.Strides = make([]int64, len(t.Shape)+s.Below(2))
	for d := range t.Strides {
		t.Strides[d] = Pick(s, steps)
	}
	t.Offset = Pick(s, steps)
}

var metaKeys = []string{"general.architecture", "general.alignment", "sdgo.prediction", "modelspec.prediction_type", "sdgo.native_size", "sdgo.guidance",
	"sdgo.text.heads", "sdgo.text2.heads", "sdgo.text.activation", "sdgo.text.eps", "sdgo.text.final_layer", "sdgo.unet.heads", "sdgo.unet.head_dim",
	"sdgo.unet.heads_by_level", "sdgo.vae.scale_factor", "sdgo.tokenizer.merges", "tokenizer.ggml.merges", "comfy.gguf.orig_shape.a.0.weight"}

var metaValues = []string{"0", "1", "2", "3", "8", "64", "100", "512", "4096", "-1", "1e-12", "1e30", "NaN", "Inf", "0x10", "epsilon", "v", "gelu", "quick_gelu",
	"sd1", "sd2", "sdxl", "[8,8]", "[2,32,1,1]", "[]", "8 16", "a b\nb c", "a b\na b", "", "\x00", "999999999999999999999"}
