package write

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/read"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
	"github.com/sdgo/sdgo/internal/replace"
)

func TestConvert(t *testing.T) {
	for _, m := range []*model.Model{fixture.Tiny(), fixture.Tiny2()} {
		source := open(t, fixture.SaveNew(t, map[string]string{
			"modelspec.title": "Tiny", "modelspec.license": "MIT", "sdgo.prediction": "v", "sdgo.native_size": "64", model.KeyMerges: "a b\nab c</w>\n",
			"sdgo.unet.heads": "4", "sdgo.vae.scale_factor": "0.13025", "sdgo.guidance": "2.5",
		}, append(fixture.Fill(fixture.Weights(m), "F32"), fixture.Surplus()...)))
		for _, typ := range []dtype.Type{dtype.F32, dtype.F16, dtype.BF16} {
			t.Run(m.Family+" "+typ.String(), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "out")
				calls, last := 0, int64(0)
				require.NoError(t, Convert(t.Context(), source, path, Options{Type: typ, Progress: func(done, total int64) {
					require.Greater(t, done, last)
					require.LessOrEqual(t, done, total)
					calls, last = calls+1, done
				}}))
				require.Equal(t, len(source.Tensors)+len(family.WrittenMarks(source)), calls)
				got := open(t, path)
				require.Equal(t, "gguf", got.Format)
				require.Equal(t, "Tiny", got.Metadata["general.name"])
				require.Equal(t, "MIT", got.Metadata["general.license"])
				want := *source
				want.Tensors = convertOneByOne(t, source, typ)
				fixture.RequireSame(t, &want, got)
				require.Equal(t, []string{"out"}, namesIn(t, filepath.Dir(path)))
			})
		}
	}
}

// convertOneByOne converts a model's tensors in the simplest way.
func convertOneByOne(t *testing.T, m *model.Model, typ dtype.Type) (all []model.Tensor) {
	for _, x := range m.Tensors {
		to := TypeFor(x, typ)
		values := make([]float32, x.Elements())
		require.NoError(t, x.Float32(values))
		size, ok := to.Size(x.Elements(), 1)
		require.True(t, ok)
		data := make([]byte, size)
		require.NoError(t, dtype.Encode(to, data, values))
		all = append(all, model.Tensor{Name: x.Name, Type: to, Shape: x.Shape, Bytes: data})
	}
	return all
}

// namesIn are the names in a folder.
func namesIn(t *testing.T, folder string) (names []string) {
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A quantizer that fills blocks with the number of the call's first element, so
// that pieces out of place show.
func TestConvertQuantizes(t *testing.T) {
	source := open(t, fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(fixture.Tiny2()), "F16")))
	path := filepath.Join(t.TempDir(), "out")
	_, err := os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, Convert(t.Context(), source, path, Options{Type: dtype.Q4_0}), "without ggml")
	quantize := func(typ uint32, dst []byte, src []float32, rowLen int, importance []float32) error {
		require.Zero(t, len(src)%rowLen)
		require.Nil(t, importance)
		require.Equal(t, len(src)/32*18, len(dst))
		for i := range dst {
			dst[i] = byte(len(src))
		}
		return nil
	}
	require.NoError(t, Convert(t.Context(), source, path, Options{Type: dtype.Q4_0, Quantize: quantize}))
	got := open(t, path)
	quantized := 0
	for _, x := range got.Tensors {
		from, _ := source.Tensor(x.Name)
		require.Equal(t, TypeFor(from, dtype.Q4_0), x.Type, x.Name)
		if x.Type.Quantized() {
			quantized++
			require.Equal(t, bytes.Repeat([]byte{byte(x.Elements())}, len(x.Bytes)), x.Bytes)
		} else {
			require.Equal(t, from.Bytes, x.Bytes, x.Name)
		}
	}
	require.Greater(t, quantized, 100)

	fail := errors.New("no")
	err = Convert(t.Context(), source, path, Options{Type: dtype.Q4_0, Quantize: func(uint32, []byte, []float32, int, []float32) error { return fail }})
	require.ErrorIs(t, err, fail)
	require.Equal(t, []string{"out"}, namesIn(t, filepath.Dir(path)))
}

