package sd

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/checked"
	"github.com/sdgo/sdgo/sd/adapter"
)

var adaptersFolder = filepath.Join("..", "testdata", "adapters")

func openAdapter(t *testing.T, name string) *Adapter {
	t.Helper()
	a, err := OpenAdapter(filepath.Join(adaptersFolder, name))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

// setOf is the set of some adapters, with one strength for all.
func setOf(t *testing.T, m *Model, strength float64, names ...string) *adapter.Set {
	t.Helper()
	var uses []adapter.Use
	for _, name := range names {
		uses = append(uses, adapter.Use{Adapter: openAdapter(t, name), Text: strength, Denoiser: strength})
	}
	set, err := new(adapter.Sets).Get(m.host().Weights, uses, m.host().Warn)
	require.NoError(t, err)
	return set
}

// adapterNets are what the UNet and the text encoder of a tiny model give with a set.
func adapterNets(t *testing.T, m *Model, ref reference, set *adapter.Set) (unet, text []float32) {
	t.Helper()
	unet, text = make([]float32, 4*8*8), make([]float32, 77*64)
	inputs := []cgo.Input{{Name: "x", Shape: ref.shape("x"), F32: ref.f32("x")}, {Name: "t", Shape: ref.shape("t"), F32: ref.f32("t")},
		{Name: "context", Shape: ref.shape("context"), F32: ref.f32("context")}}
	require.NoError(t, m.unet().Run(context.Background(), inputs, []cgo.Output{{Name: "out", Data: unet}}, set.Denoiser()))
	tokens := []cgo.Input{{Name: "tokens", Shape: ref.shape("tokens"), I32: ref.i32("tokens")}}
	require.NoError(t, m.texts()[0].Run(context.Background(), tokens, []cgo.Output{{Name: "hidden.2", Data: text}}, set.Text()))
	return unet, text
}

// adapterFiles are the fixtures with the name of their reference, where that is another.
var adapterFiles = map[string]string{
	"locon.safetensors": "", "locon-tucker.safetensors": "", "dylora.safetensors": "", "dora.safetensors": "", "dora-columns.safetensors": "",
	"loha.safetensors": "", "loha-tucker.safetensors": "", "loha-dora.safetensors": "", "lokr.safetensors": "", "lokr-both.safetensors": "",
	"lokr-full.safetensors": "", "lokr-tucker.safetensors": "", "full.safetensors": "", "norm.safetensors": "", "ia3.safetensors": "",
	"ia3-input.safetensors": "", "glora.safetensors": "", "oft.safetensors": "", "oft-limit.safetensors": "", "boft.safetensors": "",
	"boft-limit.safetensors": "", "kohya.safetensors": "", "kohya-original.safetensors": "kohya", "comfyui.safetensors": "kohya",
	"diffusers.safetensors": "plain", "diffusers-lora.safetensors": "plain", "peft-5.safetensors": "plain", "peft-default.safetensors": "plain",
	"processors.safetensors": "heads", "peft-bare.safetensors": "heads", "cloneofsimo.safetensors": "", "cloneofsimo-list.pt": "",
	"peft.safetensors": "", "peft-rs.safetensors": "", "peft-dora.safetensors": "", "peft-pattern.safetensors": "",
}

// Every kind in every layout, on the UNet's linear layers, convolutions and norms and on
// the text encoder's, against the diffusers and transformers libraries with the weights
// that LyCORIS and PEFT give.
func TestAdaptersAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, adaptersFolder, "reference.safetensors")
	for _, kernels := range checked.Few(cgo.KernelNames()) {
		m := openTiny(t, "sd1.safetensors", Options{Type: "f32", Kernels: kernels, Threads: 1})
		for file, name := range adapterFiles {
			if name == "" {
				name, _, _ = strings.Cut(file, ".")
			}
			for label, strength := range map[string]float64{"1": 1, "0.6": 0.6, "-0.5": -0.5} {
				unet, text := adapterNets(t, m, ref, setOf(t, m, strength, file))
				what := fmt.Sprintf("%s %s at %s", kernels, file, label)
				compared := 0
				for network, got := range map[string][]float32{"unet.out": unet, "text.out": text} {
					key := name + "|" + label + "|" + network
					if _, ok := ref.tensors[key]; !ok {
						require.Equal(t, 0.0, relativeRMS(got, got)) // and not NaN
						continue
					}
					requireClose(t, got, ref.f32(key), 1e-4, what+" "+network)
					require.Greater(t, relativeRMS(got, ref.f32(network)), 0.01, "%s %s changes nothing", what, network)
					compared++
				}
				require.Positive(t, compared, what)
			}
		}
	}
}

