package sd

import (
	"context"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/mutate"
)

// mutationDeadline is what one file may take, under the race detector on a machine
// that is busy with other things.
const mutationDeadline = 2 * time.Minute

// Model files that are wrong in few places go through the whole library: whatever
// it says of them, it neither panics nor hangs. SDGO_MUTATIONS is their number in
// each format, SDGO_MUTATIONS_FROM the first one's. Where the process ends,
// the file is left in the system's folder for temporary files, under its number.
func TestMutations(t *testing.T) {
	n, first := setting(t, "SDGO_MUTATIONS", 100), setting(t, "SDGO_MUTATIONS_FROM", 0)
	model, whole := mutableModel(515, 32), mutableModel(49408, 8) // checkpoints bring no tokenizer along: theirs is CLIP's
	folder := mutableFolder(t, model)
	for name, write := range map[string]func(path string, s *mutate.Script) error{
		"safetensors": func(path string, s *mutate.Script) error { return os.WriteFile(path, model.Safetensors(s), 0o666) },
		"gguf":        func(path string, s *mutate.Script) error { return os.WriteFile(path, model.GGUF(s), 0o666) },
		"checkpoint":  func(path string, s *mutate.Script) error { return os.WriteFile(path, whole.Checkpoint(s), 0o666) },
		"folder": func(path string, s *mutate.Script) error {
			for name, data := range folder.Files(s) {
				file := filepath.Join(path, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
					return err
				}
				if err := os.WriteFile(file, data, 0o666); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var all mutationCounts
			all.run(t, dir, "unchanged", mutate.NewScript(nil), write)
			require.Equal(t, mutationCounts{1, 1, 1, 1, 1, all.slowest, false}, all, "the model without a change draws")
			for i := range n {
				all.run(t, dir, strconv.Itoa(first+i), mutate.Random(uint64(first+i)), write)
			}
			t.Logf("%d files: %d loaded, %d converted, %d opened, %d drew; the slowest took %v", all.files, all.loaded, all.converted, all.opened, all.drew, all.slowest)
			require.Greater(t, all.loaded, n/20)
			require.Greater(t, all.files, all.loaded)
		})
	}
}

// The same of a model that enlarges pictures as a text says.
func TestUpscalerMutations(t *testing.T) {
	n, first := setting(t, "SDGO_MUTATIONS", 40), setting(t, "SDGO_MUTATIONS_FROM", 0)
	model := &mutate.Model{}
	m, err := convert.Load(filepath.Join(upscalerFolder, "x4.safetensors"))
	require.NoError(t, err)
	defer m.Close()
	model.Meta = m.Metadata
	model.Meta["sdgo.tokenizer.merges"] = strings.Join(m.Merges, "\n")
	for _, x := range m.Tensors {
		data := make([]byte, x.Size())
		copy(data, x.Bytes)
		model.Tensors = append(model.Tensors, mutate.Tensor{Name: x.Name, Type: x.Type, Shape: x.Shape, Data: data})
	}
	for name, write := range map[string]func(*mutate.Script) []byte{"safetensors": model.Safetensors, "gguf": model.GGUF} {
		t.Run(name, func(t *testing.T) {
			all, dir := mutationCounts{enlarges: true}, t.TempDir()
			file := func(path string, s *mutate.Script) error { return os.WriteFile(path, write(s), 0o666) }
			all.run(t, dir, "unchanged", mutate.NewScript(nil), file)
			require.Equal(t, mutationCounts{1, 1, 1, 1, 1, all.slowest, true}, all, "the model without a change draws")
			for i := range n {
				all.run(t, dir, strconv.Itoa(first+i), mutate.Random(uint64(first+i)), file)
			}
			t.Logf("%d files: %d loaded, %d converted, %d opened, %d drew; the slowest took %v", all.files, all.loaded, all.converted, all.opened, all.drew, all.slowest)
			require.Greater(t, all.files, all.loaded)
		})
	}
}

func setting(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// mutationCounts says how far files came.
type mutationCounts struct {
	files, loaded, converted, opened, drew int
	slowest                                time.Duration
	enlarges                               bool // a picture, which each is given
}

func (c *mutationCounts) run(t *testing.T, dir, name string, s *mutate.Script, write func(string, *mutate.Script) error) {
	path := filepath.Join(dir, name)
	require.NoError(t, write(path, s))
	start := time.Now()
	watchdog := time.AfterFunc(mutationDeadline, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s took more than %v", path, mutationDeadline))
	})
	defer watchdog.Stop()
	c.files++
	ctx, cancel := context.WithTimeout(t.Context(), mutationDeadline/2)
	c.convert(t, ctx, path)
	c.draw(t, ctx, path)
	cancel()
	c.slowest = max(c.slowest, time.Since(start))
	require.NoError(t, os.RemoveAll(path))
}

