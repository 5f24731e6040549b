package write

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/read"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/allocation"
	"github.com/sdgo/sdgo/internal/fixture"
)

func TestRules(t *testing.T) {
	var rules []Rule
	for _, s := range []string{`^vae\..*norm=bf16`, `vae\..*=f16`, `ff\.net\.2=q8_0`, `^model\.diffusion_model\.out\.=f32`, `^text\.=q4_0`, `^t5\.=q5_0`, `^text2\.=q5_1`} {
		r, err := ParseRule(s)
		require.NoError(t, err)
		rules = append(rules, r)
	}
	o := Options{Rules: rules, Type: dtype.F32}
	for _, c := range []struct {
		name  string
		shape []int64
		want  dtype.Type
	}{
		{model.VAEPrefix + "decoder.norm_out.weight", []int64{32}, dtype.BF16},
		{model.VAEPrefix + "decoder.conv_out.bias", []int64{3}, dtype.F16},
		{model.UNetPrefix + "middle_block.1.transformer_blocks.0.ff.net.2.weight", []int64{64, 256}, dtype.Q8_0},
		{model.UNetPrefix + "middle_block.1.transformer_blocks.0.ff.net.2.bias", []int64{64}, dtype.F32},
		{model.UNetPrefix + "out.2.weight", []int64{4, 64, 3, 3}, dtype.F32},
		{model.TextPrefix + "text_model.encoder.layers.0.mlp.fc1.weight", []int64{128, 64}, dtype.Q4_0},
		{model.CLIPLPrefix + "text_model.encoder.layers.0.mlp.fc1.weight", []int64{128, 64}, dtype.Q4_0},
		{model.CLIPGPrefix + "text_model.encoder.layers.0.mlp.fc1.weight", []int64{128, 64}, dtype.Q5_1},
		{model.T5Prefix + "encoder.block.0.layer.0.SelfAttention.q.weight", []int64{128, 64}, dtype.Q5_0},
		{model.TextPrefix + "text_model.embeddings.token_embedding.weight", []int64{128, 64}, dtype.F16},
	} {
		require.Equal(t, c.want, o.typeOf(model.Tensor{Name: c.name, Shape: c.shape, Type: dtype.F32}), c.name)
	}
	_, _, err := Preview(&model.Model{Tensors: []model.Tensor{{Name: model.UNetPrefix + "out.2.bias", Shape: []int64{4}}}},
		Options{Rules: []Rule{rules[3], rules[4]}, Type: dtype.F32})
	require.ErrorContains(t, err, `rule "^text\\.=q4_0": it matches the name of no tensor`)
	for s, want := range map[string]string{"vae": "must be PATTERN=TYPE", "=f16": "must be PATTERN=TYPE", "(=f16": "missing closing )",
		"x=f17": `type "f17"`, "x=f8_e4m3": `type "f8_e4m3"`} {
		_, err := ParseRule(s)
		require.ErrorContains(t, err, want)
	}
}

func TestPreviewAndSafetensors(t *testing.T) {
	source := open(t, fixture.SaveNew(t, map[string]string{model.KeyMerges: "a b\nc d", "modelspec.title": "T"}, append(fixture.Fill(fixture.Weights(fixture.Tiny2()), "F32"), fixture.Surplus()...)))
	o := Options{Type: dtype.F16, Safetensors: true}
	changes, size, err := Preview(source, o)
	require.NoError(t, err)
	require.Len(t, changes, len(source.Tensors))
	path := filepath.Join(t.TempDir(), "out")
	require.NoError(t, Convert(t.Context(), source, path, o))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, size, info.Size())
	got := open(t, path)
	require.Equal(t, "safetensors", got.Format)
	require.Equal(t, "T", got.Metadata["general.name"])
	want := *source
	want.Tensors = convertOneByOne(t, source, dtype.F16)
	fixture.RequireSame(t, &want, got)
	for _, c := range changes {
		x, ok := got.Tensor(c.Name)
		require.True(t, ok)
		require.EqualValues(t, len(x.Bytes), c.Bytes)
		require.Equal(t, x.Type, c.To)
	}
	_, _, err = Preview(source, Options{Type: dtype.Q8_0, Safetensors: true})
	require.ErrorContains(t, err, "safetensors files have no q8_0")
	require.NoError(t, got.Close())
	_, size, err = Preview(source, Options{Type: dtype.F16})
	require.NoError(t, err)
	require.NoError(t, Convert(t.Context(), source, path, Options{Type: dtype.F16}))
	info, err = os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, size, info.Size())
}