// With weights of 16 bits, what is low-rank and what is patched lose no more than the
// weights do.
func TestAdaptersWithHalfWeights(t *testing.T) {
	ref := readReference(t, adaptersFolder, "reference.safetensors")
	m := openTiny(t, "sd1.safetensors", Options{})
	for _, file := range []string{"kohya.safetensors", "locon-tucker.safetensors", "loha.safetensors", "boft.safetensors"} {
		name, _, _ := strings.Cut(file, ".")
		unet, _ := adapterNets(t, m, ref, setOf(t, m, 0.6, file))
		requireClose(t, unet, ref.f32(name+"|0.6|unet.out"), halfBound, file)
	}
}

// Beside quantized weights a LoRA is as precise as beside the same numbers in float32:
// it is not merged and quantized again.
func TestAdaptersBesideQuantizedWeights(t *testing.T) {
	ref := readReference(t, adaptersFolder, "reference.safetensors")
	for _, typ := range []dtype.Type{dtype.Q8_0, dtype.Q4_0} {
		source, err := convert.Open(filepath.Join(netsFolder, "sd1.safetensors"))
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "quantized.gguf")
		require.NoError(t, convert.Convert(context.Background(), source, path, convert.Options{Type: typ, Quantize: cgo.Quantize}))
		require.NoError(t, source.Close())
		open := func(o Options) *Model {
			m, err := Open(path, o)
			require.NoError(t, err)
			t.Cleanup(func() { m.Close() })
			return m
		}
		exact := open(Options{Type: "f32", Kernels: "generic"})
		for _, kernels := range checked.Few(cgo.KernelNames()) {
			if kernels == "ggml" { // rounds what it multiplies quantized weights by to 8 bits
				continue
			}
			quantized := open(Options{Kernels: kernels})
			for _, file := range []string{"kohya.safetensors", "locon-tucker.safetensors"} {
				wantUNet, wantText := adapterNets(t, exact, ref, setOf(t, exact, 1, file))
				unet, text := adapterNets(t, quantized, ref, setOf(t, quantized, 1, file))
				what := fmt.Sprintf("%s beside %v with %s", file, typ, kernels)
				requireClose(t, unet, wantUNet, 1e-3, what)
				requireClose(t, text, wantText, 1e-3, what)
				without, _ := adapterNets(t, quantized, ref, nil)
				require.Greater(t, relativeRMS(unet, without), 0.01)
			}
		}
	}
}

// The halves of a LoRA's rank in two files are the whole, in either order.
func TestHalvesAreTheWhole(t *testing.T) {
	ref := readReference(t, adaptersFolder, "reference.safetensors")
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32"})
	unet, text := adapterNets(t, m, ref, setOf(t, m, 0.8, "whole.safetensors"))
	gotUNet, gotText := adapterNets(t, m, ref, setOf(t, m, 0.8, "half-1.safetensors", "half-2.safetensors"))
	require.Equal(t, unet, gotUNet)
	require.Equal(t, text, gotText)
	gotUNet, gotText = adapterNets(t, m, ref, setOf(t, m, 0.8, "half-2.safetensors", "half-1.safetensors"))
	requireClose(t, gotUNet, unet, 1e-5, "UNet") // sums in another order
	requireClose(t, gotText, text, 1e-6, "text")
	// A kind that is patched and one that is not, on the same weights, add up, too.
	both, _ := adapterNets(t, m, ref, setOf(t, m, 1, "kohya.safetensors", "full.safetensors"))
	other, _ := adapterNets(t, m, ref, setOf(t, m, 1, "full.safetensors", "kohya.safetensors"))
	requireClose(t, both, other, 1e-5, "order")
	one, _ := adapterNets(t, m, ref, setOf(t, m, 1, "kohya.safetensors"))
	require.Greater(t, relativeRMS(both, one), 0.01)
}

