package fullsize

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/x448/float16"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/internal/replace"
)

// qwen4B is Qwen3 4B.
var qwen4B = convert.QwenConfig{Vocabulary: 151936, Width: 2560, Heads: 32, KVHeads: 8, HeadChannels: 128, Layers: 36, FFN: 9728, QKNorm: true}

// t5XXL is T5 1.1 XXL.
var t5XXL = convert.T5Config{Vocabulary: 32128, Width: 4096, Heads: 64, HeadChannels: 64, Layers: 24, FFN: 10240, Buckets: 32, BiasLayers: 1}

// beside are tensors that none of a model's networks has, in float32.
func beside(arch string) map[string][]int64 {
	switch arch {
	case "flux2-klein":
		return map[string][]int64{convert.Flux2Mean: {128}, convert.Flux2Variance: {128}}
	case "sd35-medium":
		return map[string][]int64{"text_encoders.clip_l.transformer.text_projection.weight": {768, 768}, "text_encoders.clip_g.transformer.text_projection.weight": {1280, 1280}}
	}
	return nil
}

// likeness gives tensors whose names tell nothing of their numbers names that do.
var likeness = strings.NewReplacer("pad_token", "_embedding", ".running_var", ".weight")

// transformers are models whose text encoders are language models: too large to be written but quantized.
func transformers() map[string][]part {
	vae := convert.VAEConfig{Channels: 128, ChannelMult: []int{1, 2, 4, 4}, NumResBlocks: 2, ZChannels: 16, EmbedDim: 16, ImageChannels: 3}
	zimage := convert.ZImageConfig{Channels: 16, Patch: 2, Width: 3840, Heads: 30, Layers: 30, Refiners: 2, FFN: 10240, Text: 2560, Time: 256, TimeInner: 1024}
	text := part{"qwen_text", "text_encoders.qwen3_4b.transformer.model.", qwen4B.Params()}
	wide := vae // FLUX.2's, whose packed latents have statistics
	wide.ZChannels, wide.EmbedDim, wide.QuantConv = 32, 32, true
	klein := convert.Flux2Config{Channels: 128, Width: 3072, Heads: 24, Double: 5, Single: 20, FFN: 9216, Text: 7680}
	schnell := convert.FluxConfig{Channels: 16, OutChannels: 16, Width: 3072, Heads: 24, Double: 19, Single: 38, FFN: 12288, Text: 4096, Pooled: 768}
	medium := convert.MMDiTConfig{Channels: 16, OutChannels: 16, Patch: 2, Width: 1536, Heads: 24, Blocks: 24, Side: 384, Text: 4096, Pooled: 2048, Norms: true, Dual: 13}
	decoder, t5 := part{"vae_decoder", convert.VAEPrefix, vae.Params()}, part{"t5_encoder", convert.T5Prefix, t5XXL.Params()}
	clip := func(prefix string, c convert.TextConfig) part {
		return part{"clip_text", "text_encoders." + prefix + ".transformer.", c.Params()}
	}
	return map[string][]part{
		"flux2-klein":  {{"flux2", convert.UNetPrefix, klein.Params()}, text, {"vae_decoder", convert.VAEPrefix, wide.Params()}},
		"flux-schnell": {{"flux", convert.UNetPrefix, schnell.Params()}, t5, clip("clip_l", clipL), decoder},
		"sd35-medium":  {{"mmdit", convert.UNetPrefix, medium.Params()}, t5, clip("clip_l", clipL), clip("clip_g", openBigG), decoder},
		"z-image":      {{"zimage", convert.UNetPrefix, zimage.Params()}, text, decoder},
	}
}

// TransformerKinds are the architectures that [WriteQ4K] writes.
const TransformerKinds = "z-image, flux2-klein, flux-schnell or sd35-medium"

