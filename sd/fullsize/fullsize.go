// Package fullsize writes checkpoints of full size with random weights, in the
// original layout: what benchmarks and comparisons with other programs run on.
// The same arguments give the same bytes everywhere.
//
// Weights are uniform with a variance of 1/fan-in, norms close to 1, biases
// close to 0, so that activations neither vanish nor explode. The names and
// shapes are those that the networks themselves ask for.
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
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"

	"github.com/x448/float16"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/replace"
)

// part is one network of a checkpoint.
type part struct {
	arch, prefix string
	params       cgo.Params
}

func checkpoint(arch string) ([]part, error) {
	vae := cgo.Params{"channels": {128}, "channel_mult": {1, 2, 4, 4}, "num_res_blocks": {2}, "z_channels": {4},
		"embed_dim": {4}, "image_channels": {3}, "quant_conv": {1}}
	unet := cgo.Params{"in_channels": {4}, "out_channels": {4}, "model_channels": {320}, "channel_mult": {1, 2, 4, 4},
		"num_res_blocks": {2}, "transformer_depth": {1, 1, 1, 0}, "middle_depth": {1}, "adm_channels": {0}}
	text := cgo.Params{"vocabulary": {49408}, "context_length": {77}, "eps": {1e-5}}
	set := func(p cgo.Params, values map[string]float64) {
		for name, v := range values {
			p[name] = []float64{v}
		}
	}
	switch arch {
	case "sd1":
		set(unet, map[string]float64{"context_dim": 768, "heads": 8, "head_dim": 0})
		set(text, map[string]float64{"width": 768, "heads": 12, "layers": 12, "ffn": 3072, "activation": 0})
	case "sd2":
		set(unet, map[string]float64{"context_dim": 1024, "heads": 0, "head_dim": 64})
		set(text, map[string]float64{"width": 1024, "heads": 16, "layers": 23, "ffn": 4096, "activation": 1})
	case "sdxl":
		unet["channel_mult"], unet["transformer_depth"] = []float64{1, 2, 4}, []float64{0, 2, 10}
		set(unet, map[string]float64{"context_dim": 2048, "heads": 0, "head_dim": 64, "middle_depth": 10, "adm_channels": 2816})
		set(text, map[string]float64{"width": 768, "heads": 12, "layers": 12, "ffn": 3072, "activation": 0})
	case "sdxl-refiner":
		unet["transformer_depth"] = []float64{0, 4, 4, 0}
		set(unet, map[string]float64{"model_channels": 384, "context_dim": 1280, "heads": 0, "head_dim": 64, "middle_depth": 4, "adm_channels": 2560})
	case "tiny": // of Stable Diffusion 2's family; its matrices have rows of whole blocks of every type
		unet["channel_mult"], unet["transformer_depth"], unet["num_res_blocks"] = []float64{1, 2}, []float64{1, 1}, []float64{1}
		set(unet, map[string]float64{"model_channels": 256, "context_dim": 256, "heads": 0, "head_dim": 64})
		set(text, map[string]float64{"vocabulary": 512, "width": 256, "heads": 4, "layers": 2, "ffn": 1024, "activation": 1})
		vae["channel_mult"] = []float64{1, 2}
		set(vae, map[string]float64{"channels": 32, "num_res_blocks": 1})
	default:
		return nil, fmt.Errorf("architecture %s: %s wanted", arch, Kinds)
	}
	nets := []part{
		{"vae_decoder", "first_stage_model.", vae},
		{"vae_encoder", "first_stage_model.", vae},
		{"unet", "model.diffusion_model.", unet},
	}
	bigG := maps.Clone(text)
	set(bigG, map[string]float64{"width": 1280, "heads": 20, "layers": 32, "ffn": 5120, "activation": 1})
	switch arch {
	case "sdxl":
		return append(nets, part{"clip_text", "conditioner.embedders.0.transformer.", text}, part{"clip_text", "conditioner.embedders.1.model.", bigG}), nil
	case "sdxl-refiner":
		return append(nets, part{"clip_text", "conditioner.embedders.0.model.", bigG}), nil
	}
	return append(nets, part{"clip_text", "cond_stage_model.transformer.", text}), nil
}

// tensor is one entry of a safetensors header.
type tensor struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// Kinds are the architectures that [Options.Arch] names.
const Kinds = "sd1, sd2, sdxl, sdxl-refiner or tiny"

// Options say which checkpoint.
type Options struct {
	Arch string // one of Kinds; empty means sd1
	Type string // f16 or f32; empty means f16
	Seed uint64 // of the weights
}

// Known says whether there is such an architecture.
func Known(arch string) bool {
	_, err := checkpoint(arch)
	return err == nil
}

// Write writes a checkpoint, as a file that is whole or not there.
func Write(ctx context.Context, path string, o Options) error {
	arch, dtype := cmp.Or(o.Arch, "sd1"), cmp.Or(o.Type, "f16")
	size := map[string]int64{"f16": 2, "f32": 4}[dtype]
	if size == 0 {
		return fmt.Errorf("type %s: f16 or f32 wanted", dtype)
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

// openCLIP gives a text encoder's weights OpenCLIP's names, with one matrix for
// queries, keys and values, and adds the projection of its pooled output.
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

// conv gives matrices the two trailing ones that they have in files where the
// layer is a 1x1 convolution: SD 1's projections and the autoencoder's
// attention.
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

// fill writes a tensor's values: a generator for each name, so that a tensor
// does not depend on those before it.
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
			// Values that a half float holds, so that both files are the same model.
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
