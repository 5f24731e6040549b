package family

import (
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Keys of metadata that win over what the shapes tell: in GGUF files, and in the
// metadata of safetensors files. The configuration files of a diffusers folder
// are brought into the same form.
const (
	keyPrediction     = "sdgo.prediction"
	keyModelSpec      = "modelspec.prediction_type"
	keyPredictKey     = "modelspec.predict_key" // as ComfyUI writes it
	keyNativeSize     = "sdgo.native_size"
	keyGuidance       = "sdgo.guidance"
	keySchedule       = "sdgo.schedule" // name of the default one
	keyZeroSNR        = "sdgo.zero_terminal_snr"
	keyEDMMin         = "sdgo.edm.sigma_min"
	keyEDMMax         = "sdgo.edm.sigma_max"
	keyEDMData        = "sdgo.edm.sigma_data"
	keySampleSize     = "sdgo.unet.sample_size" // latent pixels
	keyTextHeads      = "sdgo.text.heads"
	keyText2Heads     = "sdgo.text2.heads"
	keyTextActivation = "sdgo.text.activation"
	keyTextEps        = "sdgo.text.eps"
	keyEmptyText      = "sdgo.text.empty" // "encoded", not zeros
	keyTextFinal      = "sdgo.text.final_layer"
	keyUNetHeads      = "sdgo.unet.heads"
	keyGlobalPool     = "sdgo.controlnet.global_pool"
	keyUNetHeadDim    = "sdgo.unet.head_dim"
	keyUNetHeadList   = "sdgo.unet.heads_by_level"
	keyUNetGroups     = "sdgo.unet.norm_groups"
	keyUNetEps        = "sdgo.unet.norm_eps"
	keyScaleFactor    = "sdgo.vae.scale_factor"
	keyShiftFactor    = "sdgo.vae.shift_factor"
	keyLatentsMean    = "sdgo.vae.latents_mean"
	keyLatentsStd     = "sdgo.vae.latents_std"
	keyVAEGroups      = "sdgo.vae.norm_groups"
	keyVAEEps         = "sdgo.vae.norm_eps"

	// Betas become the tensor alphas_cumprod, which files have: a schedule with its
	// first and last beta and the number of timesteps, or a beta for each.
	keyBetas        = "sdgo.betas"
	keyTrainedBetas = "sdgo.trained_betas"
)

// Stable Diffusion's own noise schedule.
const (
	standardBetas              = "scaled_linear"
	standardStart, standardEnd = 0.00085, 0.012
)

// IsMark reports whether a tensor is a mark and no weight.
func IsMark(name string) bool { return lookMark(inTensors, name) != nil && name != model.ScheduleName }

// IsProcess reports whether a key of metadata says how a denoiser was trained.
func IsProcess(key string) bool {
	return lookMark(inMetadata, key) != nil || key == keyBetas || key == keyTrainedBetas || key == keyLowBetas || key == keyLowTrained || key == keyMaxNoise
}

// SaysProcess reports whether metadata says so.
func SaysProcess(said map[string]string) bool {
	for key := range said {
		if IsProcess(key) {
			return true
		}
	}
	return false
}

// SaidBy are the keys of metadata of which a file of one component knows more than
// the model that it is put into.
func SaidBy(r Role) func(key string) bool {
	own := OwnKeys(r)
	return func(key string) bool {
		return own != "" && strings.HasPrefix(key, own) || r == LLMText && (key == keyRope || key == model.KeyQwenTokenizer || key == keyLeastPixels || key == keyMostPixels) || r == LLMVision && ofTower(key) || r == T5Text && key == model.KeyT5Tokenizer || r == Denoiser && (isFlowKey(key) || key == keyKontext || key == keyQwenEdit || key == keyFlux2Base || key == keyQwenStill || IsProcess(key) || key == keyNativeSize || key == keyGuidance)
	}
}

// OwnKeys begin the keys of metadata about the network of a role; "" without any.
func OwnKeys(r Role) string {
	return map[Role]string{Denoiser: "sdgo.unet.", Autoencoder: "sdgo.vae."}[r]
}

// Keeps reports whether a key of a model's metadata goes into what is written as it is:
// a foreign one, and of a part of a model, which has no configuration that would be
// written anew, what is said of that.
func Keeps(m *model.Model, key string) bool {
	f := Lookup(m.Family)
	part := f != nil && f.Metadata == nil && strings.HasPrefix(key, "sdgo.")
	return IsForeign(key) || part && !strings.HasPrefix(key, "sdgo.source.")
}

// IsForeign reports whether a key is the file's own word about itself, which stays as
// it is: titles, trigger words, what a trainer noted. Others are of the file's
// format, or say what this library found and writes anew.
func IsForeign(key string) bool {
	switch key {
	case "", "format", "general.architecture", "general.alignment", "general.file_type", "general.quantization_version":
		return false
	}
	for _, prefix := range []string{"sdgo.", "tokenizer.ggml.", "comfy.gguf.orig_shape.", "split."} {
		if strings.HasPrefix(key, prefix) {
			return false
		}
	}
	return len(key) <= maxForeignKey
}

// maxForeignKey bounds keys: GGUF's specification has none longer.
const maxForeignKey = 1<<16 - 1