// q4KTensors are the tensors of a model: matrices of type q4_K, all else float32.
func q4KTensors(arch string, parts []part) ([]gguf.Tensor, error) {
	var all []gguf.Tensor
	for _, p := range parts {
		net, err := cgo.NewNet(p.arch, p.params, cgo.Config{Threads: 1, Kernels: cgo.GGML})
		if err != nil {
			return nil, err
		}
		for _, w := range net.Weights() {
			t := gguf.Tensor{Name: p.prefix + w.Name, Type: dtype.F32, Shape: conv(arch, w)}
			if len(t.Shape) == 2 && w.Shape[1]%256 == 0 {
				t.Type = dtype.Q4_K
			}
			all = append(all, t)
		}
		net.Close()
	}
	more := beside(arch)
	for _, name := range slices.Sorted(maps.Keys(more)) {
		all = append(all, gguf.Tensor{Name: name, Type: dtype.F32, Shape: more[name]})
	}
	return all, nil
}

// WriteQ4K writes a whole model as GGUF, matrices of type q4_K and all else float32. The file appears when it is complete.
func WriteQ4K(ctx context.Context, path, arch string) error {
	parts, ok := transformers()[arch]
	if !ok {
		return fmt.Errorf("the architecture must be %s, got %s", TransformerKinds, arch)
	}
	all, err := q4KTensors(arch, parts)
	if err != nil {
		return err
	}
	layout, err := gguf.NewLayout(nil, all)
	if err != nil {
		return err
	}
	file, err := replace.Create(path)
	if err != nil {
		return err
	}
	defer file.Discard()
	if _, err := file.Write(layout.Header); err != nil {
		return err
	}
	index, names := map[string]int{}, make([]string, len(all))
	for i, t := range all {
		index[t.Name], names[i] = i, t.Name
	}
	random := randomBlocks()
	err = onAllProcessors(ctx, names, func(name string) error {
		i := index[name]
		w := bufio.NewWriterSize(io.NewOffsetWriter(file, layout.Offsets[i]), 1<<20)
		if all[i].Type == dtype.F32 {
			err = fill(w, likeness.Replace(name), all[i].Shape, 1, 4)
		} else {
			err = fillQ4K(w, all[i].Shape, random)
		}
		if err != nil {
			return err
		}
		return w.Flush()
	})
	if err != nil {
		return err
	}
	if err := file.Truncate(layout.Size); err != nil {
		return err
	}
	return file.Commit()
}

// Of a block of q4_K: d, dmin, 12 bytes of scales, 128 of nibbles, for 256 numbers.
const blockQ4K = 144

// randomBlocks are blocks with random nibbles and the same scales, 32 and 8, in all.
func randomBlocks() []byte {
	r := rand.New(rand.NewPCG(1, 1))
	b := make([]byte, blockQ4K<<12)
	for at := 0; at < len(b); at += blockQ4K {
		for i := 4; i < 12; i++ {
			b[at+i] = 32
		}
		for i := 12; i < 16; i++ {
			b[at+i] = 0x88
		}
		for i := 16; i < blockQ4K; i += 8 {
			binary.LittleEndian.PutUint64(b[at+i:], r.Uint64())
		}
	}
	return b
}

// fillQ4K writes a matrix that keeps magnitudes: its numbers are d·scale·(nibble - 7.5).
func fillQ4K(w io.Writer, shape []int64, random []byte) error {
	const scales, nibbles = 23.3, 4.61 // roots of their mean squares
	d := 1 / math.Sqrt(float64(shape[1])) / scales / nibbles
	var head [4]byte
	binary.LittleEndian.PutUint16(head[:], float16.Fromfloat32(float32(d)).Bits())
	binary.LittleEndian.PutUint16(head[2:], float16.Fromfloat32(float32(7.5*d)).Bits())
	for left := elements(shape) / 256; left > 0; {
		n := min(left, int64(len(random)/blockQ4K))
		for i := range n {
			block := random[i*blockQ4K:][:blockQ4K]
			if _, err := w.Write(head[:]); err != nil {
				return err
			}
			if _, err := w.Write(block[4:]); err != nil {
				return err
			}
		}
		left -= n
	}
	return nil
}
