package convert

import (
	"fmt"
	"regexp"
	"strings"
)

// passedOver are tensors of single files that no network uses: training state,
// constants that follow from others, and heads that only training needs.
var passedOver = []*regexp.Regexp{
	regexp.MustCompile(`^model_ema\.`),
	regexp.MustCompile(`^(betas|alphas_cumprod_prev|sqrt_.*|log_one_minus_.*|posterior_.*|logvar|lvlb_weights|global_step|scale_factor)$`),
	regexp.MustCompile(`^(optimizer_states|lr_schedulers|callbacks|loops|denoiser)\b`),
	regexp.MustCompile(`^first_stage_model\.loss\.`),
	regexp.MustCompile(`^first_stage_model\.model_ema\.`),
	regexp.MustCompile(`^(cond_stage_model|conditioner\.embedders\.[01])\.(model\.)?(logit_scale|attn_mask)$`),
	regexp.MustCompile(`^(cond_stage_model|conditioner\.embedders\.[01])\.transformer\.(text_model\.)?(embeddings\.position_ids|logit_scale)$`),
	regexp.MustCompile(`^cond_stage_model\.(model\.text_projection|transformer\.(text_model\.)?text_projection(\.weight)?)$`),
	regexp.MustCompile(`^(v_pred|ztsnr)$`),
}

// scheduleName is the one constant of training that sampling needs, too.
const scheduleName = "alphas_cumprod"

var (
	networkName = regexp.MustCompile(`^(model\.diffusion_model\.|first_stage_model\.|(cond_stage_model|conditioner\.embedders\.[01])\.transformer\.(text_model\.|text_projection\.weight$))`)
	bareCLIP    = regexp.MustCompile(`^(cond_stage_model|conditioner\.embedders\.[01])\.transformer\.(embeddings|encoder|final_layer_norm)\.`)
	openCLIP    = regexp.MustCompile(`^(cond_stage_model|conditioner\.embedders\.[01])\.model\.(.*)$`)
	resblock    = regexp.MustCompile(`^transformer\.resblocks\.(\d+)\.(.*)$`)
)

// canonicalName renames a tensor of a single file: in the original layout, as
// a GGUF file has it, or OpenCLIP's part of it.
func canonicalName(name string) (string, bool) {
	if name == scheduleName || strings.HasPrefix(name, UNetPrefix) { // most names, and none that is passed over
		return name, true
	}
	for _, r := range passedOver {
		if r.MatchString(name) {
			return "", true
		}
	}
	if m := openCLIP.FindStringSubmatch(name); m != nil {
		return openCLIPName(m[1]+".transformer.text_model.", m[2])
	}
	if bareCLIP.MatchString(name) {
		// Saved by transformers from 4.31 on, which leaves one level out.
		return strings.Replace(name, "transformer.", "transformer.text_model.", 1), true
	}
	return name, networkName.MatchString(name)
}

// canonicalXLName is canonicalName for SDXL, whose text encoders
// stable-diffusion.cpp names otherwise.
func canonicalXLName(name string) (string, bool) {
	if rest, ok := strings.CutPrefix(name, "cond_stage_model."); ok {
		name = "conditioner.embedders.0." + rest
		if rest, ok := strings.CutPrefix(rest, "1."); ok {
			name = "conditioner.embedders.1." + rest
		}
	}
	return canonicalName(name)
}

// OpenCLIP's names of a text encoder, and transformers' for the same.
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
)

// fusedQKV stands for q_proj, k_proj and v_proj until split takes it apart.
const fusedQKV = "{q,k,v}_proj"

func openCLIPName(prefix, name string) (string, bool) {
	if to, ok := openCLIPTop[name]; ok {
		return prefix + to, true
	}
	m := resblock.FindStringSubmatch(name)
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

// split takes a fused projection of query, key and value apart: its three
// parts stand one after the other, so each is a piece of the same bytes.
func split(name string, t Tensor) []Tensor {
	t.Name = name
	if strings.Contains(name, fusedQKV) {
		t = t.flat()
	}
	if !strings.Contains(name, fusedQKV) || len(t.Shape) == 0 || t.Shape[0]%3 != 0 || len(t.Bytes)%3 != 0 {
		return []Tensor{t}
	}
	shape := append([]int64{t.Shape[0] / 3}, t.Shape[1:]...)
	n := len(t.Bytes) / 3
	var parts []Tensor
	for i, p := range []string{"q_proj", "k_proj", "v_proj"} {
		third := Tensor{Name: strings.Replace(name, fusedQKV, p, 1), Type: t.Type, Shape: shape, Bytes: t.Bytes[i*n : (i+1)*n], Scale: t.Scale}
		if rows := len(t.Scale) / 3; len(t.Scale) > 1 {
			third.Scale = t.Scale[i*rows : (i+1)*rows]
		}
		parts = append(parts, third)
	}
	return parts
}
