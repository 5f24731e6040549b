// Package fullsize writes checkpoints of full size with random weights, in the
// original layout, for benchmarks and comparisons with other programs. The same
// arguments give the same bytes on every machine.
//
// Weights are uniform with a variance of 1/fan-in, norms close to 1, biases
// close to 0, so that activations neither vanish nor explode. The networks
// themselves give the names and shapes.
package fullsize

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"

	"github.com/x448/float16"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/internal/replace"
)

// part is one network of a checkpoint.
type part struct {
	arch, prefix string
	params       cgo.Params
}

// config is the configuration of a model of Stable Diffusion.
type config struct {
	text, text2 convert.TextConfig // its width is 0 where there is none
	unet        convert.UNetConfig
	vae         convert.VAEConfig
}

// Text encoders: CLIP ViT-L, OpenCLIP ViT-H without its last layer, ViT-bigG.
var (
	clipL    = convert.TextConfig{Vocabulary: 49408, ContextLength: 77, Width: 768, Heads: 12, Layers: 12, FFN: 3072, Activation: "quick_gelu", Eps: 1e-5}
	openH    = convert.TextConfig{Vocabulary: 49408, ContextLength: 77, Width: 1024, Heads: 16, Layers: 23, FFN: 4096, Activation: "gelu", Eps: 1e-5}
	openBigG = convert.TextConfig{Vocabulary: 49408, ContextLength: 77, Width: 1280, Heads: 20, Layers: 32, FFN: 5120, Activation: "gelu", Eps: 1e-5}
)

// configs are those of the architectures that [Options.Arch] names.
func configs() map[string]config {
	vae := convert.VAEConfig{Channels: 128, ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2, ZChannels: 4, EmbedDim: 4, ImageChannels: 3, QuantConv: true}
	unet := convert.UNetConfig{InChannels: 4, OutChannels: 4, ModelChannels: 320, ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2,
		TransformerDepth: []int{1, 1, 1, 0}, MiddleDepth: 1}
	all := map[string]config{}
	add := func(name string, text, text2 convert.TextConfig, edit func(c *config)) {
		c := config{text, text2, unet, vae}
		edit(&c)
		all[name] = c
	}
	none := convert.TextConfig{}
	add("sd1", clipL, none, func(c *config) { c.unet.ContextDim, c.unet.Heads = 768, 8 })
	add("sd2", openH, none, func(c *config) { c.unet.ContextDim, c.unet.HeadDim = 1024, 64 })
	add("sdxl", clipL, openBigG, func(c *config) {
		c.unet.ChannelMult, c.unet.TransformerDepth, c.unet.MiddleDepth = []int{1, 2, 4}, []int{0, 2, 10}, 10
		c.unet.ContextDim, c.unet.HeadDim, c.unet.ADMChannels = 2048, 64, 2816
	})
	add("sdxl-refiner", none, openBigG, func(c *config) {
		c.unet.ModelChannels, c.unet.TransformerDepth, c.unet.MiddleDepth = 384, []int{0, 4, 4, 0}, 4
		c.unet.ContextDim, c.unet.HeadDim, c.unet.ADMChannels = 1280, 64, 2560
	})
	// Of Stable Diffusion 2's family. The rows of its matrices are multiples of
	// every quantized type's block.
	add("tiny", openH, none, func(c *config) {
		c.unet.ChannelMult, c.unet.TransformerDepth, c.unet.NumResBlocks, c.unet.ModelChannels = []int{1, 2}, []int{1, 1}, 1, 256
		c.unet.ContextDim, c.unet.HeadDim = 256, 64
		c.text.Vocabulary, c.text.Width, c.text.Heads, c.text.Layers, c.text.FFN = 512, 256, 4, 2, 1024
		c.vae.ChannelMult, c.vae.Channels, c.vae.NumResBlocks = []int{1, 2}, 32, 1
	})
	return all
}

