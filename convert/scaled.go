package convert

import (
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
)

// scaleSuffixes are the names of scales beside 8-bit weights: "layer.weight"
// has "layer.scale_weight" in ComfyUI's files, "layer.weight_scale" in those of
// torchao and stable-diffusion.cpp.
var scaleSuffixes = []string{".scale_weight", ".weight_scale"}

// scaleNoise are the names of what only computing with 8-bit activations needs.
var scaleNoise = []string{".scale_input", ".input_scale", "scaled_fp8"}

// scaled gives 8-bit weights the scales that stand beside them.
func scaled(all []raw) ([]raw, error) {
	scales := map[string]raw{}
	rest := make([]raw, 0, len(all))
next:
	for _, t := range all {
		for _, suffix := range scaleSuffixes {
			if layer, ok := strings.CutSuffix(t.Name, suffix); ok {
				scales[layer+".weight"] = t
				continue next
			}
		}
		for _, suffix := range scaleNoise {
			if strings.HasSuffix(t.Name, suffix) {
				continue next
			}
		}
		rest = append(rest, t)
	}
	if len(scales) == 0 {
		return all, nil
	}
	for i := range rest {
		t := &rest[i].Tensor
		scale, ok := scales[t.Name]
		if !ok {
			continue
		}
		delete(scales, t.Name)
		n := scale.Elements()
		if len(t.Shape) == 0 || n != 1 && n != t.Shape[0] || !scale.Type.Float() || scale.Type.Quantized() {
			return nil, fmt.Errorf("tensor %q of shape %v is no scale for %q of shape %v: one number or one for each row is wanted",
				scale.Name, scale.Shape, t.Name, t.Shape)
		}
		if t.Type != dtype.I8 && t.Type != dtype.F8_E4M3 && t.Type != dtype.F8_E5M2 {
			return nil, fmt.Errorf("tensor %q has a scale, but is of type %s; i8 or an 8-bit float is wanted", t.Name, rest[i].kind)
		}
		t.Scale = make([]float32, n)
		if err := scale.Float32(t.Scale); err != nil {
			return nil, err
		}
		if !scale.Finite() {
			return nil, &NotFiniteError{scale.Name}
		}
	}
	for _, s := range scales {
		return nil, fmt.Errorf("tensor %q is a scale without its weight", s.Name)
	}
	return rest, nil
}
