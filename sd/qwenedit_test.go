package sd

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/checked"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/qwen"
	"github.com/sdgo/sdgo/sd/tensor"
)

// towerShapes are the tiny vision tower's tensors.
func towerShapes() map[string][]int64 {
	const width, ffn, blocks, text = 160, 52, 9, 128
	all := map[string][]int64{"patch_embed.proj.weight": {width, 3, 2, 14, 14}, "merger.ln_q.weight": {width},
		"merger.mlp.0.weight": {4 * width, 4 * width}, "merger.mlp.0.bias": {4 * width}, "merger.mlp.2.weight": {text, 4 * width}, "merger.mlp.2.bias": {text}}
	for i := range blocks {
		for name, shape := range map[string][]int64{"norm1": {width}, "norm2": {width}, "attn.qkv": {3 * width, width}, "attn.proj": {width, width},
			"mlp.gate_proj": {ffn, width}, "mlp.up_proj": {ffn, width}, "mlp.down_proj": {width, ffn}} {
			name = fmt.Sprintf("blocks.%d.%s", i, name)
			all[name+".weight"] = shape
			if len(shape) == 2 {
				all[name+".bias"] = shape[:1]
			}
		}
	}
	return all
}

// towerTensors are the tower's weights, which the script of the references computes in the same way.
func towerTensors(t *testing.T) (all []safetensors.Tensor) {
	shapes := towerShapes()
	names := make([]string, 0, len(shapes))
	for name := range shapes {
		names = append(names, name)
	}
	slices.Sort(names)
	for number, name := range names {
		shape, count := shapes[name], int64(1)
		for _, n := range shape {
			count *= n
		}
		values := make([]float32, count)
		scale := 0.25
		if len(shape) > 1 {
			scale = math.Exp2(math.RoundToEven(math.Log2(math.Sqrt(3 * float64(shape[0]) / float64(count)))))
		}
		for k := range values {
			h := uint32(k)*2654435761 + uint32((number+1)*40503*65537)
			h = (h ^ h>>15) * 2246822519
			v := float32((h^h>>13)>>21)/1024 - 1
			values[k] = v * float32(scale)
			if len(shape) == 1 && (strings.Contains(name, "norm") || strings.Contains(name, "ln_q")) {
				values[k]++
			}
		}
		data := make([]byte, 4*len(values))
		require.NoError(t, dtype.Encode(dtype.F32, data, values))
		all = append(all, safetensors.Tensor{Name: "visual." + name, DType: "F32", Shape: shape, Data: data})
	}
	return all
}

// qwenEditParts are the files of the tiny Qwen-Image-Edit, whose metadata say how pictures are named, and that it is for pictures of
// 512x512.
func qwenEditParts(t *testing.T, metadata map[string]string, o Options) (string, Options) {
	t.Helper()
	path, o := qwenImageParts(t, o)
	o.LLM = changedFile(t, o.LLM, func(f *safetensors.File) { f.Tensors = append(f.Tensors, towerTensors(t)...) })
	return changedFile(t, path, func(f *safetensors.File) {
		f.Metadata = map[string]string{"sdgo.native_size": "512"}
		for k, v := range metadata {
			f.Metadata[k] = v
		}
	}), o
}

// changedFile writes a file with changes.
func changedFile(t *testing.T, from string, change func(*safetensors.File)) string {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	change(f)
	path := filepath.Join(t.TempDir(), filepath.Base(from))
	out, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(out, f.Metadata, f.Tensors))
	require.NoError(t, out.Close())
	return path
}

// painted is a picture that the script of the references paints, too.
func painted(width, height int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetNRGBA(x, y, color.NRGBA{R: uint8(x * 5), G: uint8(y * 3), B: uint8(x * y), A: 255})
		}
	}
	return img
}

func qwenEditRequest(ref reference, scale float64, pictures ...*image.NRGBA) Request {
	r := Request{Prompt: ref.file.Metadata["prompt"], NegativePrompt: ref.file.Metadata["negative"], Width: 112, Height: 64, Steps: 3, Guidance: Float(scale), Seed: 42}
	for _, img := range pictures {
		r.Controls = append(r.Controls, RequestControl{Name: Reference, Image: img})
	}
	return r
}

const editReference = "qwenimage-edit-reference.safetensors"

