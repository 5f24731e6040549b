package layout

import (
	"regexp"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// unused are tensors of single files that no network uses: the state of
// training, constants that follow from others, and heads that only training
// needs.
var unused = []*regexp.Regexp{
	regexp.MustCompile(`^model_ema\.`),
	regexp.MustCompile(`^(betas|alphas_cumprod_prev|sqrt_.*|log_one_minus_.*|posterior_.*|logvar|lvlb_weights|global_step|scale_factor)$`),
	regexp.MustCompile(`^low_scale_model\.(betas|alphas_cumprod_prev|sqrt_.*|log_one_minus_.*)$`), // of the x4 upscaler
	regexp.MustCompile(`^(optimizer_states|lr_schedulers|callbacks|loops|denoiser)\b`),
	regexp.MustCompile(`^first_stage_model\.loss\.`),
	regexp.MustCompile(`^first_stage_model\.model_ema\.`),
	regexp.MustCompile(`^(cond_stage_model|conditioner\.embedders\.[01])\.(model\.)?(logit_scale|attn_mask)$`),
	regexp.MustCompile(`^(cond_stage_model|conditioner\.embedders\.[01])\.transformer\.(text_model\.)?(embeddings\.position_ids|logit_scale)$`),
	regexp.MustCompile(`^cond_stage_model\.(model\.text_projection|transformer\.(text_model\.)?text_projection(\.weight)?)$`),
}

var (
	networkName = regexp.MustCompile(`^(model\.diffusion_model\.|first_stage_model\.|(cond_stage_model|conditioner\.embedders\.[01])\.transformer\.(text_model\.|text_projection\.weight$))`)
	bareCLIP    = regexp.MustCompile(`^(cond_stage_model|conditioner\.embedders\.[01])\.transformer\.(embeddings|encoder|final_layer_norm)\.`)
	openCLIP    = regexp.MustCompile(`^(cond_stage_model|conditioner\.embedders\.[01])\.model\.(.*)$`)
)

// Unused reports whether no network uses a tensor of a single file.
func Unused(name string) bool {
	for _, r := range unused {
		if r.MatchString(name) {
			return true
		}
	}
	return false
}

// CanonicalName renames a tensor of a single file of Stable Diffusion: in the
// original layout, which GGUF files have, too, with its text encoder in the
// layout of the transformers library or of OpenCLIP.
func CanonicalName(name string) (string, bool) {
	if name == model.UNetPrefix+"time_embedding.cond_proj.weight" { // LCM_Dreamshaper_v7's single file
		return model.UNetPrefix + "time_embed.cond_proj.weight", true
	}
	if name == model.ScheduleName || name == "low_scale_model."+model.ScheduleName || strings.HasPrefix(name, model.UNetPrefix) { // most names, and none that is unused
		return name, true
	}
	if Unused(name) {
		return "", true
	}
	if m := openCLIP.FindStringSubmatch(name); m != nil {
		return OpenCLIPName(m[1]+".transformer.text_model.", m[2])
	}
	if bareCLIP.MatchString(name) {
		// Saved by version 4.31 of transformers or later, which leaves a level out.
		return strings.Replace(name, "transformer.", "transformer.text_model.", 1), true
	}
	return name, networkName.MatchString(name)
}

// CanonicalXLName is CanonicalName for SDXL, whose text encoders
// stable-diffusion.cpp gives other names.
func CanonicalXLName(name string) (string, bool) {
	if rest, ok := strings.CutPrefix(name, "cond_stage_model."); ok {
		name = "conditioner.embedders.0." + rest
		if rest, ok := strings.CutPrefix(rest, "1."); ok {
			name = "conditioner.embedders.1." + rest
		}
	}
	return CanonicalName(name)
}