func (c *mutationCounts) convert(t *testing.T, ctx context.Context, path string) {
	m, err := convert.Load(path)
	requireNoFault(t, path, err)
	if err != nil {
		return
	}
	defer m.Close()
	c.loaded++
	convert.Parts(m)
	requireNoFault(t, path, convert.CheckFinite(ctx, m, ""))
	all := []dtype.Type{dtype.F32, dtype.F16, dtype.BF16, dtype.Q8_0, dtype.Q4_0, dtype.Q5_1, dtype.Q4_K, dtype.Q2_K, dtype.IQ4_NL}
	o := convert.Options{Type: all[c.loaded%len(all)], Keep: c.loaded%5 == 0, Safetensors: c.loaded%7 == 0, Quantize: cgo.Quantize, Hash: c.loaded%3 == 0}
	to := path + ".out"
	err = convert.Convert(ctx, m, to, o)
	requireNoFault(t, path, err)
	if err != nil {
		return
	}
	c.converted++
	again, err := convert.Load(to)
	requireNoFault(t, path, err)
	require.NoError(t, err, "%s: what was written is read", path)
	require.NoError(t, again.Close())
	require.NoError(t, os.Remove(to))
}

func (c *mutationCounts) draw(t *testing.T, ctx context.Context, path string) {
	o := Options{Threads: 1, Type: []string{"", "", "f32", "q8_0", "bf16"}[c.files%5]}
	if c.files%4 == 0 {
		o.Kernels = "ggml"
	}
	m, err := Open(path, o)
	requireNoFault(t, path, err)
	if err != nil {
		return
	}
	c.opened++
	r := Request{Prompt: "a (b:1.2)", Width: 16, Height: 16, Steps: 1, Seed: 5}
	if c.opened%3 == 0 || c.enlarges {
		r.Image = image.NewNRGBA(image.Rect(0, 0, 16, 16))
	}
	got, err := m.Generate(ctx, r)
	requireNoFault(t, path, err)
	if err == nil {
		require.Len(t, got.Images, 1, path)
		c.drew++
	}
	require.NoError(t, m.Close())
}

// requireNoFault takes any error but those of the library's own doing.
func requireNoFault(t *testing.T, path string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	require.NotErrorIs(t, err, context.DeadlineExceeded, path)
	for _, fault := range []string{"fault of the program", "panicked", "GGML_ASSERT", "runtime error"} {
		require.NotContains(t, err.Error(), fault, path)
	}
}

// mutableModel is a model of the SD 1 family with a tokenizer of one merge, which
// makes 515 tokens, in half a megabyte.
func mutableModel(vocabulary, width int) *mutate.Model {
	text := convert.TextConfig{Prefix: convert.TextPrefix, Vocabulary: vocabulary, ContextLength: 77, Width: width, FFN: 32, Layers: 1}
	unet := convert.UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 32, ChannelMult: []int{1}, NumResBlocks: 1,
		TransformerDepth: []int{1}, MiddleDepth: 1, ContextDim: width}
	vae := convert.VAEConfig{ImageChannels: 3, Channels: 32, ChannelMult: []int{1, 1}, NumResBlocks: 1, ZChannels: 4, EmbedDim: 4, QuantConv: true, HasEncoder: true}
	m := &mutate.Model{Meta: map[string]string{"sdgo.tokenizer.merges": "a b", "sdgo.unet.heads_by_level": "4", "sdgo.text.heads": "2"}}
	for _, w := range append(append(text.Weights(), unet.Weights()...), vae.Weights()...) {
		m.Tensors = append(m.Tensors, mutate.Weight(w.Name, w.Shape))
	}
	return m
}

// mutableFolder is the model in the diffusers library's layout.
func mutableFolder(t *testing.T, model *mutate.Model) *mutate.Folder {
	path := filepath.Join(t.TempDir(), "model")
	require.NoError(t, os.WriteFile(path, model.Safetensors(mutate.NewScript(nil)), 0o666))
	m, err := convert.Load(path)
	require.NoError(t, err)
	defer m.Close()
	names := convert.DiffusersNames(m)
	f := &mutate.Folder{Nets: map[string]*mutate.Model{}, Texts: map[string]string{
		"model_index.json": `{"unet":["diffusers","UNet2DConditionModel"],"vae":["diffusers","AutoencoderKL"],"text_encoder":["transformers","CLIPTextModel"],` +
			`"scheduler":["diffusers","EulerDiscreteScheduler"],"safety_checker":[null,null]}`,
		"unet/config.json":                `{"attention_head_dim":[4],"num_attention_heads":null,"sample_size":8}`,
		"vae/config.json":                 `{"scaling_factor":0.18215}`,
		"text_encoder/config.json":        `{"num_attention_heads":2,"hidden_act":"quick_gelu","layer_norm_eps":1e-5}`,
		"scheduler/scheduler_config.json": `{"prediction_type":"epsilon"}`,
		"tokenizer/merges.txt":            "#version: 0.2\na b\n",
	}}
	for _, x := range model.Tensors {
		part, name, ok := names(x.Name)
		require.True(t, ok, x.Name)
		file := part + "/diffusion_pytorch_model.safetensors"
		if part == "text_encoder" {
			file = part + "/model.safetensors"
		}
		if f.Nets[file] == nil {
			f.Nets[file] = &mutate.Model{}
		}
		x.Name = name
		f.Nets[file].Tensors = append(f.Nets[file].Tensors, x)
	}
	return f
}
