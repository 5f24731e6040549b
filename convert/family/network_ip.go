package family

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Kinds of IP-Adapters: what they make of a picture.
const (
	IPBasic    = iota // some tokens of its embedding
	IPPlus            // some tokens of its states, by a resampler
	IPFull            // a token of each state ("full face")
	IPFace            // some tokens of a face's vector, and a LoRA ("FaceID")
	IPFacePlus        // the same, with a resampler of a picture's states ("FaceID Plus")
)

// IPAdapterConfig describes an IP-Adapter.
type IPAdapterConfig struct {
	Kind       int   // IPBasic …
	ClipWidth  int   `json:",omitzero"` // of the embedding or the states of CLIP's image encoder; 0 of IPFace, which needs none
	ContextDim int   // of a token, as of the text's
	Tokens     int   // of a picture; 1 of IPFull, which has one for each state
	Layers     []int // the channels of the UNet's layers that attend to the text: way down, way up, middle

	// Of a face's vector, and between the two layers that read it. Shortcut adds their tokens to
	// what the resampler makes of them ("v2").
	Face, FaceInner int  `json:",omitzero"`
	Shortcut        bool `json:",omitzero"`

	// LoRA is the rank of the products for the layers of all attention; 0 if the file has none.
	LoRA int `json:",omitzero"`

	// Of the resampler: width, layers, width and number of heads, width between two layers.
	Width, Depth, Inner, Heads, FFN int `json:",omitzero"`
}

// Params are the hyperparameters of the network "ip_adapter".
func (c IPAdapterConfig) Params() map[string][]float64 {
	var channels, lengths []int
	for i, n := range c.Layers {
		if i > 0 && n == c.Layers[i-1] {
			lengths[len(lengths)-1]++
			continue
		}
		channels, lengths = append(channels, n), append(lengths, 1)
	}
	params := map[string][]float64{"kind": one(c.Kind), "clip_width": one(c.ClipWidth), "face": one(c.Face), "face_inner": one(c.FaceInner), "context_dim": one(c.ContextDim), "tokens": one(c.Tokens),
		"run_channels": each(channels), "run_lengths": each(lengths)}
	if c.Shortcut {
		params["shortcut"] = one(1)
	}
	if c.resamples() {
		params["width"], params["depth"], params["inner"] = one(c.Width), one(c.Depth), one(c.Inner)
		params["heads"], params["ffn"] = one(c.Heads), one(c.FFN)
	}
	return params
}

func (c IPAdapterConfig) resamples() bool { return c.Kind == IPPlus || c.Kind == IPFacePlus }

// SeesFaces reports whether the adapter takes a face's vector.
func (c IPAdapterConfig) SeesFaces() bool { return c.Kind == IPFace || c.Kind == IPFacePlus }

// SeesPictures reports whether the adapter takes what CLIP's image encoder makes of a picture.
func (c IPAdapterConfig) SeesPictures() bool { return c.Kind != IPFace }

// Takes reports whether the adapter takes what an image encoder gives.
func (c IPAdapterConfig) Takes(v CLIPVisionConfig) bool {
	switch c.Kind {
	case IPFace:
		return false
	case IPBasic:
		return c.ClipWidth == v.Projection
	}
	return c.ClipWidth == v.Width
}

// Weights are those of the authors' ip_adapter.py and resampler.py.
func (c IPAdapterConfig) Weights() []Weight {
	w := &weights{prefix: "image_proj."}
	switch c.Kind {
	case IPBasic:
		w.linear("proj", c.Tokens*c.ContextDim, c.ClipWidth)
		w.norm("norm", c.ContextDim)
	case IPFull:
		w.linear("proj.0", c.ClipWidth, c.ClipWidth)
		w.linear("proj.2", c.ContextDim, c.ClipWidth)
		w.norm("proj.3", c.ContextDim)
	case IPPlus:
		w.add("latents", c.Tokens, c.Width)
		c.resampler(w, "")
	case IPFace, IPFacePlus:
		w.linear("proj.0", c.FaceInner, c.Face)
		w.linear("proj.2", c.Tokens*c.ContextDim, c.FaceInner)
		w.norm("norm", c.ContextDim)
		if c.Kind == IPFacePlus {
			c.resampler(w, perceiver)
		}
	}
	layers := &weights{prefix: "ip_adapter."}
	for k, channels := range c.Layers {
		layers.add(fmt.Sprintf("%d.to_k_ip.weight", 2*k+1), channels, c.ContextDim)
		layers.add(fmt.Sprintf("%d.to_v_ip.weight", 2*k+1), channels, c.ContextDim)
	}
	return append(append(w.all, layers.all...), c.lora()...)
}