// tinyRequest is a quick one.
func tinyRequest(text string, adapters ...RequestAdapter) Request {
	return Request{Prompt: text, Width: 64, Height: 64, Steps: 2, Seed: 7, Sampler: "euler", Adapters: adapters}
}

func draw(t *testing.T, m *Model, r Request) []byte {
	t.Helper()
	result, err := m.Generate(context.Background(), r)
	require.NoError(t, err)
	return result.Images[0].Image.Pix
}

// Adapters by name in the request and in the prompt are the same; strength 0 and
// removal are the model's own bits, whatever was drawn before.
func TestAdaptersInRequests(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	require.NoError(t, m.Attach(openAdapter(t, "kohya.safetensors"), openAdapter(t, "loha.safetensors")))
	plain := draw(t, m, tinyRequest("a cat"))
	with := draw(t, m, tinyRequest("a cat", RequestAdapter{Name: "kohya", Strength: Float(0.8), TextStrength: Float(0.5)}))
	require.NotEqual(t, plain, with)
	for _, text := range []string{"a cat<lora:kohya:0.5:0.8>", "<lyco:The Tiny Style:unet=0.8:te=0.5>a cat", "a cat<lora:KOHYA:0.5:0.8>", "a cat<lora:the tiny style:0.5:0.8>"} {
		require.Equal(t, with, draw(t, m, tinyRequest(text)), text)
	}
	require.NotEqual(t, with, draw(t, m, tinyRequest("a cat", RequestAdapter{Name: "kohya", Strength: Float(0.8)})), "text encoders have a strength of their own")
	patched := draw(t, m, tinyRequest("a cat<lora:loha>"))
	require.NotEqual(t, plain, patched)
	require.Equal(t, plain, draw(t, m, tinyRequest("a cat<lora:kohya:0><lora:loha:0>")))
	require.Equal(t, plain, draw(t, m, tinyRequest("a cat")))
	require.Equal(t, with, draw(t, m, tinyRequest("a cat<lora:kohya:0.5:0.8>")))
	require.Equal(t, patched, draw(t, m, tinyRequest("a cat<lora:loha>")))

	for _, more := range []func(*Request){
		func(r *Request) { r.DeepCache = 2 }, func(r *Request) { r.Hires = []HiresPass{{Scale: 1.5}} }, func(r *Request) { r.Guider = "pag" },
	} {
		r := tinyRequest("a cat<lora:kohya:1>")
		more(&r)
		one := draw(t, m, r)
		r.Prompt = "a cat"
		require.NotEqual(t, one, draw(t, m, r))
	}
}

// Pictures with different adapters never share a pass, and with the same ones do.
func TestAdaptersInBatches(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Batch: 4})
	require.NoError(t, m.Attach(openAdapter(t, "kohya.safetensors"), openAdapter(t, "half-1.safetensors")))
	texts := []string{"a cat", "a cat<lora:kohya:1>", "a dog<lora:kohya:1>", "a cat<lora:kohya:0.5>", "a cat<lora:half-1:1>", "a dog"}
	var requests []Request
	var want [][]byte
	for _, text := range texts {
		requests = append(requests, tinyRequest(text))
		want = append(want, draw(t, m, tinyRequest(text)))
	}
	before := m.Passes()
	require.NoError(t, m.GenerateAll(context.Background(), requests, func(i int, r *Result, err error) error {
		require.NoError(t, err)
		require.Equal(t, want[i], r.Images[0].Image.Pix, texts[i])
		return nil
	}))
	require.Equal(t, uint64(5*2), m.Passes()-before, "the second and the third share their passes")

	got := make([][]byte, len(texts))
	done := make(chan error)
	for i := range texts {
		go func() {
			r, err := m.Submit(context.Background(), requests[i], 0)
			if err == nil {
				got[i] = r.Images[0].Image.Pix
			}
			done <- err
		}()
	}
	for range texts {
		require.NoError(t, <-done)
	}
	require.Equal(t, want, got)
}

