package adapter

import (
	"regexp"
	"strconv"
	"strings"
)

// scheme is a way of naming layers: it finds the network and the name of a layer within
// it, whose levels may be joined by "." or "_". A layer that has only its place in a list
// has a number, from 1.
type scheme struct {
	name  string
	layer func(module string) (part Part, name string, number int, ok bool)
}

// schemes are tried in their order. What is in the model decides whether a name means
// anything: see [Targets].
var schemes = []scheme{
	{"cloneofsimo's", cloneofsimo},
	{"FaceID's", faces},
	{"kohya's", prefixes("lora_unet_", UNet, "lora_te_", Text, "lora_te1_", Text, "lora_te2_", Text2, "oft_unet_", UNet, "oft_te_", Text,
		"oft_te1_", Text, "oft_te2_", Text2, "lycoris_unet_", UNet, "lycoris_", UNet)},
	{"the diffusers library's", prefixes("unet.", UNet, "transformer.", UNet, "text_encoder.", Text, "text_encoder_2.", Text2)},
	{"ComfyUI's", prefixes("model.diffusion_model.", UNet, "diffusion_model.", UNet, "text_encoders.clip_l.transformer.", Text,
		"text_encoders.qwen3_4b.transformer.", Text, "text_encoders.qwen3_8b.transformer.", Text,
		"text_encoders.clip_g.transformer.", Text2)},
	{"PEFT's", peft},
}

// prefixes is a scheme that names networks by what their layers' names begin with, in
// pairs of a prefix and a network.
func prefixes(pairs ...any) func(string) (Part, string, int, bool) {
	return func(module string) (Part, string, int, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if rest, ok := strings.CutPrefix(module, pairs[i].(string)); ok {
				return pairs[i+1].(Part), rest, 0, true
			}
		}
		return "", "", 0, false
	}
}

// peft is a network's own names, which PEFT saves without saying which network it is, and
// with a prefix. So did the diffusers library when only the UNet could have a LoRA.
func peft(module string) (Part, string, int, bool) {
	module = strings.TrimPrefix(module, "base_model.model.")
	first, _, found := strings.Cut(module, ".")
	switch first {
	case "text_model", "encoder", "embeddings", "final_layer_norm":
		return Text, module, 0, found
	case "down_blocks", "up_blocks", "mid_block", "input_blocks", "output_blocks", "middle_block", "time_embedding", "time_embed", "add_embedding", "label_emb", "out":
		return UNet, module, 0, found
	case "layers", "noise_refiner", "context_refiner", "cap_embedder", "t_embedder", "all_x_embedder", "all_final_layer", "final_layer",
		"double_blocks", "single_blocks", "transformer_blocks", "single_transformer_blocks":
		return UNet, module, 0, found
	case "conv_in", "conv_out", "conv_norm_out":
		return UNet, module, 0, true
	}
	return "", "", 0, false
}

var numbered = regexp.MustCompile(`^(unet|text_encoder):(\d{1,5})$`)

// cloneofsimo names layers by their place in the order in which its program visits them.
func cloneofsimo(module string) (Part, string, int, bool) {
	m := numbered.FindStringSubmatch(module)
	if m == nil {
		return "", "", 0, false
	}
	n, _ := strconv.Atoi(m[2])
	if m[1] == "unet" {
		return UNet, "", n + 1, true
	}
	return Text, "", n + 1, true
}

// normalized is a layer's name as [Targets] has it: with "_" between all levels, since
// kohya's names have lost the difference.
func normalized(part Part, name string) string {
	name = strings.ReplaceAll(name, ".", "_")
	name = strings.Replace(name, "_processor_", "_", 1) // of attention, in older versions of diffusers
	if strings.HasSuffix(name, "_to_out") {
		name += "_0"
	}
	if part.IsText() {
		name = strings.TrimPrefix(name, "text_model_")
	}
	return name
}
