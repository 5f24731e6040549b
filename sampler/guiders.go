package sampler

import "math"

// maxGuidance bounds guidance scales.
const maxGuidance = 1000

// guiders is the registry of guidance, in the order in which it is listed.
func guiders() []Guider {
	percentile := func(usual float64) Parameter {
		return Parameter{Name: "percentile", Default: usual, Max: 1, Help: "quantile of the absolute values that is taken for their bound"}
	}
	all := []Guider{
		{
			Name:        "cfg",
			Aliases:     []string{"ClassifierFreeGuidance"},
			Description: "classifier-free guidance: uncond + scale·(cond - uncond)",
			Answers:     []Answer{AnswerCond, AnswerUncond},
			CFGPP:       true,
			Parameters: []Parameter{{Name: "channels", Max: 1024, Integer: true,
				Help: "how many of the first channels are guided, the others being the conditional prediction's; 0 for all, 3 in DiT's own code"}},
			New:   newCFG,
			needs: needsOfCFG,
		},
		{
			Name:        "cfg_rescale",
			Aliases:     []string{"guidance_rescale", "RescaleCFG"},
			Description: "cfg with the standard deviation of the conditional prediction, against over-exposure",
			Answers:     []Answer{AnswerCond, AnswerUncond},
			CFGPP:       true,
			Parameters:  []Parameter{{Name: "phi", Default: 0.7, Max: 1, Help: "share of the rescaled prediction"}},
			New:         newCFGRescale,
			needs:       needsAboveOne,
		},
		{
			Name:        "apg",
			Aliases:     []string{"AdaptiveProjectedGuidance"},
			Description: "adaptive projected guidance: high scales without over-saturation",
			Answers:     []Answer{AnswerCond, AnswerUncond},
			CFGPP:       true,
			Parameters: []Parameter{
				{Name: "momentum", Default: -0.5, Min: -1, Max: 1, Help: "of the difference between the predictions, from step to step; normally negative"},
				{Name: "norm_threshold", Default: 15, Max: 1e6, Help: "greatest norm of the difference; 0 for no bound"},
				{Name: "parallel", Max: 1, Help: "share of the difference's part along the conditional prediction that stays (eta of the paper)"},
				{Name: "model_space", Max: 1, Integer: true, Help: "0 projects the clean sample, as the paper and ComfyUI do; 1 what the net predicts, as diffusers does"},
			},
			New:   newAPG,
			needs: needsAboveOne,
		},
		{
			Name:        "cfg_zero_star",
			Aliases:     []string{"cfg_zero", "ClassifierFreeZeroStarGuidance"},
			Description: "CFG-Zero* for flow matching: cfg with the unconditional prediction scaled to fit",
			Answers:     []Answer{AnswerCond, AnswerUncond},
			CFGPP:       true,
			Parameters: []Parameter{{Name: "zero_steps", Max: maxSteps, Integer: true, counts: true,
				Help: "first steps in which the net's prediction is replaced by 0; the paper has 4 % of them, for flows"}},
			New:   newCFGZeroStar,
			needs: needsAboveOne,
		},
		{
			Name:        "dynamic_thresholding",
			Aliases:     []string{"dynamic_threshold"},
			Description: "cfg whose prediction is clipped at a quantile and scaled back to ±1: Imagen's, for pixels",
			Answers:     []Answer{AnswerCond, AnswerUncond},
			CFGPP:       true,
			Parameters: []Parameter{percentile(0.995),
				{Name: "max_value", Default: math.Inf(1), Min: 1, Max: math.Inf(1), Help: "greatest bound (sample_max_value of diffusers, where 1 is usual)"}},
			New:   newDynamicThresholding,
			needs: needsOfCFG,
		},
		{
			Name:        "mimic",
			Aliases:     []string{"dynthres", "CFG Scale Fix"},
			Description: "cfg that mimics the range of a lower scale: the web UI's extension for dynamic thresholding, for latents",
			Answers:     []Answer{AnswerCond, AnswerUncond},
			CFGPP:       true,
			Parameters: []Parameter{
				{Name: "mimic_scale", Default: 7, Max: 100, Help: "guidance scale whose range is kept"},
				percentile(1),
				{Name: "separate_channels", Default: 1, Max: 1, Integer: true, Help: "whether each channel has a range of its own: 0 or 1"},
				{Name: "phi", Default: 1, Max: 1, Help: "share of the limited prediction; the rest is that of cfg"},
			},
			New: newMimic,
		},
		{
			Name:        "pag",
			Aliases:     []string{"PerturbedAttentionGuidance", "SkipLayerGuidance"},
			Description: "cfg, and away from what a perturbed net predicts: perturbed attention, skipped layers, autoguidance",
			Answers:     []Answer{AnswerCond, AnswerUncond, AnswerPerturbed},
			CFGPP:       true,
			Parameters: []Parameter{
				{Name: "pag_scale", Default: 3, Max: 100, Help: "weight of cond - perturbed"},
				{Name: "pag_start", Max: 1, counts: true, Help: "fraction of the steps after which the perturbed net counts"},
				{Name: "pag_stop", Default: 1, Max: 1, counts: true, Help: "fraction of the steps after which it no longer counts"},
			},
			New:   newPAG,
			needs: needsOfPAG,
		},
		{
			Name:        "composable",
			Aliases:     []string{"and", "composable_diffusion"},
			Description: "several prompts with weights (AND): uncond + scale·Σ weight·(cond - uncond)",
			Answers:     []Answer{AnswerUncond, AnswerCond},
			Repeats:     true,
			CFGPP:       true,
			New:         newComposable,
		},
		{
			Name:        "instruct_pix2pix",
			Aliases:     []string{"ip2p", "edit", "DualCFGGuider"},
			Description: "for models that edit pictures: one scale for the text, another for the picture",
			Answers:     []Answer{AnswerUncond, AnswerImage, AnswerCond},
			Parameters:  []Parameter{{Name: "image_scale", Default: 1.5, Max: maxGuidance, Help: "how strictly the picture is kept"}},
			New:         newInstructPix2Pix,
		},
	}
	for i := range all {
		all[i].Scale = Parameter{Name: "scale", Default: 7, Max: maxGuidance, Help: "guidance scale: how strictly the condition is followed"}
		if takesEvery(all[i]) {
			all[i].Parameters = append(all[i].Parameters, everyParameter())
		}
		all[i].Parameters = append(all[i].Parameters, interval()...)
	}
	return all
}

// interval are the parameters of guidance in a limited interval (Kynkäänniemi
// et al. 2024, arXiv:2404.07724), which all kinds have. Outside of it the
// conditional model is alone.
func interval() []Parameter {
	return []Parameter{
		{Name: "start", Max: 1, counts: true, Help: "fraction of the steps after which guidance starts"},
		{Name: "stop", Default: 1, Max: 1, counts: true, Help: "fraction of the steps after which guidance stops"},
		{Name: "sigma_min", Max: math.Inf(1), Help: "noise level above which there is guidance"},
		{Name: "sigma_max", Default: math.Inf(1), Max: math.Inf(1), Help: "noise level up to which there is guidance"},
	}
}