// The vision tower on pictures that are no squares and no multiples of a window, with what is done to them before.
func TestQwenTowerAgreesWithTransformers(t *testing.T) {
	ref := readReference(t, transformersFolder, editReference)
	path, o := qwenEditParts(t, nil, Options{Type: "f32"})
	for _, kernels := range []string{"", "generic", "ggml"} {
		o.Kernels = kernels
		m, err := Open(path, o)
		require.NoError(t, err)
		c := m.host().Weights.Config.(*convert.QwenImageConfig)
		require.Equal(t, &convert.QwenVisionConfig{Width: 160, Heads: 2, Blocks: 9, FFN: 52, Out: 128, LeastPixels: 3136, MostPixels: 12845056}, c.Vision)
		tower, err := qwen.OpenTower(m.host(), c.VisionPrefix(), *c.Vision)
		require.NoError(t, err)
		for size, tokens := range map[image.Point]image.Point{{X: 100, Y: 60}: {X: 4, Y: 2}, {X: 230, Y: 170}: {X: 8, Y: 6}, {X: 300, Y: 44}: {X: 11, Y: 2}, {X: 350, Y: 350}: {X: 12, Y: 12}, {X: 30, Y: 31}: {X: 2, Y: 3}} {
			seen, err := tower.See(t.Context(), painted(size.X, size.Y), nil)
			require.NoError(t, err)
			require.Equal(t, tokens, image.Pt(seen.Columns, seen.Rows), size)
			requireClose(t, seen.Tokens.Data, ref.f32(fmt.Sprintf("tower.%dx%d", size.X, size.Y)), 1e-4, fmt.Sprint(kernels, size))
		}
		require.NoError(t, m.Close())
	}
}

// Texts with pictures, every step and the pixels, of Edit with one picture and of Edit-2509 with one and two, without guidance and
// with that which keeps the length of tokens; of Edit-2511, whose pictures have time 0.
func TestQwenEditAgreesStepByStep(t *testing.T) {
	ref := readReference(t, transformersFolder, editReference)
	first, second := painted(200, 120), painted(90, 150)
	both := map[string]float64{"plain": 1, "guided": 3}
	for _, c := range checked.Few([]struct {
		name     string
		metadata map[string]string
		pictures []*image.NRGBA
		scales   map[string]float64
		kernels  []string
		every    int // so-th token is in the reference
	}{
		{"one", map[string]string{"sdgo.qwen_image.edit": "one"}, []*image.NRGBA{first}, both, []string{"", "ggml"}, 3},
		{"several", map[string]string{"sdgo.qwen_image.edit": "several"}, []*image.NRGBA{first, second}, both, []string{""}, 1},
		{"alone", nil, []*image.NRGBA{second}, map[string]float64{"plain": 1}, []string{""}, 0},
		{"still", map[string]string{"sdgo.qwen_image.zero_cond_t": "true"}, []*image.NRGBA{first, second}, map[string]float64{"plain": 1}, []string{""}, 0},
	}) {
		path, o := qwenEditParts(t, c.metadata, Options{Type: "f32"})
		for _, o.Kernels = range c.kernels {
			m, err := Open(path, o)
			require.NoError(t, err)
			if c.every > 0 {
				e := conditionsOf(t, m, qwenEditRequest(ref, 1, c.pictures...)).Cond.Inputs[0]
				var got []float32
				for i := 0; i < e.Shape[0]; i += c.every {
					got = append(got, e.Data[128*i:][:128]...)
				}
				requireClose(t, got, ref.f32(c.name+".context"), 1e-4, c.name+" context "+o.Kernels)
			}
			for kind, scale := range c.scales {
				latent := latentOf(t, m, qwenEditRequest(ref, scale, c.pictures...), func(s sampler.Step) error {
					requireClose(t, s.X, ref.f32(fmt.Sprintf("%s.%s.latent.%d", c.name, kind, s.Index)), 1e-4, fmt.Sprintf("%s %s %s step %d", c.name, o.Kernels, kind, s.Index))
					return nil
				})
				pixels, err := m.pipeline.Autoencoder.Decode(t.Context(), latent, tensor.NoProgress)
				require.NoError(t, err)
				requirePixels(t, pixels.Image(), ref.tensor(c.name+"."+kind+".pixels", "U8").Data, 1)
			}
			require.NoError(t, m.Close())
		}
	}
}