// A thousand changes of the set leave the model as it was, and no memory behind: the sets'
// copies would be 60 MB. AddressSanitizer keeps what was freed for a while, some 17 MB here.
func TestSetsComeAndGo(t *testing.T) {
	ref := readReference(t, adaptersFolder, "reference.safetensors")
	m := openTiny(t, "sd1.safetensors", Options{})
	plain, _ := adapterNets(t, m, ref, nil)
	a := openAdapter(t, "processors.safetensors")
	sets := new(adapter.Sets)
	out := make([]float32, 4*8*8)
	before := 0
	for i := range 1000 {
		if i == 100 {
			before = resident()
		}
		set, err := sets.Get(m.host().Weights, []adapter.Use{{Adapter: a, Denoiser: float64(i) / 500}}, m.host().Warn)
		require.NoError(t, err)
		inputs := []cgo.Input{{Name: "x", Shape: ref.shape("x"), F32: ref.f32("x")}, {Name: "t", Shape: ref.shape("t"), F32: ref.f32("t")},
			{Name: "context", Shape: ref.shape("context"), F32: ref.f32("context")}}
		require.NoError(t, m.unet().Run(context.Background(), inputs, []cgo.Output{{Name: "out", Data: out}}, set.Denoiser()))
		require.Equal(t, i == 0, relativeRMS(out, plain) == 0)
	}
	require.Less(t, resident()-before, 30<<10, "kB more")
	again, _ := adapterNets(t, m, ref, nil)
	require.Equal(t, plain, again)
}

func TestAdapterErrors(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	kohya := openAdapter(t, "kohya.safetensors")
	require.NoError(t, m.Attach(kohya, openAdapter(t, "loha.safetensors")))
	for text, want := range map[string]string{
		"<lora:nobody:1>":       `Prompt: no adapter "nobody" is attached; there are ["kohya" "loha"]`,
		"<lora:kohya:much>":     `Prompt: <lora:kohya:much>: a strength must be a number from -100 to 100, got "much"`,
		"<lora:kohya:NaN>":      "a strength must be a number",
		"<lora:kohya:1:1:4>":    "a part of the rank (dyn) is not supported",
		"<lora:kohya:weight=1>": `"weight" is no parameter; there are te and unet`,
		"<lora::1>":             "it has no name",
		"<hypernet:kohya:1>":    "the extra networks of prompts are <lora:name:strength>",
	} {
		require.ErrorContains(t, m.Check(tinyRequest(text)), want)
	}
	r := tinyRequest("a cat", RequestAdapter{}, RequestAdapter{Name: "kohya", Strength: Float(1000)})
	r.NegativePrompt = "<lora:kohya:1>"
	err := m.Check(r)
	require.ErrorContains(t, err, "Adapters: each must have a Name")
	require.ErrorContains(t, err, `Adapters: "kohya": strengths must be -100 to 100, got 1000`)
	require.ErrorContains(t, err, "NegativePrompt: <lora:kohya:1>: extra networks are for the whole picture")

	require.NoError(t, m.Check(tinyRequest("<lora:kohya:0.3>")))
	require.NoError(t, kohya.Close())
	require.ErrorIs(t, m.Check(tinyRequest("<lora:kohya:0.3>")), ErrClosed)
	require.ErrorIs(t, m.Check(tinyRequest("", RequestAdapter{Name: "kohya"})), ErrClosed)
	require.NoError(t, kohya.Close())
}