// pixels are networks that draw without text.
func pixels() map[string]part {
	adm := convert.PixelUNetConfig{InChannels: 3, OutChannels: 6, Channels: []int{192, 384, 576, 768}, FirstChannels: 192, NumResBlocks: 3,
		Attention: []bool{false, true, true, true}, MiddleAttention: true, HeadDim: 64, TimeChannels: 192, EmbedChannels: 768, TimeMLP: 2, Classes: 1000,
		ScaleShift: true, ResampleBlocks: true, SkipScale: 1, NormGroups: 32, NormMinChannels: 1, NormEps: 1e-5, AttentionNormEps: 1e-5}
	dit := convert.DiTConfig{InChannels: 4, OutChannels: 8, Patch: 2, Width: 1152, Blocks: 28, Heads: 16, Positions: 256, Classes: 1001, TimeChannels: 256}
	return map[string]part{"adm-64": {"pixel_unet", "", adm.Params()}, "dit-xl-2": {"dit", "", dit.Params()}}
}

func checkpoint(arch string) ([]part, error) {
	if p, ok := pixels()[arch]; ok {
		return []part{p}, nil
	}
	c, ok := configs()[arch]
	if !ok {
		return nil, fmt.Errorf("the architecture must be %s, got %s", Kinds, arch)
	}
	parts := []part{
		{"vae_decoder", convert.VAEPrefix, c.vae.Params()},
		{"vae_encoder", convert.VAEPrefix, c.vae.Params()},
		{"unet", convert.UNetPrefix, c.unet.Params()},
	}
	switch {
	case c.text2.Width == 0:
		return append(parts, part{"clip_text", convert.TextPrefix, c.text.Params()}), nil
	case c.text.Width == 0:
		return append(parts, part{"clip_text", "conditioner.embedders.0.model.", c.text2.Params()}), nil
	}
	return append(parts, part{"clip_text", convert.Text1Prefix, c.text.Params()}, part{"clip_text", "conditioner.embedders.1.model.", c.text2.Params()}), nil
}

// tensor is one entry of a safetensors header.
type tensor struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// Kinds are the architectures that [Options.Arch] names.
const Kinds = "sd1, sd2, sdxl, sdxl-refiner, tiny, adm-64 or dit-xl-2"

// Options say what [Write] writes.
type Options struct {
	Arch string // one of Kinds; empty means sd1
	Type string // f16 or f32; empty means f16
	Seed uint64 // of the weights
}

// Known reports whether there is such an architecture.
func Known(arch string) bool {
	_, err := checkpoint(arch)
	return err == nil
}

// Write writes a checkpoint. The file appears when it is complete.
func Write(ctx context.Context, path string, o Options) error {
	arch, dtype := cmp.Or(o.Arch, "sd1"), cmp.Or(o.Type, "f16")
	size := map[string]int64{"f16": 2, "f32": 4}[dtype]
	if size == 0 {
		return fmt.Errorf("the type must be f16 or f32, got %s", dtype)
	}
	parts, err := checkpoint(arch)
	if err != nil {
		return err
	}
	header := map[string]tensor{}
	var names []string
	var end int64
	for _, p := range parts {
		weights, err := weightsOf(p)
		if err != nil {
			return err
		}
		for _, w := range weights {
			shape := conv(arch, w)
			begin := end
			end += elements(shape) * size
			names = append(names, p.prefix+w.Name)
			header[p.prefix+w.Name] = tensor{strings.ToUpper(dtype), shape, [2]int64{begin, end}}
		}
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	file, err := replace.Create(path)
	if err != nil {
		return err
	}
	defer file.Discard()
	if _, err := file.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)); err != nil {
		return err
	}
	start := int64(8 + len(text))
	err = onAllProcessors(ctx, names, func(name string) error {
		t := header[name]
		w := bufio.NewWriterSize(io.NewOffsetWriter(file, start+t.Offsets[0]), 1<<20)
		if err := fill(w, name, t.Shape, o.Seed, size); err != nil {
			return err
		}
		return w.Flush()
	})
	if err != nil {
		return err
	}
	return file.Commit()
}