// perceiver is what the names of FaceID Plus's resampler begin with.
const perceiver = "perceiver_resampler."

func (c IPAdapterConfig) resampler(w *weights, at string) {
	w.linear(at+"proj_in", c.Width, c.ClipWidth)
	for i := range c.Depth {
		layer := fmt.Sprintf("%slayers.%d.", at, i)
		w.norm(layer+"0.norm1", c.Width)
		w.norm(layer+"0.norm2", c.Width)
		w.add(layer+"0.to_q.weight", c.Inner, c.Width)
		w.add(layer+"0.to_kv.weight", 2*c.Inner, c.Width)
		w.add(layer+"0.to_out.weight", c.Width, c.Inner)
		w.norm(layer+"1.0", c.Width)
		w.add(layer+"1.1.weight", c.FFN, c.Width)
		w.add(layer+"1.3.weight", c.Width, c.FFN)
	}
	w.linear(at+"proj_out", c.ContextDim, c.Width)
	w.norm(at+"norm_out", c.ContextDim)
}

// lora are the products for all attention: of the layers that attend to the picture, 0, 2 …,
// and of those that attend to the text, 1, 3 ….
func (c IPAdapterConfig) lora() []Weight {
	w := &weights{prefix: "ip_adapter."}
	if c.LoRA == 0 {
		return nil
	}
	for k, channels := range c.Layers {
		for own := range 2 {
			for _, part := range []string{"q", "k", "v", "out"} {
				in := channels
				if own == 1 && (part == "k" || part == "v") {
					in = c.ContextDim
				}
				at := fmt.Sprintf("%d.to_%s_lora.", 2*k+own, part)
				w.add(at+"down.weight", c.LoRA, in)
				w.add(at+"up.weight", channels, c.LoRA)
			}
		}
	}
	return w.all
}

// Networks lists the network, for people and programs to read.
func (c *IPAdapterConfig) Networks() []model.Network {
	sees := [...]string{fmt.Sprintf("of an embedding of width %d", c.ClipWidth), fmt.Sprintf("of states of width %d, by a resampler", c.ClipWidth),
		fmt.Sprintf("of each state of width %d", c.ClipWidth), fmt.Sprintf("of a face's vector of width %d", c.Face),
		fmt.Sprintf("of a face's vector of width %d and states of width %d, by a resampler", c.Face, c.ClipWidth)}[c.Kind]
	if c.LoRA > 0 {
		sees += fmt.Sprintf(", a LoRA of rank %d", c.LoRA)
	}
	return []model.Network{{Key: "ip_adapter", Name: "IP-Adapter", Config: c,
		Summary: fmt.Sprintf("%d tokens of width %d %s, %d layers", c.Tokens, c.ContextDim, sees, len(c.Layers))}}
}

// maxIPLayers bounds the layers of an IP-Adapter; SDXL's has 70.
const maxIPLayers = 1000

// readIPAdapter reads the configuration of an IP-Adapter.
func readIPAdapter(r *Reader) *IPAdapterConfig {
	c := &IPAdapterConfig{Tokens: 1}
	for k := 1; k < 2*maxIPLayers && r.Has(fmt.Sprintf("ip_adapter.%d.to_k_ip.weight", k)); k += 2 {
		shape := r.Shape(fmt.Sprintf("ip_adapter.%d.to_k_ip.weight", k), 2)
		c.Layers, c.ContextDim = append(c.Layers, shape[0]), shape[1]
	}
	if len(c.Layers) == 0 {
		r.Fail("tensor %q is missing: %w", "ip_adapter.1.to_k_ip.weight", model.ErrUnrecognized)
	}
	const p = "image_proj."
	switch {
	case r.Has(p + perceiver + "proj_in.weight"), r.Has(p+"proj.2.weight") && !r.Has(p+"proj.3.weight"):
		c.readFace(r, p)
	case r.Has(p + "latents"):
		latents := r.Shape(p+"latents", 3)
		c.Tokens, c.Width = latents[1], latents[2]
		if t, _ := r.Model.Tensor(p + "latents"); len(t.Shape) == 2 {
			c.Tokens, c.Width = latents[0], latents[1]
		}
		c.Kind = IPPlus
		c.readResampler(r, p)
	case r.Has(p + "proj.3.weight"):
		c.Kind, c.ClipWidth = IPFull, r.Shape(p+"proj.0.weight", 2)[1]
	default:
		shape := r.Shape(p+"proj.weight", 2)
		c.ClipWidth = shape[1]
		c.readTokens(r, p+"proj.weight", shape[0])
	}
	if r.err == nil {
		r.complete(nil, c.Weights())
	}
	return c
}

