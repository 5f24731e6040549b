package adapter

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
)

// wholeNumbers is the type of tensors of whole numbers that could not be read as
// floating-point ones.
const wholeNumbers = dtype.Type(1 << 16)

// whole reads the only element of a tensor of whole numbers.
func whole(t model.Stored) (float64, bool) {
	b := t.Bytes
	switch t.DType {
	case "BOOL", "U8":
		if len(b) == 1 {
			return float64(b[0]), true
		}
	case "I8":
		if len(b) == 1 {
			return float64(int8(b[0])), true
		}
	case "I16":
		if len(b) == 2 {
			return float64(int16(binary.LittleEndian.Uint16(b))), true
		}
	case "I32":
		if len(b) == 4 {
			return float64(int32(binary.LittleEndian.Uint32(b))), true
		}
	case "I64":
		if len(b) == 8 {
			return float64(int64(binary.LittleEndian.Uint64(b))), true
		}
	}
	return 0, false
}

// floatTensor is a tensor of one number.
func floatTensor(name string, shape []int64, v float64) model.Tensor {
	bytes := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v)))
	return model.Tensor{Name: name, Type: dtype.F32, Shape: shape, Bytes: bytes}
}

// scales are what PEFT's configuration says of alpha, which its files hold no tensors of.
type scales struct {
	of func(m Module) float64 // 0: nothing
}

// peftConfig is the part of a configuration that gives scales, for one network.
type peftConfig struct {
	alpha    float64
	rank     float64
	patterns []alphaPattern
	rsLoRA   bool
}

type alphaPattern struct {
	layer *regexp.Regexp
	alpha float64
}

// keyPEFT is where the diffusers library keeps PEFT's configuration, as JSON, with each
// key after the name of a network and a dot.
const keyPEFT = "lora_adapter_metadata"

// peftScales reads PEFT's configuration. Without one there are no scales: alpha is the
// rank then.
func peftScales(metadata map[string]string) (scales, error) {
	none := scales{func(Module) float64 { return 0 }}
	text, ok := metadata[keyPEFT]
	if !ok {
		return none, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return none, fmt.Errorf("metadata %s: %w", keyPEFT, err)
	}
	configs := map[Part]*peftConfig{}
	for part, prefix := range map[Part]string{UNet: "unet.", Text: "text_encoder.", Text2: "text_encoder_2."} {
		c := &peftConfig{}
		var patterns map[string]float64
		for key, to := range map[string]any{"lora_alpha": &c.alpha, "r": &c.rank, "use_rslora": &c.rsLoRA, "alpha_pattern": &patterns} {
			if value, ok := raw[prefix+key]; ok {
				if err := json.Unmarshal(value, to); err != nil {
					return none, fmt.Errorf("metadata %s: %s: %w", keyPEFT, prefix+key, err)
				}
			}
		}
		for pattern, alpha := range patterns {
			re, err := regexp.Compile(`^(?:.*\.)?(?:` + pattern + `)$`)
			if err != nil {
				return none, fmt.Errorf("metadata %s: %salpha_pattern: %w", keyPEFT, prefix, err)
			}
			c.patterns = append(c.patterns, alphaPattern{re, alpha})
		}
		if c.alpha != 0 {
			configs[part] = c
		}
	}
	return scales{func(m Module) float64 {
		c := configs[m.Part]
		if c == nil || m.kind != &lora || m.alpha != 0 || m.Rank() == 0 {
			return 0
		}
		alpha, rank := c.alpha, float64(m.Rank())
		name := strings.TrimPrefix(m.Name, "base_model.model.")
		for _, p := range c.patterns {
			if p.layer.MatchString(name) {
				alpha = p.alpha
			}
		}
		if c.rsLoRA {
			return alpha / math.Sqrt(rank)
		}
		return alpha / rank
	}}, nil
}