func TestTypeFor(t *testing.T) {
	unet, text, vae := model.UNetPrefix, model.TextPrefix+"text_model.", model.VAEPrefix
	for _, c := range []struct {
		name  string
		shape []int64
		from  dtype.Type
		want  map[dtype.Type]dtype.Type
	}{
		{unet + "middle_block.1.transformer_blocks.0.attn1.to_q.weight", []int64{320, 320}, dtype.F32,
			map[dtype.Type]dtype.Type{dtype.F32: dtype.F32, dtype.F16: dtype.F16, dtype.Q8_0: dtype.Q8_0, dtype.Q4_K: dtype.F16, dtype.Q4_0: dtype.Q4_0}},
		{unet + "middle_block.1.transformer_blocks.0.ff.net.2.weight", []int64{320, 1280}, dtype.F16,
			map[dtype.Type]dtype.Type{dtype.Q4_K: dtype.Q4_K, dtype.BF16: dtype.BF16}},
		{unet + "input_blocks.1.0.in_layers.2.weight", []int64{320, 320, 3, 3}, dtype.F32,
			map[dtype.Type]dtype.Type{dtype.F16: dtype.F16, dtype.Q8_0: dtype.F16}},
		{unet + "input_blocks.1.1.proj_in.weight", []int64{320, 320, 1, 1}, dtype.BF16, map[dtype.Type]dtype.Type{dtype.Q8_0: dtype.BF16}},
		{unet + "time_embed.0.weight", []int64{1280, 320}, dtype.F32, map[dtype.Type]dtype.Type{dtype.Q8_0: dtype.F16}},
		{unet + "out.0.weight", []int64{320}, dtype.F32,
			map[dtype.Type]dtype.Type{dtype.F16: dtype.F32, dtype.Q4_0: dtype.F32, dtype.Q8_0: dtype.Q8_0}},
		{unet + "out.0.weight", []int64{320}, dtype.Q8_0,
			map[dtype.Type]dtype.Type{dtype.F16: dtype.F16, dtype.F32: dtype.F32, dtype.Q4_0: dtype.Q8_0}},
		{unet + "out.0.bias", []int64{320}, dtype.F16, map[dtype.Type]dtype.Type{dtype.Q8_0: dtype.F16, dtype.F32: dtype.F16}},
		{text + "embeddings.token_embedding.weight", []int64{49408, 768}, dtype.F32, map[dtype.Type]dtype.Type{dtype.Q8_0: dtype.F16}},
		{text + "encoder.layers.0.mlp.fc1.bias", []int64{3072}, dtype.F64, map[dtype.Type]dtype.Type{dtype.Q8_0: dtype.F32}},
		{vae + "decoder.mid.attn_1.q.weight", []int64{512, 512, 1, 1}, dtype.F32, map[dtype.Type]dtype.Type{dtype.Q4_0: dtype.F16}},
	} {
		for want, got := range c.want {
			require.Equal(t, got, TypeFor(model.Tensor{Name: c.name, Shape: c.shape, Type: c.from}, want), "%s to %s", c.name, want)
		}
	}
}

// faulty fails at a write or at the end.
type faulty struct {
	file
	writes int // that succeed
	commit error
}

func (f *faulty) WriteAt(b []byte, at int64) (int, error) {
	if f.writes--; f.writes < 0 {
		return 0, &os.PathError{Op: "write", Path: "temporary", Err: syscall.ENOSPC}
	}
	return f.file.WriteAt(b, at)
}

func (f *faulty) Commit() error { return f.commit }

func (f *faulty) Discard() { f.file.Discard() }

func (f *faulty) Remove() { f.file.Remove() }

func TestConvertFails(t *testing.T) {
	source := open(t, fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")))
	full := &os.PathError{Op: "sync", Path: "temporary", Err: syscall.ENOSPC}
	for name, f := range map[string]faulty{
		"header": {},
		"end":    {writes: 1},
		"tensor": {writes: 40},
		"commit": {writes: 1 << 30, commit: full},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			out := filepath.Join(folder, "out.gguf")
			require.NoError(t, os.WriteFile(out, []byte("before"), 0o666))
			err := Convert(t.Context(), source, out, Options{Keep: true, create: func(path string) (file, error) {
				real, err := replace.Create(path)
				f.file = real
				return &f, err
			}})
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.True(t, strings.HasPrefix(err.Error(), fmt.Sprintf("writing %s: ", out)), err)
			require.Equal(t, []string{"out.gguf"}, namesIn(t, folder))
			text, err := os.ReadFile(out)
			require.NoError(t, err)
			require.Equal(t, "before", string(text))
		})
	}
}

// A file that appears while a model is written is not replaced where New is set.
func TestConvertNew(t *testing.T) {
	source := open(t, fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")))
	folder := t.TempDir()
	out := filepath.Join(folder, "out.gguf")
	err := Convert(t.Context(), source, out, Options{Keep: true, New: true, Progress: func(done, total int64) {
		require.NoError(t, os.WriteFile(out, []byte("other"), 0o666))
	}})
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, out)
	require.Equal(t, []string{"out.gguf"}, namesIn(t, folder))
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, "other", string(text))
	require.ErrorIs(t, Convert(t.Context(), source, out, Options{Keep: true, New: true}), fs.ErrExist)
	require.NoError(t, Convert(t.Context(), source, out, Options{Keep: true}))
	require.NoError(t, Convert(t.Context(), source, filepath.Join(folder, "new.gguf"), Options{Keep: true, New: true}))
}

