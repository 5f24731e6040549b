package family

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/model"
)

// TextConfig describes a CLIP text encoder.
type TextConfig struct {
	Prefix        string // of its tensors' names
	Vocabulary    int    // tokens that it knows: 49408
	ContextLength int    // tokens of a text: 77
	Width         int    // of a token's embedding: 768, 1024
	Heads         int    // of each attention: 12, 16
	FFN           int    // width of the hidden layer: 3072, 4096
	Layers        int    // that the file has

	// FinalLayer is the layer whose output, after the final norm, conditions the
	// UNet unless clip-skip says otherwise: the last one for SD 1.x, the one
	// before the last of 24 for SD 2.x. Files of SD 2.x without the 24th have 23
	// and use all of them.
	FinalLayer int

	// ClipSkip is what people call FinalLayer: 1 for the last layer of the
	// encoder as it was trained, 2 for the one before.
	ClipSkip int

	// NoFinalNorm says that the output of FinalLayer does not go through the
	// final norm, as in SDXL.
	NoFinalNorm bool

	Activation string  // "quick_gelu", which is x·σ(1.702x), or "gelu"
	Eps        float64 // of the layer norms

	// Projection names the matrix of the pooled output, if the file has one: P
	// [Width, n] for x·P or, where ProjectionLinear, [n, Width] for x·Pᵀ.
	// Pooled is n.
	Projection       string
	ProjectionLinear bool
	Pooled           int
}

// Params are the hyperparameters of the network "clip_text".
func (c TextConfig) Params() map[string][]float64 {
	activation := 0
	if c.Activation == "gelu" {
		activation = 1
	}
	return map[string][]float64{
		"vocabulary": one(c.Vocabulary), "width": one(c.Width), "heads": one(c.Heads), "layers": one(c.Layers), "ffn": one(c.FFN),
		"context_length": one(c.ContextLength), "activation": one(activation), "eps": {c.Eps},
	}
}

// Weights are those of CLIP's text encoder, as the transformers library names
// them (CLIPTextModel).
func (c TextConfig) Weights() []Weight {
	if c.Layers == 0 {
		return nil
	}
	w := &weights{prefix: c.Prefix + "text_model."}
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
	linearProjection   = "text_projection.weight"
)

// projections are the names of the tensors that a text encoder may have beside
// its Weights.
func (c TextConfig) projections() []string {
	return []string{c.Prefix + openCLIPProjection, c.Prefix + linearProjection}
}

// Text reads the configuration of the text encoder whose tensors begin with a
// prefix. What no shape tells is CLIP ViT-L's.
func (r *Reader) Text(prefix string) (c TextConfig) {
	c.Prefix = prefix
	p := prefix + "text_model."
	table := r.Shape(p+"embeddings.token_embedding.weight", 2)
	c.Vocabulary, c.Width = table[0], table[1]
	c.ContextLength = r.Shape(p+"embeddings.position_embedding.weight", 2)[0]
	c.Layers = r.Count(p + "encoder.layers.%d.layer_norm1.weight")
	if r.err == nil && c.Layers == 0 {
		r.Fail("a text encoder without layers: %w", model.ErrUnrecognized)
		return c
	}
	c.FFN = r.Shape(p+"encoder.layers.0.mlp.fc1.weight", 2)[0]
	c.Heads = max(1, c.Width/64) // in every CLIP model
	c.FinalLayer, c.ClipSkip, c.Eps = c.Layers, 1, 1e-5
	c.Activation = "quick_gelu"
	r.projection(&c)
	return c
}

// projection finds the matrix of a text encoder's pooled output.
func (r *Reader) projection(c *TextConfig) {
	in := 0 // the dimension of the encoder's width
	switch {
	case r.Has(c.Prefix + openCLIPProjection):
		c.Projection = c.Prefix + openCLIPProjection
	case r.Has(c.Prefix + linearProjection):
		c.Projection, c.ProjectionLinear, in = c.Prefix+linearProjection, true, 1
	default:
		return
	}
	shape := r.Shape(c.Projection, 2)
	if c.Pooled = shape[1-in]; r.err == nil && shape[in] != c.Width {
		r.Fail("tensor %q must fit a text encoder of width %d, got the shape %v", c.Projection, c.Width, shape[:2])
	}
}

// one is a hyperparameter that is a single number.
func one(v int) []float64 { return []float64{float64(v)} }

// each is a hyperparameter that is a list.
func each(list []int) []float64 {
	out := make([]float64, len(list))
	for i, v := range list {
		out[i] = float64(v)
	}
	return out
}