// Parts with both names of the tower, one file of them, as safetensors and GGUF, one with the names of other programs, and diffusers
// folders draw the same bits.
func TestQwenEditLayouts(t *testing.T) {
	path, o := qwenEditParts(t, map[string]string{"sdgo.qwen_image.edit": "several"}, Options{})
	r := Request{Prompt: "a fox", Width: 64, Height: 64, Steps: 1, Seed: 1, Guidance: Float(1), Controls: []RequestControl{{Name: Reference, Image: painted(90, 70)}}}
	draw := func(path string, o Options) []byte {
		t.Helper()
		m, err := Open(path, o)
		require.NoError(t, err)
		defer m.Close()
		result, err := m.Generate(t.Context(), r)
		require.NoError(t, err)
		return result.Images[0].Image.Pix
	}
	want := draw(path, o)
	newer := o
	newer.LLM = renamedFile(t, o.LLM, func(name string) string {
		if strings.HasPrefix(name, "visual.") {
			return "model." + name
		}
		return strings.Replace(name, "model.", "model.language_model.", 1)
	})
	require.Equal(t, want, draw(path, newer))
	for _, out := range []struct {
		name    string
		options convert.Options
	}{{"one.safetensors", convert.Options{Keep: true, Safetensors: true}}, {"one.gguf", convert.Options{Keep: true}}} {
		one := filepath.Join(t.TempDir(), out.name)
		m, err := convert.Assemble(convert.Components{Model: path, VAE: o.VAE, LLM: o.LLM})
		require.NoError(t, err)
		require.NoError(t, convert.Convert(t.Context(), m, one, out.options))
		require.NoError(t, m.Close())
		require.Equal(t, want, draw(one, Options{}), out.name)
		if out.options.Safetensors {
			require.Equal(t, want, draw(renamedFile(t, one, strings.NewReplacer("text_encoders.qwen25_7b.transformer.", "text_encoders.llm.", "first_stage_model.", "vae.").Replace), Options{}))
			five := changedFile(t, one, func(f *safetensors.File) {
				for i := range f.Tensors {
					if strings.HasSuffix(f.Tensors[i].Name, "patch_embed.proj.weight") {
						require.Len(t, f.Tensors[i].Shape, 2)
						f.Tensors[i].Shape = []int64{160, 3, 2, 14, 14}
					}
				}
			})
			require.Equal(t, want, draw(five, Options{}))
		}
	}
}

// Folders of both pipelines say how prompts name pictures.
func TestQwenEditFolders(t *testing.T) {
	path, o := qwenEditParts(t, nil, Options{})
	for class, c := range map[string]struct{ edit, summary string }{
		"QwenImageEditPipeline":     {convert.QwenEditOne, "for editing one picture"},
		"QwenImageEditPlusPipeline": {convert.QwenEditSeveral, "for editing several pictures"},
		"QwenImagePipeline":         {"", "heads"},
	} {
		dir := qwenImageFolder(t, o, path, class)
		writeJSON(t, dir, "processor/preprocessor_config.json", map[string]any{"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2, "resample": 3, "min_pixels": 6272, "max_pixels": 1003520,
			"image_mean": []float64{0.48145466, 0.4578275, 0.40821073}, "image_std": []float64{0.26862954, 0.26130258, 0.27577711}})
		m := openFile(t, dir, Options{})
		config := m.host().Weights.Config.(*convert.QwenImageConfig)
		require.Equal(t, c.edit, config.Edit)
		require.Equal(t, &convert.QwenVisionConfig{Width: 160, Heads: 2, Blocks: 9, FFN: 52, Out: 128, LeastPixels: 6272, MostPixels: 1003520}, config.Vision)
		networks := config.Networks()
		require.Len(t, networks, 4)
		require.Equal(t, "vision", networks[1].Key)
		require.Contains(t, networks[2].Summary, c.summary)

		one := filepath.Join(t.TempDir(), "one.gguf") // which says so, too
		w, err := convert.Load(dir)
		require.NoError(t, err)
		require.NoError(t, convert.Convert(t.Context(), w, one, convert.Options{Keep: true}))
		require.NoError(t, w.Close())
		again := openFile(t, one, Options{})
		require.Equal(t, c.edit, again.host().Weights.Config.(*convert.QwenImageConfig).Edit)
		require.Equal(t, config.Vision, again.host().Weights.Config.(*convert.QwenImageConfig).Vision)
	}
	for want, c := range map[string]struct {
		file   string
		fields map[string]any
	}{
		"preprocessor_config.json: patch_size must be 14":                                                         {"processor/preprocessor_config.json", map[string]any{"patch_size": 16}},
		"preprocessor_config.json: image_mean must be CLIP's":                                                     {"processor/preprocessor_config.json", map[string]any{"image_mean": []float64{0.5, 0.5, 0.5}}},
		"preprocessor_config.json: do_resize must be true":                                                        {"processor/preprocessor_config.json", map[string]any{"do_resize": false}},
		"preprocessor_config.json: size must be an object":                                                        {"processor/preprocessor_config.json", map[string]any{"size": 3}},
		"sdgo.qwen_vision.min_pixels must be at most a quarter of sdgo.qwen_vision.max_pixels, got 3136 and 3200": {"processor/preprocessor_config.json", map[string]any{"size": map[string]any{"longest_edge": 3200}}},
		"text_encoder/config.json: window_size must be 112":                                                       {"text_encoder/config.json", map[string]any{"vision_config": map[string]any{"window_size": 56}}},
		"text_encoder/config.json: num_heads must be hidden_size / 80":                                            {"text_encoder/config.json", map[string]any{"vision_config": map[string]any{"hidden_size": 160, "num_heads": 4}}},
		"text_encoder/config.json: fullatt_block_indexes must be every 8th block":                                 {"text_encoder/config.json", map[string]any{"vision_config": map[string]any{"depth": 9, "fullatt_block_indexes": []int{3}}}},
		"text_encoder/config.json: vision_config must be an object":                                               {"text_encoder/config.json", map[string]any{"vision_config": 3}},
	} {
		dir := qwenImageFolder(t, o, path, "QwenImageEditPlusPipeline")
		writeJSON(t, dir, c.file, c.fields)
		_, err := Open(dir, Options{})
		require.ErrorContains(t, err, want)
	}
}

