package write

import (
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
)

// TypeFor is the type that a tensor gets in a model that is converted to `want`.
//
// Vectors (norms, biases) keep the precision they have: they are few, and every
// element of a picture passes them. Under a quantized type, tensors whose rows do
// not divide into blocks (3x3 convolutions and SD 1's 1x1 projections among them,
// so nearly all of the autoencoder) and those that [family.IsPrecise] names become
// f16; bf16 stays as it is.
//
// Under q8_0 norms are the exception to the first rule: stable-diffusion.cpp
// quantizes them, at an error of less than 0.4 %, and its pictures and this
// module's are to be the same bits.
func TypeFor(t model.Tensor, want dtype.Type) dtype.Type {
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
	if !want.Quantized() || divides && !family.IsPrecise(t.Name) {
		return want
	}
	if own == dtype.F32 {
		return dtype.F16
	}
	return own
}

// typeOf is the type that a tensor gets. A quantized one needs rows that divide
// into blocks, which those of a convolution that was flattened no longer do.
func (o Options) typeOf(t model.Tensor) dtype.Type {
	to := o.chosen(t)
	if len(t.Shape) == 0 {
		return to
	}
	if row := t.Shape[len(t.Shape)-1]; to.Quantized() && (row%to.BlockSize() != 0 || row%t.Type.BlockSize() != 0) {
		return dtype.F16
	}
	return to
}

// chosen is the type that the options ask for. A rule with a plain type is
// followed to the letter; under one with a quantized type [TypeFor] says what is
// possible.
func (o Options) chosen(t model.Tensor) dtype.Type {
	for _, r := range o.Rules {
		if r.matches(t.Name) {
			if r.Type.Quantized() {
				return TypeFor(t, r.Type)
			}
			return r.Type
		}
	}
	if o.Keep {
		if t.Scale != nil || !t.Type.InGGML() && !o.Safetensors {
			return t.Native()
		}
		return t.Type
	}
	return TypeFor(t, o.Type)
}