// readTokens finds how many tokens a layer gives.
func (c *IPAdapterConfig) readTokens(r *Reader, name string, rows int) {
	if c.Tokens = rows / max(c.ContextDim, 1); r.err == nil && (c.Tokens*c.ContextDim != rows || rows == 0) {
		r.Fail("tensor %q must have a multiple of %d rows, got %d", name, c.ContextDim, rows)
	}
}

// keyShortcut says that FaceID Plus is its second version, which no tensor tells.
const keyShortcut = "sdgo.ip_adapter.shortcut"

// readFace reads what sees faces.
func (c *IPAdapterConfig) readFace(r *Reader, p string) {
	c.Kind = IPFace
	first, second := r.Shape(p+"proj.0.weight", 2), r.Shape(p+"proj.2.weight", 2)
	c.FaceInner, c.Face = first[0], first[1]
	c.readTokens(r, p+"proj.2.weight", second[0])
	if r.Has(p + perceiver + "proj_in.weight") {
		c.Kind = IPFacePlus
		c.Width = c.ContextDim
		c.readResampler(r, p+perceiver)
		if _, said := r.Model.Metadata[keyShortcut]; !said && strings.Contains(strings.ToLower(filepath.Base(r.Model.Path)), "plusv2") { // as the authors name its files
			if r.Model.Metadata == nil {
				r.Model.Metadata = map[string]string{}
			}
			r.Model.Metadata[keyShortcut] = "1" // for copies with other names
		}
		r.Number(keyShortcut, 0, 1, func(v float64) { c.Shortcut = v != 0 })
	}
	if first := "ip_adapter.0.to_q_lora.down.weight"; r.Has(first) {
		c.LoRA = r.Shape(first, 2)[0]
	}
}

func (c *IPAdapterConfig) readResampler(r *Reader, p string) {
	const headWidth = 64
	c.ClipWidth = r.Shape(p+"proj_in.weight", 2)[1]
	c.Depth = r.Count(p + "layers.%d.0.to_q.weight")
	if c.Depth == 0 || c.Depth > 64 {
		r.Fail("a resampler must have 1 to 64 layers, got %d: %w", c.Depth, model.ErrUnrecognized)
		return
	}
	c.Inner, c.FFN = r.Shape(p+"layers.0.0.to_q.weight", 2)[0], r.Shape(p+"layers.0.1.1.weight", 2)[0]
	if c.Heads = c.Inner / headWidth; r.err == nil && c.Heads*headWidth != c.Inner {
		r.Fail("a resampler's heads must have width %d, got %d in all: %w", headWidth, c.Inner, model.ErrUnrecognized)
	}
}

// Misfit says why a UNet can't attend to what the adapter makes of pictures; "" if it can.
func (c IPAdapterConfig) Misfit(u UNetConfig) string {
	if c.ContextDim != u.ContextDim {
		return fmt.Sprintf("it is %s, whose text has width %d; the model's has %d", orUnknown(textWidths[c.ContextDim]), c.ContextDim, u.ContextDim)
	}
	layers := u.attending()
	if len(layers) != len(c.Layers) {
		return fmt.Sprintf("it is for %d layers that attend to the text, the model has %d", len(c.Layers), len(layers))
	}
	for k, channels := range layers {
		if c.Layers[k] != channels {
			return fmt.Sprintf("its layer %d has %d channels, the model's %d", k, c.Layers[k], channels)
		}
	}
	return ""
}

// attending are the channels of the layers that attend to the text, in the diffusers
// library's order: way down, way up, middle.
func (c UNetConfig) attending() (all []int) {
	add := func(level, depth int) {
		for range depth {
			all = append(all, c.ModelChannels*c.ChannelMult[level])
		}
	}
	for i, depth := range c.inputDepths() {
		add(i/c.NumResBlocks, depth)
	}
	last := len(c.ChannelMult) - 1
	for i, depth := range c.outputDepths() {
		add(last-i/(c.NumResBlocks+1), depth)
	}
	add(last, max(c.MiddleDepth, 0))
	return all
}

// AttendsInLastBlock reports whether the k-th of the layers that attend to the text is in
// the last block of the way up.
func (c UNetConfig) AttendsInLastBlock(k int) bool {
	up := c.outputDepths()
	last := up[len(up)-1]
	end := len(c.attending()) - max(c.MiddleDepth, 0)
	return k >= end-last && k < end
}

// CLIPVisionConfig describes CLIP's image encoder.
type CLIPVisionConfig struct {
	Side, Patch                           int // of the picture and its squares, in pixels
	Width, Heads, Layers, FFN, Projection int
	Activation                            string // "quick_gelu" or "gelu"
}