// A run that fails at once waits for what still reads the source, which may be
// closed then.
func TestConvertFailsWhileHashing(t *testing.T) {
	path := fixture.Sparse(t, filepath.Join(t.TempDir(), "in"), []safetensors.Tensor{{Name: "emb_params", DType: "F32", Shape: []int64{1 << 20, 256}}})
	for range 3 {
		source, err := read.Load(path)
		require.NoError(t, err)
		err = Convert(t.Context(), source, filepath.Join(t.TempDir(), "out"), Options{Keep: true, Hash: true, create: func(path string) (file, error) {
			real, err := replace.Create(path)
			return &faulty{file: real}, err
		}})
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.NoError(t, source.Close())
	}
}

func TestConvertCancelled(t *testing.T) {
	source := open(t, fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")))
	folder := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	err := Convert(ctx, source, filepath.Join(folder, "out"), Options{Type: dtype.F32, Progress: func(done, total int64) { cancel(stop) }})
	require.ErrorIs(t, err, stop)
	require.Empty(t, namesIn(t, folder))
}

func TestConvertPaths(t *testing.T) {
	source := open(t, fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")))
	err := Convert(t.Context(), source, os.DevNull, Options{Keep: true})
	require.EqualError(t, err, os.DevNull+": not a regular file")
	missing := filepath.Join(t.TempDir(), "no", "out")
	err = Convert(t.Context(), source, missing, Options{Keep: true})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "writing "+missing+": ")
}

func TestConvertRefusesNumbers(t *testing.T) {
	tensors := fixture.Fill(fixture.Weights(fixture.Tiny()), "F32")
	bad := tensors[3]
	require.NoError(t, dtype.Encode(dtype.F32, bad.Data[:4], []float32{1e6}))
	source := open(t, fixture.SaveNew(t, nil, tensors))
	out := filepath.Join(t.TempDir(), "out")
	// The bad one is a bias and keeps its type.
	require.NoError(t, Convert(t.Context(), source, out, Options{Type: dtype.F16}))

	bad = tensors[2]
	require.NoError(t, dtype.Encode(dtype.F32, bad.Data[:4], []float32{1e6}))
	source = open(t, fixture.SaveNew(t, nil, tensors))
	err := Convert(t.Context(), source, out, Options{Type: dtype.F16})
	require.ErrorContains(t, err, fmt.Sprintf("tensor %q: it has numbers that are too large for f16", bad.Name))
	require.NoError(t, Convert(t.Context(), source, out, Options{Type: dtype.BF16}))

	copy(bad.Data, []byte{0, 0, 0xc0, 0x7f})
	source = open(t, fixture.SaveNew(t, nil, tensors))
	err = Convert(t.Context(), source, out, Options{Type: dtype.F16})
	require.ErrorContains(t, err, fmt.Sprintf("tensor %q: it has elements that are NaN", bad.Name))
	require.EqualError(t, CheckFinite(t.Context(), source, ""), (&model.NotFiniteError{Tensor: bad.Name}).Error())
	require.NoError(t, CheckFinite(t.Context(), source, model.UNetPrefix))
}

// What is written is what GGUF's specification says, by the reader of package
// gguf, and its metadata has the model in it for people.
func TestMetadata(t *testing.T) {
	source := open(t, fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(fixture.Tiny2()), "F16")))
	path := filepath.Join(t.TempDir(), "out")
	require.NoError(t, Convert(t.Context(), source, path, Options{Keep: true}))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := gguf.Parse(data)
	require.NoError(t, err)
	require.Equal(t, "sd2", f.Get("general.architecture"))
	require.Equal(t, uint32(1), f.Get("general.file_type"))
	require.Equal(t, uint32(2), f.Get("general.quantization_version"))
	require.Equal(t, []int32{0, 2, 1}, f.Get("sdgo.unet.transformer_depth"))
	require.Equal(t, float32(0.18215), f.Get("sdgo.vae.scale_factor"))
	require.Nil(t, f.Get("sdgo.prediction"))
}

// A text of the metadata stays as it is, also one with brackets: names of classes are a
// list in JSON.
func TestTextOf(t *testing.T) {
	for want, value := range map[string]any{`["a", "b"]`: `["a", "b"]`, "1 2": []int{1, 2}, "a\nb": []string{"a", "b"}, "3": uint32(3)} {
		require.Equal(t, want, textOf(value))
	}
}