func TestHash(t *testing.T) {
	in := fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16"))
	text, err := os.ReadFile(in)
	require.NoError(t, err)
	sum := sha256.Sum256(text)
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, Convert(t.Context(), open(t, in), out, Options{Keep: true, Hash: true}))
	require.Equal(t, hex.EncodeToString(sum[:]), open(t, out).Metadata["sdgo.source.sha256"])
}

// Of several files, each one's hash is beside its name.
func TestHashes(t *testing.T) {
	dir, single := fixture.Folder(t, nil)
	m, err := read.Assemble(read.Components{Model: dir, VAE: single})
	require.NoError(t, err)
	defer m.Close()
	for name, o := range map[string]Options{"out.gguf": {Keep: true, Hash: true}, "out.safetensors": {Keep: true, Hash: true, Safetensors: true}} {
		out := filepath.Join(t.TempDir(), name)
		require.NoError(t, Convert(t.Context(), m, out, o))
		lines := strings.Split(open(t, out).Metadata["sdgo.source.sha256"], "\n")
		require.Len(t, lines, 4)
		for i, name := range []string{"unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors", "single"} {
			path := filepath.Join(dir, name)
			if i == 3 {
				path = single
			}
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			sum := sha256.Sum256(text)
			require.Equal(t, hex.EncodeToString(sum[:])+"  "+name, lines[i])
		}
	}
}

// Verify's numbers for a tensor whose error is known, and what it refuses.
func TestVerify(t *testing.T) {
	all := fixture.Fill(fixture.Weights(fixture.Tiny()), "F32")
	source := open(t, fixture.SaveNew(t, nil, all))
	name, n := all[7].Name, float64(len(all[7].Data)/4)
	value := math.Float32frombits(binary.LittleEndian.Uint32(all[7].Data[4:]))
	require.NoError(t, dtype.Encode(dtype.F32, all[7].Data[4:8], []float32{value + 3}))
	path := fixture.SaveNew(t, nil, all)
	report, err := verify(t, source, path)
	require.NoError(t, err)
	require.Equal(t, name, report[0].Name)
	require.InDelta(t, 3, report[0].Max, 1e-5)
	require.InDelta(t, 3/math.Sqrt(n), report[0].RMS, 1e-5)
	require.InDelta(t, report[0].RMS/report[0].Scale, report[0].Relative(), 1e-12)
	for _, d := range report[1:] {
		require.Zero(t, d.Max)
	}
	copy(all[7].Data, []byte{0, 0, 0x80, 0x7f})
	path = fixture.SaveNew(t, nil, all)
	_, err = verify(t, source, path)
	require.ErrorContains(t, err, (&model.NotFiniteError{Tensor: name}).Error())

	require.NoError(t, Convert(t.Context(), source, path, Options{Type: dtype.BF16}))
	report, err = verify(t, source, path)
	require.NoError(t, err)
	require.InDelta(t, 0x1p-9, report[0].Relative(), 0x1p-10)
}