// Params are the hyperparameters of the network "clip_vision".
func (c CLIPVisionConfig) Params() map[string][]float64 {
	act := 0
	if c.Activation == "gelu" {
		act = 1
	}
	return map[string][]float64{"side": one(c.Side), "patch": one(c.Patch), "width": one(c.Width), "heads": one(c.Heads), "layers": one(c.Layers),
		"ffn": one(c.FFN), "projection": one(c.Projection), "activation": one(act), "eps": {1e-5}}
}

// Weights are those of the transformers library's CLIPVisionModelWithProjection.
func (c CLIPVisionConfig) Weights() []Weight {
	w := &weights{}
	squares := c.Side / c.Patch
	w.add("embeddings.class_embedding", 1, c.Width)
	w.add("embeddings.patch_embedding.weight", c.Width, 3, c.Patch, c.Patch)
	w.add("embeddings.position_embedding.weight", squares*squares+1, c.Width)
	w.norm("pre_layrnorm", c.Width)
	for i := range c.Layers {
		layer := fmt.Sprintf("encoder.layers.%d.", i)
		w.norm(layer+"layer_norm1", c.Width)
		w.norm(layer+"layer_norm2", c.Width)
		for _, name := range []string{"q_proj", "k_proj", "v_proj", "out_proj"} {
			w.linear(layer+"self_attn."+name, c.Width, c.Width)
		}
		w.linear(layer+"mlp.fc1", c.FFN, c.Width)
		w.linear(layer+"mlp.fc2", c.Width, c.FFN)
	}
	w.norm("post_layernorm", c.Width)
	w.add("visual_projection.weight", c.Projection, c.Width)
	return w.all
}

// Keys of what no shape tells of CLIP's image encoder.
const (
	keyVisionHeads      = "sdgo.clip_vision.heads"
	keyVisionActivation = "sdgo.clip_vision.activation"
)

// nameCLIPVision gives the tensors the names without the level that most files have, and
// leaves out the text encoder's, which some files have, too.
func nameCLIPVision(m *model.Model) error {
	for i, t := range m.Tensors {
		if rest, ok := strings.CutPrefix(t.Name, "vision_model."); ok {
			m.Rename(i, rest)
		}
	}
	return nil
}

// readCLIPVision reads the configuration of CLIP's image encoder.
func readCLIPVision(r *Reader) *CLIPVisionConfig {
	patch := r.Shape("embeddings.patch_embedding.weight", 4)
	c := &CLIPVisionConfig{Width: patch[0], Patch: patch[2], Layers: r.Count("encoder.layers.%d.layer_norm1.weight"),
		FFN: r.Shape("encoder.layers.0.mlp.fc1.weight", 2)[0], Projection: r.Shape("visual_projection.weight", 2)[0]}
	positions := r.Shape("embeddings.position_embedding.weight", 2)[0]
	side := 0
	for side*side < positions-1 && side < 1<<12 {
		side++
	}
	if c.Side = side * c.Patch; r.err == nil && (side*side != positions-1 || side == 0) {
		r.Fail("an image encoder's positions must be a square and 1, got %d: %w", positions, model.ErrUnrecognized)
	}
	c.Heads = map[int]int{768: 12}[c.Width] // ViT-B
	if c.Heads == 0 {
		c.Heads = 16 // ViT-L, H and bigG
	}
	if c.Activation = "quick_gelu"; c.Width > 1024 { // OpenCLIP's
		c.Activation = "gelu"
	}
	r.Number(keyVisionHeads, 1, 1<<10, func(v float64) { c.Heads = int(v) })
	switch act := r.Model.Metadata[keyVisionActivation]; act {
	case "":
	case "quick_gelu", "gelu":
		c.Activation = act
	default:
		r.Fail("%s must be quick_gelu or gelu, got %.20q", keyVisionActivation, act)
	}
	if r.err == nil && (c.Layers < 2 || c.Layers > 128) {
		r.Fail("an image encoder must have 2 to 128 layers, got %d: %w", c.Layers, model.ErrUnrecognized)
	}
	if r.err == nil {
		r.complete([]string{"logit_scale", "embeddings.position_ids"}, c.Weights())
	}
	return c
}

// Networks lists the network, for people and programs to read.
func (c *CLIPVisionConfig) Networks() []model.Network {
	return []model.Network{{Key: "clip_vision", Name: "image encoder", Config: c, Summary: fmt.Sprintf("%d layers of width %d, %d heads, %s, squares of %d of %d pixels",
		c.Layers, c.Width, c.Heads, c.Activation, c.Patch, c.Side)}}
}
