package convert

import (
	"fmt"
	"strconv"
	"strings"
)

// Fact is a number that tells a model from others of its family.
type Fact struct {
	Name  string // such as "blocks"
	Value int
}

// widths name the models that text encoders of a width condition, and those
// that UNets and others attend to with as many columns.
var widths = map[int]string{768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 1280: "Stable Diffusion XL's refiner", 2048: "Stable Diffusion XL"}

// learner reads facts off the names and shapes of a file of one part.
type learner struct {
	m      *Model
	detail []string // for people: "dev", "16 latent channels"
}

// learn finds out what a model of a family without a configuration of its own
// is, in numbers and in words.
func (m *Model) learn() {
	l := &learner{m: m}
	switch m.Arch {
	case Flux:
		l.flux()
	case SD3:
		l.sd3()
	case DiT:
		l.fact("blocks", l.blocks("blocks."))
		l.fact("width", l.dim("final_layer.linear.weight", 1))
		if n := l.dim("y_embedder.embedding_table.weight", 0); n > 1 {
			l.fact("classes", n-1) // the last row stands for none
		}
	case UNet, ControlNet:
		l.unet()
	case PixelUNet:
		l.fact("classes", max(l.dim("label_emb.weight", 0), l.dim("class_embedding.weight", 0)))
		l.fact("in_channels", max(l.dim("input_blocks.0.0.weight", 1), l.dim("conv_in.weight", 1)))
		l.fact("width", max(l.dim("input_blocks.0.0.weight", 0), l.dim("conv_in.weight", 0)))
	case CLIP:
		width := max(l.dim("token_embedding.weight", 1), l.dim("embeddings.token_embedding.weight", 1))
		l.fact("width", width)
		l.fact("layers", max(l.blocks("encoder.layers."), l.blocks("resblocks.")))
		l.say(map[int]string{768: "CLIP-L", 1024: "OpenCLIP-H", 1280: "CLIP-G"}[width])
	case T5:
		width := max(l.dim("shared.weight", 1), l.dim("token_embd.weight", 1), l.dim("embed_tokens.weight", 1))
		l.fact("width", width)
		l.fact("layers", max(l.blocks("encoder.block."), l.blocks("enc.blk.")))
		l.say(map[int]string{4096: "T5-XXL", 2048: "T5-XL", 1024: "T5-Large"}[width])
	case VAE:
		l.latent(l.dim("decoder.conv_in.weight", 1))
	case TAESD:
		l.taesd()
	case LoRA:
		l.lora()
	case Embedding:
		l.embedding()
	case ESRGAN:
		if c, err := m.ESRGAN(); err == nil {
			l.fact("scale", c.Scale())
			l.fact("blocks", c.Blocks)
			l.fact("features", c.Features)
			l.say(fmt.Sprintf("%dx", c.Scale()))
		}
	}
	if len(l.detail) > 0 {
		m.What += " (" + strings.Join(l.detail, ", ") + ")"
	}
}

// fact notes a number, if there is one.
func (l *learner) fact(name string, value int) {
	if value > 0 {
		l.m.Facts = append(l.m.Facts, Fact{name, value})
	}
}

func (l *learner) say(text string) {
	if text != "" {
		l.detail = append(l.detail, text)
	}
}

// tensor finds one by the end of its name.
func (l *learner) tensor(suffix string) (Tensor, bool) {
	if t, ok := l.m.Tensor(suffix); ok {
		return t, true
	}
	for _, t := range l.m.Tensors {
		if rest, ok := strings.CutSuffix(t.Name, suffix); ok && strings.HasSuffix(rest, ".") {
			return t, true
		}
	}
	return Tensor{}, false
}

// dim is a dimension of a tensor's shape; 0 if there is none.
func (l *learner) dim(suffix string, i int) int {
	t, ok := l.tensor(suffix)
	if !ok {
		return 0
	}
	return dimension(t, i)
}

func dimension(t Tensor, i int) int {
	if i >= len(t.Shape) || t.Shape[i] > 1<<30 {
		return 0
	}
	return int(t.Shape[i])
}

// blocks is one more than the highest number behind a prefix, which may stand
// anywhere in a name.
func (l *learner) blocks(prefix string) (n int) {
	for _, t := range l.m.Tensors {
		at := strings.Index(t.Name, prefix)
		if at < 0 || at > 0 && t.Name[at-1] != '.' {
			continue
		}
		digits, _, _ := strings.Cut(t.Name[at+len(prefix):], ".")
		if i, err := strconv.ParseUint(digits, 10, 16); err == nil {
			n = max(n, int(i)+1)
		}
	}
	return n
}

