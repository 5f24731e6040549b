package convert

import "fmt"

// Weights are those of CLIP's text encoder, as the transformers library names
// them (CLIPTextModel).
func (c TextConfig) Weights() []Weight {
	if c.Layers == 0 {
		return nil
	}
	w := &wants{prefix: c.Prefix + "text_model."}
	w.add("embeddings.token_embedding.weight", c.Vocabulary, c.Width)
	w.add("embeddings.position_embedding.weight", c.ContextLength, c.Width)
	for i := range c.Layers {
		layer := fmt.Sprintf("encoder.layers.%d.", i)
		for _, p := range []string{"q_proj", "k_proj", "v_proj", "out_proj"} {
			w.linear(layer+"self_attn."+p, c.Width, c.Width)
		}
		w.norm(layer+"layer_norm1", c.Width)
		w.linear(layer+"mlp.fc1", c.FFN, c.Width)
		w.linear(layer+"mlp.fc2", c.Width, c.FFN)
		w.norm(layer+"layer_norm2", c.Width)
	}
	w.norm("final_layer_norm", c.Width)
	return w.all
}

// A text encoder may end in a projection of its pooled output: a matrix P for
// x·P in OpenCLIP's layout, a linear layer of the transformers library (x·Pᵀ).
const (
	openCLIPProjection = "text_model.text_projection"
	projection         = "text_projection.weight"
)
