package model

// Prefixes of the networks' canonical names, which are those of the original
// checkpoints.
const (
	TextPrefix    = "cond_stage_model.transformer." // text encoder of SD 1.x and 2.x
	UNetPrefix    = "model.diffusion_model."        // UNet, or a transformer in its place
	ControlPrefix = "control_model."                // ControlNet
	VAEPrefix     = "first_stage_model."            // both halves of the autoencoder

	Text1Prefix = "conditioner.embedders.0.transformer." // first text encoder of SDXL, the only one of its refiner
	Text2Prefix = "conditioner.embedders.1.transformer." // second text encoder of SDXL

	CLIPLPrefix = "text_encoders.clip_l.transformer." // text encoders of SD 3 and FLUX.1
	CLIPGPrefix = "text_encoders.clip_g.transformer."
	T5Prefix    = "text_encoders.t5xxl.transformer."

	// Text stacks of Qwen3 4B (Z-Image, FLUX.2 klein 4B) and 8B (FLUX.2 klein 9B), as ComfyUI's
	// files name them.
	Qwen4BPrefix = "text_encoders.qwen3_4b.transformer."
	Qwen8BPrefix = "text_encoders.qwen3_8b.transformer."

	// Text stack of Qwen2.5-VL 7B (Qwen-Image), and the eyes beside it.
	QwenVLPrefix = "text_encoders.qwen25_7b.transformer."
)

// ScheduleName is the tensor with the training's noise schedule. It is the one
// constant of training that sampling needs, too.
const ScheduleName = "alphas_cumprod"

// Keys of metadata that more than one room reads or writes. What the file says
// about itself wins over what its shapes say.
const (
	KeyArchitecture  = "general.architecture"  // the family
	KeyMerges        = "sdgo.tokenizer.merges" // byte-pair merges, one a line
	KeyT5Tokenizer   = "sdgo.tokenizer.t5"     // T5's vocabulary: tokenizer.json, or spiece.model as base64
	KeyQwenTokenizer = "sdgo.tokenizer.qwen"   // Qwen's vocabulary: tokenizer.json
	KeyGGUFMerges    = "tokenizer.ggml.merges" // the same, as llama.cpp's GGUF files have it
)
