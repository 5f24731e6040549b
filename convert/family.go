package convert

import (
	"fmt"
	"slices"
	"strings"
)

// Families of models and of parts. The first ones are read down to their
// configuration; of the others only the kind is known, and their tensors keep
// the file's names.
const (
	SD1         = "sd1"          // Stable Diffusion 1.x: CLIP ViT-L as text encoder, 1x1 convolutions around the transformers
	SD2         = "sd2"          // Stable Diffusion 2.x: OpenCLIP ViT-H, linear layers
	SDXL        = "sdxl"         // Stable Diffusion XL: CLIP ViT-L and OpenCLIP ViT-bigG
	SDXLRefiner = "sdxl_refiner" // its refiner: OpenCLIP ViT-bigG

	SD3        = "sd3"
	Flux       = "flux"
	DiT        = "dit"
	UNet       = "unet" // of latent diffusion, without its other parts
	PixelUNet  = "pixel_unet"
	VAE        = "vae"
	TAESD      = "taesd"
	CLIP       = "clip"
	T5         = "t5"
	ControlNet = "controlnet"
	LoRA       = "lora"
	Embedding  = "embedding"
	ESRGAN     = "esrgan"
)

// kind is a family and how it is recognised: by names that must all be there.
// In a name "*" stands for any text.
type kind struct {
	arch, what string
	names      []string
}

// kinds are tried in order: what is more special comes first.
var kinds = []kind{
	{LoRA, "a LoRA with kohya's names", []string{"lora_*.lora_up.weight"}},
	{LoRA, "a LoRA with PEFT's names", []string{"*.lora_A.*weight"}},
	{LoRA, "a LoRA with the diffusers library's names", []string{"*.lora.up.weight"}},
	{LoRA, "a LoRA with the diffusers library's older names", []string{"*_lora.up.weight"}},
	{LoRA, "a LoRA with the diffusers library's older names", []string{"*.lora_linear_layer.up.weight"}},
	{LoRA, "a LoHa", []string{"*.hada_w1_a"}},
	{LoRA, "a LoKr", []string{"*.lokr_w1*"}},
	{LoRA, "a LoRA", []string{"*.lora_up.weight"}},
	{Embedding, "a textual inversion", []string{"emb_params"}},
	{Embedding, "a textual inversion", []string{"string_to_param.*"}},
	{Embedding, "a textual inversion for Stable Diffusion XL", []string{"clip_g", "clip_l"}},
	{ControlNet, "a ControlNet", []string{"control_model.zero_convs.0.0.weight"}},
	{ControlNet, "a ControlNet", []string{"zero_convs.0.0.weight", "input_hint_block.0.weight"}},
	{ControlNet, "a ControlNet in the diffusers library's layout", []string{"controlnet_cond_embedding.conv_in.weight"}},
	{ControlNet, "a ControlNet", []string{"controlnet_blocks.0.weight"}},
	{Flux, "FLUX.1", []string{"*double_blocks.0.img_attn.qkv.weight"}},
	{Flux, "FLUX.1 in the diffusers library's layout", []string{"*single_transformer_blocks.0.attn.to_q.weight", "*transformer_blocks.0.attn.add_q_proj.weight"}},
	{SD3, "Stable Diffusion 3.5", []string{"*joint_blocks.0.x_block.attn.ln_q.weight"}},
	{SD3, "Stable Diffusion 3", []string{"*joint_blocks.0.context_block.attn.qkv.weight"}},
	{SD3, "Stable Diffusion 3 in the diffusers library's layout", []string{"*transformer_blocks.0.attn.add_q_proj.weight", "*pos_embed.proj.weight"}},
	{SDXL, "Stable Diffusion XL", []string{"conditioner.embedders.0.*", "conditioner.embedders.1.*", UNetPrefix + "*"}},
	{SDXL, "Stable Diffusion XL", []string{"cond_stage_model.1.*", UNetPrefix + "*"}},
	{SDXLRefiner, "Stable Diffusion XL's refiner", []string{"conditioner.embedders.0.*", UNetPrefix + "*"}},
	{SD2, "Stable Diffusion 2.x", []string{"cond_stage_model.model.*", UNetPrefix + "input_blocks.0.0.weight"}},
	{SD1, "Stable Diffusion 1.x", []string{"cond_stage_model.transformer.*", UNetPrefix + "input_blocks.0.0.weight"}},
	{DiT, "a DiT, which draws from classes", []string{"blocks.0.adaLN_modulation.1.weight", "y_embedder.embedding_table.weight"}},
	{DiT, "a DiT in the diffusers library's layout", []string{"transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight"}},
	{T5, "a T5 text encoder", []string{"*encoder.block.0.layer.0.SelfAttention.q.weight"}},
	{T5, "a T5 text encoder with llama.cpp's names", []string{"enc.blk.0.attn_q.weight"}},
	{UNet, "a UNet of latent diffusion", []string{"*input_blocks.*.1.transformer_blocks.0.attn2.to_k.weight"}},
	{UNet, "a UNet of latent diffusion in the diffusers library's layout", []string{"*down_blocks.*.attentions.0.transformer_blocks.0.attn2.to_k.weight"}},
	{PixelUNet, "a UNet that draws from classes", []string{"*label_emb.weight", "*input_blocks.0.0.weight"}},
	{PixelUNet, "a UNet without conditioning", []string{"*input_blocks.0.0.weight", "*time_embed.0.weight"}},
	{PixelUNet, "a UNet that draws from classes in the diffusers library's layout", []string{"down_blocks.0.resnets.0.time_emb_proj.weight", "conv_in.weight", "class_embedding.weight"}},
	{PixelUNet, "a UNet without conditioning in the diffusers library's layout", []string{"down_blocks.0.resnets.0.time_emb_proj.weight", "conv_in.weight"}},
	{CLIP, "a CLIP text encoder", []string{"*text_model.encoder.layers.0.self_attn.q_proj.weight"}},
	{CLIP, "a CLIP text encoder", []string{"encoder.layers.0.self_attn.q_proj.weight", "embeddings.token_embedding.weight"}}, // transformers 5
	{CLIP, "a CLIP text encoder in OpenCLIP's layout", []string{"*transformer.resblocks.0.attn.in_proj_weight"}},
	{ESRGAN, "an ESRGAN upscaler", []string{"conv_first.weight", "body.0.rdb1.conv1.weight"}},
	{ESRGAN, "an ESRGAN upscaler with its older names", []string{"model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"}},
	{ESRGAN, "an ESRGAN upscaler with BSRGAN's names", []string{"conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight"}},
	{ESRGAN, "a compact ESRGAN upscaler", []string{"body.0.weight", "body.1.weight", "body.2.weight"}},
	{TAESD, "a TAESD autoencoder", []string{"*decoder.layers.*.conv.0.weight"}},
	{TAESD, "half of a TAESD autoencoder", []string{"3.conv.0.weight", "3.conv.2.weight"}},
	{VAE, "an autoencoder", []string{"*decoder.up.0.block.0.conv1.weight"}},
	{VAE, "an autoencoder in the diffusers library's layout", []string{"*decoder.up_blocks.0.resnets.0.conv1.weight"}},
}