// 8-bit weights: floats as they are, and both kinds with scales, for a tensor
// and for each row.
func TestScaled(t *testing.T) {
	all := fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")
	find := func(name string) *safetensors.Tensor {
		for i := range all {
			if all[i].Name == name {
				return &all[i]
			}
		}
		panic(name)
	}
	f32 := func(values ...float32) []byte {
		b := make([]byte, 4*len(values))
		_ = dtype.Encode(dtype.F32, b, values)
		return b
	}
	block := model.UNetPrefix + "middle_block.1.transformer_blocks.0."
	plain, whole, rows := find(block+"attn1.to_q.weight"), find(block+"attn1.to_k.weight"), find(block+"attn1.to_v.weight")
	plain.DType, plain.Data = "F8_E5M2", bytes.Repeat([]byte{0x3e}, 64*64) // 1.5
	whole.DType, whole.Data = "F8_E4M3", bytes.Repeat([]byte{0xc0}, 64*64) // -2
	rows.DType, rows.Data = "I8", bytes.Repeat([]byte{0xfd}, 64*64)        // -3
	scales := make([]float32, 64)
	for i := range scales {
		scales[i] = float32(i)
	}
	scale := safetensors.Tensor{Name: block + "attn1.to_v.weight_scale", DType: "F32", Shape: []int64{64, 1}, Data: f32(scales...)}
	all = append(all, scale,
		safetensors.Tensor{Name: block + "attn1.to_k.scale_weight", DType: "F32", Shape: []int64{}, Data: f32(0.25)},
		safetensors.Tensor{Name: block + "attn1.to_k.scale_input", DType: "F32", Shape: []int64{}, Data: f32(9)},
		safetensors.Tensor{Name: "scaled_fp8", DType: "F8_E4M3", Shape: []int64{0}})
	source := open(t, fixture.SaveNew(t, nil, all))
	for _, o := range []Options{{Keep: true}, {Type: dtype.F16}, {Type: dtype.F32}} {
		out := filepath.Join(t.TempDir(), "out")
		require.NoError(t, Convert(t.Context(), source, out, o))
		got := open(t, out)
		for name, want := range map[string]func(i int) float32{
			plain.Name: func(int) float32 { return 1.5 },
			whole.Name: func(int) float32 { return -0.5 },
			rows.Name:  func(i int) float32 { return -3 * float32(i/64) },
		} {
			x, _ := got.Tensor(name)
			require.True(t, x.Type == dtype.F16 || x.Type == dtype.F32)
			values := make([]float32, 64*64)
			require.NoError(t, x.Float32(values))
			for i, v := range values {
				require.Equal(t, want(i), v)
			}
		}
		_, err := verify(t, source, out)
		require.NoError(t, err)
	}
	for _, c := range []struct {
		edit func()
		want string
	}{
		{func() { all[len(all)-4].Shape = []int64{32, 2} }, ""},
		{func() { all[len(all)-4].Shape, all[len(all)-4].Data = []int64{32}, f32(scales[:32]...) }, "is no scale for"},
		{func() { all[len(all)-4] = scale; all[len(all)-4].Name = "x.weight_scale" }, "attn1.to_v.weight\" must be of type f32, f16, bf16, f64 or a quantized one, got I8"},
		{func() { all[len(all)-4] = scale; rows.DType, rows.Data = "F16", make([]byte, 2*64*64) }, "must be of type i8 or an 8-bit float, got F16"},
	} {
		c.edit()
		m, err := read.Load(fixture.SaveNew(t, nil, all))
		if c.want == "" {
			require.NoError(t, err)
			require.NoError(t, m.Close())
		} else {
			require.ErrorContains(t, err, c.want)
		}
	}
}

