package convert

import (
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
)

// sensitive are parts of names of matrices that are never quantized: tables
// that are looked up and not multiplied, and the first and last layers that
// every step depends on. They are stable-diffusion.cpp's, so that files of
// both hold the same numbers.
var sensitive = []string{
	"embedding", "time_embed.", "label_emb.", // UNets and text encoders
	"shared.", "relative_attention_bias.", // T5
	VAEPrefix,                                                                     // whose errors are seen at once
	"x_embedder.", "t_embedder.", "y_embedder.", "pos_embed", "context_embedder.", // DiT, SD3
	"img_in.", "txt_in.", "time_in.", "vector_in.", "guidance_in.", "final_layer.", // FLUX
}

// TypeFor says what type a tensor gets in a model that is converted to `want`.
//
// Vectors (norms, biases) keep the precision they have: they are few, and
// every element of a picture passes them. Under a quantized type, tensors
// whose rows do not divide into blocks (3x3 convolutions and SD 1's 1x1
// projections among them, so nearly all of the autoencoder) and sensitive ones
// become f16; bf16 stays as it is.
//
// Norms are the exception to the first rule under q8_0: stable-diffusion.cpp
// quantizes them there, at an error of less than 0.4 %, and its pictures and
// ours are to be the same bits.
func TypeFor(t Tensor, want dtype.Type) dtype.Type {
	own := t.Native()
	divides := len(t.Shape) > 0 && t.Shape[len(t.Shape)-1]%max(1, want.BlockSize()) == 0
	if len(t.Shape) <= 1 {
		if want == dtype.Q8_0 && divides && strings.HasSuffix(t.Name, ".weight") {
			return want
		}
		if own.Quantized() && !want.Quantized() {
			return want
		}
		return own
	}
	if !want.Quantized() || divides && !isSensitive(t.Name) {
		return want
	}
	if own == dtype.F32 {
		return dtype.F16
	}
	return own
}

func isSensitive(name string) bool {
	for _, s := range sensitive {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}