// Words with vectors, in all layouts, against the diffusers library.
func TestEmbeddingsAgreeWithDiffusers(t *testing.T) {
	ref := readReference(t, adaptersFolder, "reference.safetensors")
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32"})
	for _, name := range []string{"words-a1111.pt", "words-diffusers.bin", "words-kohya.safetensors", "words-token.safetensors", "word-diffusers.bin", "words-xl.safetensors"} {
		e, err := OpenEmbedding(filepath.Join(adaptersFolder, name))
		require.NoError(t, err)
		require.Len(t, e.Hash(), 12)
		if m.Attach(e) != nil { // words-diffusers.bin and .safetensors have one name
			t.Fatal(name)
		}
	}
	encode := func(text string) []float32 {
		return conditionsOf(t, m, Request{Prompt: text}).Cond.Inputs[0].Data
	}
	requireClose(t, encode("a cat at dusk"), ref.f32("context.plain"), 1e-5, "without")
	for _, name := range []string{"words-a1111", "words-diffusers", "words-kohya", "words-token"} {
		requireClose(t, encode("a "+name+" cat, word-DIFFUSERS at dusk"), ref.f32("context.both"), 1e-5, name)
		requireClose(t, encode("a embedding:"+name+" cat, embedding:word-diffusers at dusk"), ref.f32("context.both"), 1e-5, name)
		require.NotEqual(t, encode("a "+name+" cat"), encode("a ("+name+":1.3) cat"))
	}
	wide := filepath.Join(t.TempDir(), "wide.safetensors")
	header := `{"emb_params":{"dtype":"F32","shape":[2,32],"data_offsets":[0,256]}}`
	require.NoError(t, os.WriteFile(wide, append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+strings.Repeat("\x00", 256)...), 0o600))
	e, err := OpenEmbedding(wide)
	require.NoError(t, err)
	require.NoError(t, m.Attach(e))
	require.ErrorContains(t, m.Check(tinyRequest("a wide cat")), `Prompt: the embedding "wide" has vectors of 32 numbers; the text encoder takes 64`)
	require.NoError(t, m.Check(tinyRequest("a cat")), "what no prompt uses need not fit")
	r := tinyRequest("a cat")
	r.NegativePrompt = "words-kohya"
	changed := draw(t, m, r)
	r.NegativePrompt = ""
	require.NotEqual(t, changed, draw(t, m, r), "negative embeddings count")
	r.Prompt = "a words-kohya cat <lora:x:1>"
	require.ErrorContains(t, m.Check(r), "no adapter is attached")
}

// Low-rank and patched changes on a GPU, where weights may come in groups.
func TestAdaptersOnDevice(t *testing.T) {
	device := testDevice(t)
	ref := readReference(t, adaptersFolder, "reference.safetensors")
	for _, b := range deviceBounds {
		b.options.Backend = device
		m := openTiny(t, "sd1.safetensors", b.options)
		for _, file := range []string{"kohya.safetensors", "locon-tucker.safetensors", "loha.safetensors", "norm.safetensors"} {
			name, _, _ := strings.Cut(file, ".")
			unet, text := adapterNets(t, m, ref, setOf(t, m, 0.6, file))
			requireClose(t, unet, ref.f32(name+"|0.6|unet.out"), 5*b.bound, b.name+" "+file)
			if name == "kohya" {
				requireClose(t, text, ref.f32(name+"|0.6|text.out"), 5*b.bound, b.name+" "+file)
			}
		}
		plain, _ := adapterNets(t, m, ref, nil)
		requireClose(t, plain, ref.f32("unet.out"), 5*b.bound, b.name)
	}
}