func writeJSON(t *testing.T, dir, name string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
}

// Towers of other shapes, and requests that do not go with the model, are refused by name.
func TestQwenEditRefuses(t *testing.T) {
	path, o := qwenEditParts(t, map[string]string{"sdgo.qwen_image.edit": "one"}, Options{})
	for _, c := range []struct {
		name, want string
		shape      []int64
	}{
		{"patch_embed.proj.weight", "patch_embed.proj.weight must have the shape [160, 3, 2, 14, 14], whose rows have 1176 numbers, got 588", []int64{160, 3, 1, 14, 14}},
		{"patch_embed.proj.weight", "the vision tower's width must be a multiple of 80, the channels of a head, got 100", []int64{100, 1176}},
		{"merger.mlp.2.weight", "the vision tower's tokens must have the text encoder's width 128, got 64", []int64{64, 640}},
		{"merger.ln_q.weight", `visual.merger.ln_q.weight" must have the shape [160], got [80]`, []int64{80}},
		{"blocks.3.attn.proj.bias", `visual.blocks.3.attn.proj.bias" must have the shape [160], got [161]`, []int64{161}},
		{"blocks.5.mlp.up_proj.weight", `visual.blocks.5.mlp.up_proj.weight" is missing`, nil},
		{"merger.mlp.0.bias", `visual.merger.mlp.0.bias" is missing`, nil},
	} {
		broken := o
		broken.LLM = changedFile(t, o.LLM, func(f *safetensors.File) {
			i := slices.IndexFunc(f.Tensors, func(s safetensors.Tensor) bool { return s.Name == "visual."+c.name })
			if c.shape == nil {
				f.Tensors = slices.Delete(f.Tensors, i, i+1)
				return
			}
			n := int64(4)
			for _, d := range c.shape {
				n *= d
			}
			f.Tensors[i].Shape, f.Tensors[i].Data = c.shape, make([]byte, n)
		})
		_, err := Open(path, broken)
		require.ErrorContains(t, err, c.want)
	}

	looks := func(all ...*image.NRGBA) Request {
		return qwenEditRequest(readReference(t, transformersFolder, editReference), 1, all...)
	}
	m := openFile(t, path, o)
	named := looks(painted(64, 64))
	named.NegativePrompt = "no " + qwen.PictureToken
	for _, c := range []struct {
		r    Request
		want string
	}{
		{looks(), "the model edits pictures: it needs at least one, as a control named reference"},
		{looks(painted(64, 64), painted(64, 64)), "Qwen-Image-Edit looks at one reference picture (Edit-2509 and later at several), got 2"},
		{looks(painted(900, 100)), "reference pictures must have one side at most 8 times the other, got 900x100"},
		{looks(painted(1, 100)), "reference pictures must have one side at most 8 times the other, got 1x100"},
		{named, "NegativePrompt: must not have <|image_pad|>, which stands for a reference picture"},
	} {
		_, err := m.Generate(t.Context(), c.r)
		require.ErrorContains(t, err, c.want)
	}
	path, o = qwenEditParts(t, nil, Options{})
	several := openFile(t, path, o)
	_, err := several.Generate(t.Context(), looks(slices.Repeat([]*image.NRGBA{painted(64, 64)}, 9)...))
	require.ErrorContains(t, err, "there must be at most 8 reference pictures, got 9")
	plain, err := several.Generate(t.Context(), Request{Prompt: "a fox", Width: 64, Height: 64, Steps: 1}) // a file that does not say that it edits
	require.NoError(t, err)
	require.Len(t, plain.Images, 1)
}