// recognise finds what a file is by the names of its tensors.
func recognise(all []raw) (kind, error) {
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.Name
	}
	slices.Sort(names)
	for _, k := range kinds {
		if !slices.ContainsFunc(k.names, func(pattern string) bool { return !matchesOne(pattern, names) }) {
			return k, nil
		}
	}
	if isEmbedding(all) {
		return kind{Embedding, "a textual inversion in the diffusers library's layout", nil}, nil
	}
	if len(names) == 0 {
		return kind{}, fmt.Errorf("a file without tensors: %w", ErrUnrecognized)
	}
	return kind{}, fmt.Errorf("none of its %d tensors is that of a known kind of model (%.80q, …): %w", len(names), names[0], ErrUnrecognized)
}

// isEmbedding tells a textual inversion of the diffusers library: nothing but
// vectors of a text encoder's width, under the word that they stand for.
func isEmbedding(all []raw) bool {
	if len(all) != 1 || len(all[0].Shape) == 0 || len(all[0].Shape) > 2 || !all[0].Type.Float() {
		return false
	}
	width := all[0].Shape[len(all[0].Shape)-1]
	return width == 768 || width == 1024 || width == 1280
}

// matchesOne reports whether a pattern is one of the sorted names.
func matchesOne(pattern string, names []string) bool {
	if !strings.Contains(pattern, "*") {
		_, found := slices.BinarySearch(names, pattern)
		return found
	}
	pieces := strings.Split(pattern, "*")
	return slices.ContainsFunc(names, func(name string) bool { return matches(pieces, name) })
}

// matches reports whether a name consists of pieces with any text between them.
func matches(pieces []string, name string) bool {
	rest, ok := strings.CutPrefix(name, pieces[0])
	last := len(pieces) - 1
	for _, p := range pieces[1:last] {
		var found bool
		_, rest, found = strings.Cut(rest, p)
		ok = ok && found
	}
	return ok && strings.HasSuffix(rest, pieces[last])
}

// isDiffusion reports whether a family is read down to its configuration.
func isDiffusion(arch string) bool {
	switch arch {
	case SD1, SD2, SDXL, SDXLRefiner:
		return true
	}
	return false
}
