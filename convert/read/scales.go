package read

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
)

// scaleNames are the names of the scales of 8-bit weights, and what a weight is
// multiplied by beside them.
var scaleNames = []struct {
	scale, weight string // how the names of the two end
	factor        float32
}{
	{".scale_weight", ".weight", 1},        // ComfyUI's scaled fp8
	{".weight_scale", ".weight", 1},        // ComfyUI's newer files, torchao, stable-diffusion.cpp
	{".SCB", ".weight", 1. / 127},          // bitsandbytes' int8: largest magnitudes of the rows
	{".weight._scale", ".weight._data", 1}, // optimum-quanto
}

// activationScales end the names of what only computing with 8-bit activations
// needs.
var activationScales = []string{".scale_input", ".input_scale", ".output_scale", "scaled_fp8", ".comfy_quant", ".weight_format"}

// scaled gives 8-bit weights the scales that are beside them in the file. A scale without
// its weight is an error, but where all tensors of a network are known: there it is a
// tensor like any other.
func scaled(f *family.Family, all []model.Stored) ([]model.Stored, error) {
	type scale struct {
		model.Stored
		factor float32
	}
	scales := map[string]scale{}
	rest := make([]model.Stored, 0, len(all))
next:
	for _, t := range all {
		for _, s := range scaleNames {
			if layer, ok := strings.CutSuffix(t.Name, s.scale); ok {
				scales[layer+s.weight] = scale{t, s.factor}
				continue next
			}
		}
		if err := checkComfyQuant(t); err != nil {
			return nil, err
		}
		for _, suffix := range activationScales {
			if strings.HasSuffix(t.Name, suffix) {
				continue next
			}
		}
		rest = append(rest, t)
	}
	for i := range rest {
		s, ok := scales[rest[i].Name]
		if !ok {
			continue
		}
		delete(scales, rest[i].Name)
		if err := setScale(&rest[i], s.Stored, s.factor); err != nil {
			return nil, err
		}
		rest[i].Name = strings.TrimSuffix(rest[i].Name, "._data")
	}
	for _, s := range scales {
		if f.Strict {
			rest = append(rest, s.Stored)
			continue
		}
		return nil, fmt.Errorf("tensor %q is a scale without its weight", s.Name)
	}
	return rest, nil
}

// checkComfyQuant refuses weights that ComfyUI computes with in another way than by one scale: those of fewer bits, and those
// whose inputs are rotated. A tensor beside them says so in JSON.
func checkComfyQuant(t model.Stored) error {
	if !strings.HasSuffix(t.Name, ".comfy_quant") {
		return nil
	}
	var said struct {
		Format  string `json:"format"`
		ConvRot any    `json:"convrot"`
	}
	if err := json.Unmarshal(bytes.TrimRight(slices.Concat(t.InOrder().Runs()...), "\x00"), &said); err != nil {
		return fmt.Errorf("tensor %q must be JSON: %w", t.Name, err)
	}
	rotates := said.ConvRot != nil && said.ConvRot != false
	if rotates || !slices.Contains([]string{"float8_e4m3fn", "float8_e5m2", "int8_tensorwise"}, said.Format) {
		return fmt.Errorf("tensor %q: weights of the format %.40q (convrot: %v) are not supported; float8_e4m3fn, float8_e5m2 and int8_tensorwise without convrot are", t.Name, said.Format, rotates)
	}
	return nil
}

// setScale gives a tensor its scale: one number, or one for each row.
func setScale(t *model.Stored, scale model.Stored, factor float32) error {
	n := scale.Elements()
	if len(t.Shape) == 0 || n != 1 && n != t.Shape[0] || !scale.Type.Float() || scale.Type.Quantized() {
		return fmt.Errorf("tensor %q of shape %v is no scale for %q of shape %v: it must have one element or one for each row",
			scale.Name, scale.Shape, t.Name, t.Shape)
	}
	if t.Type != dtype.I8 && t.Type != dtype.F8_E4M3 && t.Type != dtype.F8_E5M2 {
		return fmt.Errorf("tensor %q has a scale and must be of type i8 or an 8-bit float, got %s", t.Name, t.DType)
	}
	t.Scale = make([]float32, n)
	if err := scale.Float32(t.Scale); err != nil {
		return err
	}
	if !scale.Finite() {
		return &model.NotFiniteError{Tensor: scale.Name}
	}
	for i := range t.Scale {
		t.Scale[i] *= factor
	}
	return nil
}