// adapterFile writes a file of changes to layers of a model: as pairs of thin matrices,
// or as their products. names are the layers' canonical names by those in the file.
func adapterFile(t *testing.T, m *Model, names map[string]string, whole bool) *Adapter {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	normal := func(n int64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64()) * 0.2
		}
		return x
	}
	var all []safetensors.Tensor
	add := func(name string, x []float32, shape ...int64) {
		var data []byte
		for _, v := range x {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		all = append(all, safetensors.Tensor{Name: name, DType: "F32", Shape: shape, Data: data})
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		w, ok := m.host().Weights.Tensor(names[name] + ".weight")
		require.True(t, ok, names[name])
		out, in := w.Shape[0], w.Elements()/w.Shape[0]
		up, down := normal(2*out), normal(2*in)
		if !whole {
			add(name+".lora_up.weight", up, out, 2)
			add(name+".lora_down.weight", down, 2, in)
			continue
		}
		product := make([]float32, out*in)
		for i := range product {
			o, k := int64(i)/in, int64(i)%in
			product[i] = up[2*o]*down[k] + up[2*o+1]*down[in+k]
		}
		add(name+".diff", product, w.Shape...)
	}
	path := filepath.Join(t.TempDir(), map[bool]string{false: "thin", true: "whole"}[whole]+".safetensors")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(f, nil, all))
	require.NoError(t, f.Close())
	a, err := OpenAdapter(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

// Both text encoders, also those whose file has one matrix for queries, keys and values,
// and UNets with the names of the original code or the diffusers library's.
func TestAdaptersOfXLAndSD2(t *testing.T) {
	const unet = "model.diffusion_model."
	for model, names := range map[string]map[string]string{
		filepath.Join("..", "testdata", "xl", "base.safetensors"): {
			"lora_te1_text_model_encoder_layers_0_self_attn_q_proj":    convert.Text1Prefix + "text_model.encoder.layers.0.self_attn.q_proj",
			"lora_te2_text_model_encoder_layers_0_self_attn_v_proj":    convert.Text2Prefix + "text_model.encoder.layers.0.self_attn.v_proj",
			"lora_te2_text_model_encoder_layers_0_mlp_fc1":             convert.Text2Prefix + "text_model.encoder.layers.0.mlp.fc1",
			"lora_unet_label_emb_0_0":                                  unet + "label_emb.0.0",
			"lora_unet_add_embedding_linear_2":                         unet + "label_emb.0.2",
			"lora_unet_input_blocks_0_0":                               unet + "input_blocks.0.0",
			"lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k": unet + "middle_block.1.transformer_blocks.0.attn2.to_k",
			"lora_unet_mid_block_attentions_0_proj_in":                 unet + "middle_block.1.proj_in",
		},
		filepath.Join(netsFolder, "sd2.safetensors"): {
			"lora_te_text_model_encoder_layers_0_self_attn_k_proj":                 convert.TextPrefix + "text_model.encoder.layers.0.self_attn.k_proj",
			"lora_unet_down_blocks_0_attentions_0_proj_in":                         unet + "input_blocks.1.1.proj_in",
			"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_v": unet + "input_blocks.1.1.transformer_blocks.0.attn2.to_v",
		},
	} {
		m, err := Open(model, Options{Type: "f32"})
		require.NoError(t, err)
		t.Cleanup(func() { m.Close() })
		require.NoError(t, m.Attach(adapterFile(t, m, names, false), adapterFile(t, m, names, true)))
		plain := draw(t, m, tinyRequest("a cat"))
		for _, strengths := range [][2]float64{{1, 1}, {1, 0}, {0, -0.5}} {
			r := func(name string) Request {
				return tinyRequest("a cat", RequestAdapter{Name: name, Strength: Float(strengths[1]), TextStrength: Float(strengths[0])})
			}
			thin, whole := draw(t, m, r("thin")), draw(t, m, r("whole"))
			require.NotEqual(t, plain, thin, "%s %v", model, strengths)
			for i := range thin {
				require.InDelta(t, thin[i], whole[i], 1, "%s %v: pixel %d", model, strengths, i)
			}
		}
	}
}