// onAllProcessors calls do for each name, until one fails or ctx is done.
func onAllProcessors(ctx context.Context, names []string, do func(name string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan string)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for name := range next {
				if err := do(name); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		next <- name
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}

func weightsOf(p part) ([]cgo.Weight, error) {
	net, err := cgo.NewNet(p.arch, p.params, cgo.Config{Threads: 1, Kernels: cgo.GGML})
	if err != nil {
		return nil, err
	}
	defer net.Close()
	if strings.HasSuffix(p.prefix, ".model.") {
		return openCLIP(net.Weights(), int64(p.params["width"][0])), nil
	}
	return net.Weights(), nil
}

// openCLIP renames a text encoder's weights as in OpenCLIP, fuses queries, keys and
// values into one matrix, and adds the text projection of the pooled output.
func openCLIP(weights []cgo.Weight, width int64) []cgo.Weight {
	rename := strings.NewReplacer("text_model.encoder.layers.", "transformer.resblocks.",
		"text_model.embeddings.token_embedding", "token_embedding", "text_model.embeddings.position_embedding.weight", "positional_embedding",
		"text_model.final_layer_norm", "ln_final", "self_attn.q_proj.", "attn.in_proj_", "self_attn.out_proj", "attn.out_proj",
		"layer_norm", "ln_", "mlp.fc1", "mlp.c_fc", "mlp.fc2", "mlp.c_proj")
	all := []cgo.Weight{{Name: "text_projection", Shape: []int64{width, width}}}
	for _, w := range weights {
		switch {
		case strings.Contains(w.Name, ".k_proj."), strings.Contains(w.Name, ".v_proj."):
			continue
		case strings.Contains(w.Name, ".q_proj."):
			w.Shape = append([]int64{3 * w.Shape[0]}, w.Shape[1:]...)
		}
		w.Name = rename.Replace(w.Name)
		all = append(all, w)
	}
	return all
}

// conv appends 1, 1 to the shapes of matrices that are 1x1 convolutions in files: SD
// 1's projections and the autoencoder's attention.
func conv(arch string, w cgo.Weight) []int64 {
	projection := strings.HasSuffix(w.Name, "proj_in.weight") || strings.HasSuffix(w.Name, "proj_out.weight")
	isVAE := strings.Contains(w.Name, ".attn_1.")
	if len(w.Shape) == 2 && (isVAE || arch == "sd1" && projection && !strings.Contains(w.Name, "self_attn")) {
		return append(w.Shape, 1, 1)
	}
	return w.Shape
}

func elements(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

// fill writes a tensor's values. Each name has a random generator of its own, so that
// a tensor does not depend on those before it.
func fill(w io.Writer, name string, shape []int64, seed uint64, size int64) error {
	h := fnv.New64a()
	io.WriteString(h, name)
	r := rand.New(rand.NewPCG(seed, h.Sum64()))
	n := elements(shape)
	center, spread := 0.0, 0.1
	switch {
	case len(shape) > 1 && strings.Contains(name, "_embedding"):
		spread = 0.05
	case len(shape) > 1:
		spread = math.Sqrt(3 / float64(n/shape[0]))
	case strings.HasSuffix(name, ".weight"): // of a norm
		center = 1
	}
	buf := make([]byte, 0, 1<<16)
	for i := range n {
		v := float32(center + spread*(2*r.Float64()-1))
		if size == 2 {
			buf = binary.LittleEndian.AppendUint16(buf, float16.Fromfloat32(v).Bits())
		} else {
			// Values that float16 holds exactly, so that f16 and f32 files are the same model.
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(float16.Fromfloat32(v).Float32()))
		}
		if len(buf) >= 1<<16-4 || i == n-1 {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	return nil
}
