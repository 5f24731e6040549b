package layout

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// TextNames renames the tensors of the transformers library's CLIPTextModel to
// canonical names with a prefix.
func TextNames(prefix string) func([]model.Stored) Rename {
	rename := func(name string) (string, bool) {
		if !strings.HasPrefix(name, "text_model.") && !strings.HasPrefix(name, "text_projection") {
			name = "text_model." + name // version 5 of the library leaves the level out
		}
		return CanonicalName(prefix + name)
	}
	return func([]model.Stored) Rename { return rename }
}

// BareTextNames puts back the level "text_model", which version 5 of the
// transformers library leaves out, in a file of one text encoder.
func BareTextNames(name string) (string, bool) {
	for _, level := range []string{"encoder.layers.", "embeddings.", "final_layer_norm."} {
		if strings.HasPrefix(name, level) {
			return "text_model." + name, true
		}
	}
	return name, true
}

// OpenCLIP's names in a text encoder, and the transformers library's for the
// same.
var (
	openCLIPTop = map[string]string{
		"token_embedding.weight": "embeddings.token_embedding.weight",
		"positional_embedding":   "embeddings.position_embedding.weight",
		"ln_final.weight":        "final_layer_norm.weight",
		"ln_final.bias":          "final_layer_norm.bias",
		"text_projection":        "text_projection",
	}
	openCLIPLayer = map[string]string{
		"ln_1":          "layer_norm1",
		"ln_2":          "layer_norm2",
		"attn.out_proj": "self_attn.out_proj",
		"attn.in_proj":  "self_attn." + fusedQKV,
		"mlp.c_fc":      "mlp.fc1",
		"mlp.c_proj":    "mlp.fc2",
	}
	openCLIPBlock = regexp.MustCompile(`^transformer\.resblocks\.(\d+)\.(.*)$`)
)

// OpenCLIPName is the transformers library's name of a tensor of OpenCLIP's text
// encoder, with a prefix. Tensors of its image encoder are unknown.
func OpenCLIPName(prefix, name string) (string, bool) {
	if to, ok := openCLIPTop[name]; ok {
		return prefix + to, true
	}
	m := openCLIPBlock.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	for _, kind := range []string{"weight", "bias"} {
		layer, ok := strings.CutSuffix(m[2], kind)
		if !ok {
			continue
		}
		// PyTorch's own attention joins with an underscore.
		if to, ok := openCLIPLayer[strings.TrimRight(layer, "._")]; ok {
			return fmt.Sprintf("%sencoder.layers.%s.%s.%s", prefix, m[1], to, kind), true
		}
	}
	return "", false
}

// fusedQKV stands for q_proj, k_proj and v_proj in the name of OpenCLIP's fused
// projection, until Split takes it apart.
const fusedQKV = "{q,k,v}_proj"

// Split takes a fused projection of query, key and value apart. Its three parts
// lie one after another, so each is a piece of the same bytes. Other tensors
// just get the name.
func Split(name string, t model.Tensor) []model.Tensor {
	t.Name = name
	if strings.Contains(name, fusedQKV) {
		t = t.InOrder()
	}
	if !strings.Contains(name, fusedQKV) || len(t.Shape) == 0 || t.Shape[0]%3 != 0 || len(t.Bytes)%3 != 0 {
		return []model.Tensor{t}
	}
	shape := append([]int64{t.Shape[0] / 3}, t.Shape[1:]...)
	n := len(t.Bytes) / 3
	var parts []model.Tensor
	for i, p := range []string{"q_proj", "k_proj", "v_proj"} {
		third := model.Tensor{Name: strings.Replace(name, fusedQKV, p, 1), Type: t.Type, Shape: shape, Bytes: t.Bytes[i*n : (i+1)*n], Scale: t.Scale}
		if rows := len(t.Scale) / 3; len(t.Scale) > 1 {
			third.Scale = t.Scale[i*rows : (i+1)*rows]
		}
		parts = append(parts, third)
	}
	return parts
}