func (l *learner) flux() {
	l.fact("width", l.dim("img_in.weight", 0))
	l.fact("in_channels", l.dim("img_in.weight", 1))
	l.fact("double_blocks", l.blocks("double_blocks."))
	l.fact("single_blocks", l.blocks("single_blocks."))
	if _, guided := l.tensor("guidance_in.in_layer.weight"); guided {
		l.fact("guidance", 1)
		l.say("dev: guidance is an input")
	} else if _, whole := l.tensor("time_in.in_layer.weight"); whole {
		l.say("schnell: no guidance")
	}
}

func (l *learner) sd3() {
	blocks := l.blocks("joint_blocks.")
	l.fact("width", l.dim("x_embedder.proj.weight", 0))
	l.fact("blocks", blocks)
	_, dual := l.tensor("joint_blocks.0.x_block.attn2.qkv.weight")
	_, norm := l.tensor("joint_blocks.0.x_block.attn.ln_q.weight")
	if norm {
		l.m.What = strings.Replace(l.m.What, "Stable Diffusion 3 ", "Stable Diffusion 3.5 ", 1)
	}
	switch {
	case dual || blocks == 24:
		l.say("medium")
	case blocks == 38:
		l.say("large")
	}
}

// unet is the UNet of latent diffusion or a copy of its half.
func (l *learner) unet() {
	in := l.dim("input_blocks.0.0.weight", 1)
	context := 0
	for _, t := range l.m.Tensors {
		if context == 0 && strings.HasSuffix(t.Name, ".attn2.to_k.weight") {
			context = dimension(t, 1)
		}
	}
	l.fact("in_channels", in)
	l.fact("width", l.dim("input_blocks.0.0.weight", 0))
	l.fact("context", context)
	l.say(widths[context])
	switch in {
	case 9:
		l.say("inpainting")
	case 8:
		l.say("editing pictures")
	}
}

func (l *learner) latent(channels int) {
	l.fact("latent_channels", channels)
	if channels > 0 {
		l.say(fmt.Sprintf("%d latent channels", channels))
	}
}

// taesd is the whole in the diffusers library's layout, or a half of the
// original: the decoder's first layer has no weights, the encoder's first one
// takes a picture.
func (l *learner) taesd() {
	if whole := l.dim("decoder.layers.0.weight", 1); whole > 0 {
		l.latent(whole)
		return
	}
	first, _ := l.m.Tensor("0.weight")
	second, _ := l.m.Tensor("1.weight")
	switch {
	case dimension(first, 1) == 3:
		l.say("encoder")
		l.latent(l.dim("14.weight", 0))
	case dimension(second, 1) > 0:
		l.say("decoder")
		l.latent(dimension(second, 1))
	}
}

// lora reads the rank off the first matrix, and the model that it is for off
// what its attention to text takes.
func (l *learner) lora() {
	rank, context, transformer := 0, 0, ""
	for _, t := range l.m.Tensors {
		down := strings.HasSuffix(t.Name, ".lora_down.weight") || strings.HasSuffix(t.Name, ".lora_A.weight") || strings.HasSuffix(t.Name, "lora.down.weight") ||
			strings.HasSuffix(t.Name, ".lora_linear_layer.down.weight")
		if down && rank == 0 {
			rank = dimension(t, 0)
		}
		if down && strings.Contains(t.Name, "attn2") && strings.Contains(t.Name, "to_k") {
			context = max(context, dimension(t, 1))
		}
		switch {
		case strings.Contains(t.Name, "single_transformer_blocks"), strings.Contains(t.Name, "double_blocks"), strings.Contains(t.Name, "single_blocks"):
			transformer = "FLUX.1"
		case strings.Contains(t.Name, "joint_blocks"):
			transformer = "Stable Diffusion 3"
		}
	}
	l.fact("rank", rank)
	l.fact("context", context)
	if rank > 0 {
		l.say(fmt.Sprintf("rank %d", rank))
	}
	if transformer == "" {
		transformer = widths[context]
	}
	if transformer != "" {
		l.say("for " + transformer)
	}
}

func (l *learner) embedding() {
	vectors, width := 0, 0
	for _, t := range l.m.Tensors {
		w := dimension(t, len(t.Shape)-1)
		n := 1
		if len(t.Shape) > 1 {
			n = dimension(t, 0)
		}
		vectors, width = max(vectors, n), max(width, w)
	}
	l.fact("vectors", vectors)
	l.fact("width", width)
	if vectors > 0 {
		l.say(fmt.Sprintf("vectors: %d", vectors))
	}
	if len(l.m.Tensors) == 1 && width != 1280 && widths[width] != "" {
		l.say("for " + widths[width])
	}
}