func TestImportance(t *testing.T) {
	var b bytes.Buffer
	put := func(v any) { require.NoError(t, binary.Write(&b, binary.LittleEndian, v)) }
	put(int32(1))
	put(int32(1))
	b.WriteString("w")
	put(int32(4))
	put(int32(2))
	put([]float32{8, 2})
	got, err := ParseImportance(b.Bytes())
	require.NoError(t, err)
	require.Equal(t, map[string][]float32{"w": {2, 0.5}}, got)
	for n := range b.Len() {
		_, err := ParseImportance(b.Bytes()[:n])
		require.ErrorContains(t, err, "cut off")
	}
	_, err = ParseImportance(append([]byte{2, 0, 0, 0}, bytes.Repeat(b.Bytes()[4:], 2)...))
	require.ErrorContains(t, err, "\"w\" is there twice")
	got, err = ParseImportance(importanceGGUF(t, []float32{8, 2}, 4))
	require.NoError(t, err)
	require.Equal(t, map[string][]float32{"w": {2, 0.5}}, got)
	_, err = ParseImportance(importanceGGUF(t, []float32{8, -2}, 4))
	require.ErrorContains(t, err, "element 1 must be finite and not negative, got -0.5")
	// What the calibration never reached says nothing.
	got, err = ParseImportance(importanceGGUF(t, []float32{0, 0}, 0))
	require.NoError(t, err)
	require.Empty(t, got)

	source := open(t, fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")))
	name := model.UNetPrefix + "middle_block.1.transformer_blocks.0.attn1.to_q.weight"
	columns := make([]float32, 64)
	seen := 0
	o := Options{Type: dtype.Q8_0, Importance: map[string][]float32{name: columns}, Quantize: func(_ uint32, _ []byte, _ []float32, _ int, importance []float32) error {
		if importance != nil {
			require.Len(t, importance, 64)
			seen++
		}
		return nil
	}}
	require.NoError(t, Convert(t.Context(), source, filepath.Join(t.TempDir(), "out"), o))
	require.Equal(t, 1, seen)
	require.ErrorContains(t, Convert(t.Context(), source, "x", Options{Type: dtype.F16, Importance: map[string][]float32{"blk.0.weight": columns}}),
		`the importance matrix has none of the model's`)
	o.Importance[name] = columns[:3]
	require.ErrorContains(t, Convert(t.Context(), source, "x", o), "the importance matrix has 3 columns, the tensor the shape [64 64]")
}

// importanceGGUF is a matrix as llama.cpp writes it since 2025.
func importanceGGUF(t testing.TB, sums []float32, count float32) []byte {
	l, err := gguf.NewLayout([]gguf.KV{{Key: "general.type", Value: "imatrix"}}, []gguf.Tensor{
		{Name: "w.in_sum2", Type: dtype.F32, Shape: []int64{1, int64(len(sums))}}, {Name: "w.counts", Type: dtype.F32, Shape: []int64{1, 1}}})
	require.NoError(t, err)
	data := append(l.Header, make([]byte, l.Size-int64(len(l.Header)))...)
	require.NoError(t, dtype.Encode(dtype.F32, data[l.Offsets[0]:][:l.Sizes[0]], sums))
	require.NoError(t, dtype.Encode(dtype.F32, data[l.Offsets[1]:][:4], []float32{count}))
	return data
}

func FuzzImportance(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x01\x00\x00\x00w\x04\x00\x00\x00\x01\x00\x00\x00\x00\x00\x80\x3f"))
	f.Add([]byte("\xff\xff\xff\x7f\xff\xff\xff\x7f"))
	f.Add([]byte("GGUF" + strings.Repeat("\x00", 30)))
	f.Add([]byte("\xff\xff\xff\x7f\x01\x00\x00\x00w\x01\x00\x00\x00\xff\xff\xff\x3f"))
	f.Add([]byte("\x02\x00\x00\x00" + strings.Repeat("\x01\x00\x00\x00w\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x80?", 2)))
	f.Add([]byte("\x01\x00\x00\x00\x01\x00\x00\x00w\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\xc0\x7f"))
	f.Add(importanceGGUF(f, []float32{8, 2}, 4))
	f.Fuzz(func(t *testing.T, data []byte) {
		var all map[string][]float32
		allocation.Bound(t, len(data), 32, func() { all, _ = ParseImportance(data) })
		for name, values := range all {
			if len(name)+4*len(values) > len(data) {
				t.Fatal("more came out than went in")
			}
		}
	})
}

// A convolution that ComfyUI-GGUF has flattened gets its shape back.
func TestFlattened(t *testing.T) {
	make1 := func(original []int32) string {
		l, err := gguf.NewLayout([]gguf.KV{{Key: "comfy.gguf.orig_shape.conv_first.weight", Value: original}}, []gguf.Tensor{
			{Name: "conv_first.weight", Type: dtype.Q8_0, Shape: []int64{2, 288}}, {Name: "body.0.rdb1.conv1.weight", Type: dtype.F32, Shape: []int64{1}}})
		require.NoError(t, err)
		data := append(l.Header, make([]byte, l.Size-int64(len(l.Header)))...)
		for i := range 18 { // blocks of scale i and values 0 … 31
			block := data[l.Offsets[0]+int64(34*i):]
			require.NoError(t, dtype.Encode(dtype.F16, block[:2], []float32{float32(i)}))
			for k := range 32 {
				block[2+k] = byte(k)
			}
		}
		path := filepath.Join(t.TempDir(), "x")
		require.NoError(t, os.WriteFile(path, data, 0o666))
		return path
	}
	m, err := read.Load(make1([]int32{2, 32, 3, 3}))
	require.NoError(t, err)
	defer m.Close()
	for _, o := range []Options{{Keep: true}, {Type: dtype.F32}, {Type: dtype.Q4_0}} {
		out := filepath.Join(t.TempDir(), "out")
		require.NoError(t, Convert(t.Context(), m, out, o))
		got, err := read.Load(out)
		require.NoError(t, err)
		x, _ := got.Tensor("conv_first.weight")
		require.Equal(t, []int64{2, 32, 3, 3}, x.Shape)
		values := make([]float32, 576)
		require.NoError(t, x.Float32(values))
		for i, v := range values {
			require.Equal(t, float32(i/32*(i%32)), v)
		}
		require.NoError(t, got.Close())
	}
	for _, wrong := range [][]int32{{2, 32, 3}, {0, 0}, {-2, -288}, {1 << 30, 1 << 30, 1 << 30, 1 << 30}, nil} {
		_, err := read.Load(make1(wrong))
		require.ErrorContains(t, err, "which cannot have been")
	}
	_, err = read.Load(make1([]int32{1, 1, 2, 1, 288}))
	require.ErrorContains(t, err, "must have one to four dimensions")
}

func open(t testing.TB, path string) *model.Model {
	m, err := read.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// verify compares a file with its source.
func verify(t testing.TB, source *model.Model, path string) ([]Deviation, error) {
	m, err := read.Load(path)
	require.NoError(t, err)
	defer m.Close()
	return Compare(t.Context(), source, m, path)
}
