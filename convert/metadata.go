package convert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/gguf"
)

// keyValues is the metadata of a GGUF file: general.* as GGUF's specification
// has it, sdgo.* for what a reader could not find out from the tensors or
// people may like to see.
func (m *Model) keyValues(tensors []Change) []gguf.KV {
	kvs := []gguf.KV{
		{Key: keyArch, Value: m.architecture()},
		{Key: "general.quantization_version", Value: uint32(2)}, // ggml's GGML_QNT_VERSION
		{Key: "general.file_type", Value: fileType(tensors)},
	}
	add := func(key string, value any) { kvs = append(kvs, gguf.KV{Key: key, Value: value}) }

	for key, general := range map[string]string{"modelspec.title": "general.name", "modelspec.license": "general.license",
		"modelspec.author": "general.author", "modelspec.description": "general.description"} {
		for _, k := range []string{general, key} {
			if v := m.Metadata[k]; v != "" {
				add(general, v)
				break
			}
		}
	}
	if isDiffusion(m.Arch) {
		m.addDiffusion(add)
	}
	for _, f := range m.Facts {
		add("sdgo."+m.Arch+"."+f.Name, uint32(f.Value))
	}
	slices.SortFunc(kvs, func(a, b gguf.KV) int { return strings.Compare(a.Key, b.Key) })
	return kvs
}

// architecture is the family's name for other programs: a UNet alone goes under
// its whole model's, which ComfyUI-GGUF wants.
func (m *Model) architecture() string {
	for _, f := range m.Facts {
		if whole := map[int]string{768: SD1, 1024: SD2, 1280: SDXLRefiner, 2048: SDXL}[f.Value]; m.Arch == UNet && f.Name == "context" && whole != "" {
			return whole
		}
	}
	return m.Arch
}

// addDiffusion adds what is known of a model of Stable Diffusion's families.
func (m *Model) addDiffusion(add func(key string, value any)) {
	if m.Prediction != "" {
		add(keyPrediction, m.Prediction)
	}
	number := func(key string, v int) { add(key, uint32(v)) }
	number(keyNativeSize, m.NativeSize)
	if m.Guidance > 0 {
		add(keyGuidance, float32(m.Guidance))
	}

	number("sdgo.text.width", m.Text.Width)
	number("sdgo.text.layers", m.Text.Layers)
	number(keyTextHeads, m.Text.Heads)
	number(keyTextFinal, m.Text.FinalLayer)
	add(keyTextActivation, m.Text.Activation)
	add(keyTextEps, m.Text.Eps)
	if m.Text2.Layers > 0 {
		number("sdgo.text2.width", m.Text2.Width)
		number("sdgo.text2.layers", m.Text2.Layers)
		number(keyText2Heads, m.Text2.Heads)
	}

	number("sdgo.unet.in_channels", m.UNet.InChannels)
	number("sdgo.unet.model_channels", m.UNet.ModelChannels)
	add("sdgo.unet.channel_mult", list(m.UNet.ChannelMult))
	number("sdgo.unet.num_res_blocks", m.UNet.NumResBlocks)
	add("sdgo.unet.transformer_depth", list(m.UNet.TransformerDepth))
	number("sdgo.unet.context_dim", m.UNet.ContextDim)
	if m.UNet.Heads > 0 {
		number(keyUNetHeads, m.UNet.Heads)
	} else {
		number(keyUNetHeadDim, m.UNet.HeadDim)
	}

	number("sdgo.vae.channels", m.VAE.Channels)
	add("sdgo.vae.channel_mult", list(m.VAE.ChannelMult))
	number("sdgo.vae.latent_channels", m.VAE.EmbedDim)
	add(keyScaleFactor, m.VAE.ScaleFactor)

	if len(m.Merges) > 0 {
		add(keyGGUFMerges, m.Merges)
	}
}

// text writes a value as safetensors' metadata has it.
func text(value any) string {
	if lines, ok := value.([]string); ok {
		return strings.Join(lines, "\n")
	}
	return strings.Trim(fmt.Sprint(value), "[]")
}

func list(values []int) []int32 {
	out := make([]int32, len(values))
	for i, v := range values {
		out[i] = int32(v)
	}
	return out
}

// fileTypes are the numbers that GGUF's specification has for files of mostly
// one type (general.file_type).
var fileTypes = map[dtype.Type]uint32{
	dtype.F32: 0, dtype.F16: 1, dtype.Q4_0: 2, dtype.Q4_1: 3, dtype.Q8_0: 7, dtype.Q5_0: 8, dtype.Q5_1: 9, dtype.Q2_K: 10,
	dtype.Q3_K: 12, dtype.Q4_K: 15, dtype.Q5_K: 17, dtype.Q6_K: 18, dtype.IQ4_NL: 25, dtype.IQ4_XS: 30, dtype.BF16: 32,
}

// fileType is the number of the type that quantized tensors have, or else that
// most matrices have.
func fileType(tensors []Change) uint32 {
	count := map[dtype.Type]int{}
	for _, t := range tensors {
		if len(t.Shape) > 1 {
			count[t.To]++
		}
	}
	best, most := dtype.F32, 0
	for t, n := range count {
		if t.Quantized() {
			n += len(tensors)
		}
		if n > most || n == most && t < best {
			best, most = t, n
		}
	}
	return fileTypes[best]
}
