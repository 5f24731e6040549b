package sampler

// flowTokens is the size of picture that schedules of flow matching are for
// when they are asked for by name: 1024x1024.
const flowTokens = 4096

// schedules is the registry of schedules, in the order in which they are
// listed.
func schedules() []Schedule {
	vp, flow := []ProcessKind{KindVP}, []ProcessKind{KindFlow}
	return []Schedule{
		{Name: "discrete", Aliases: []string{"normal", "uniform", "default", "automatic", "linspace"}, Sigmas: Normal,
			Description: "even timesteps, from the last to the first"},
		{Name: "karras", Sigmas: Karras,
			Description: "even in sigma^(1/7): more steps at low noise"},
		{Name: "exponential", Sigmas: Exponential,
			Description: "even in log sigma"},
		{Name: "polyexponential", Sigmas: Exponential,
			Description: "a polynomial in log sigma, here of degree 1"},
		{Name: "sgm_uniform", Sigmas: SGMUniform,
			Description: "even timesteps without the first: a longer last step"},
		{Name: "simple", Sigmas: Simple,
			Description: "every k-th trained noise level, from the highest down"},
		{Name: "trailing", Sigmas: Trailing,
			Description: "the timesteps at the ends of equal parts"},
		{Name: "ddim_uniform", Aliases: []string{"ddim", "leading"}, Sigmas: DDIMUniform,
			Description: "timesteps 1, 1+k, 1+2k, …: the schedule of the first latent diffusion models"},
		{Name: "leading_zero", Sigmas: LeadingZero,
			Description: "timesteps 0, k, 2k, …: diffusers' leading spacing with a steps_offset of 0"},
		{Name: "beta", Sigmas: Beta,
			Description: "quantiles of a beta distribution: more steps at both ends"},
		{Name: "smoothstep", Sigmas: SmoothStep,
			Description: "timesteps along a smooth step: more steps at both ends"},
		{Name: "kl_optimal", Sigmas: KLOptimal,
			Description: "even in arctan(sigma)"},
		{Name: "ays", Aliases: []string{"ays_sd1"}, For: vp, Sigmas: AlignYourSteps,
			Description: "Align Your Steps, searched for Stable Diffusion 1.x; best for about 10 steps"},
		{Name: "ays_sdxl", For: vp, Sigmas: AlignYourStepsXL,
			Description: "Align Your Steps for SDXL"},
		{Name: "ays_svd", For: []ProcessKind{KindEDM, KindVE}, Sigmas: AlignYourStepsVideo,
			Description: "Align Your Steps for Stable Video Diffusion"},
		{Name: "align_your_steps", For: vp, Sigmas: AlignYourStepsClosed,
			Description: "ays as in AUTOMATIC1111: the last step begins at the lowest noise level"},
		{Name: "align_your_steps_sdxl", For: vp, Sigmas: AlignYourStepsXLClosed,
			Description: "align_your_steps for SDXL"},
		{Name: "gits", Aliases: []string{"align_your_steps_GITS"}, For: vp, Sigmas: GITS,
			Description: "searched for Stable Diffusion 1.x, for up to 20 steps"},
		{Name: "linear", For: flow, Sigmas: Linear,
			Description: "even timesteps down to 0, for flow matching"},
		{Name: "flux", For: flow, Sigmas: Flux(flowTokens),
			Description: "linear with FLUX.1's shift, here for 1024x1024 pixels, for flow matching"},
		{Name: "flux2", For: flow, Sigmas: Flux2(flowTokens),
			Description: "linear with FLUX.2's shift, which depends on the steps, for flow matching"},
		{Name: "ltx2", For: flow, Sigmas: LTX2(flowTokens),
			Description: "linear with LTX-2's shift and a long last step, for flow matching"},
		{Name: "logit_normal", For: flow, Sigmas: LogitNormal(flowTokens),
			Description: "quantiles of a logit-normal distribution, Ideogram 4's, for flow matching"},
		{Name: "llada_image", For: flow, Sigmas: LLaDAImage,
			Description: "a curve that is steeper at both ends, LLaDA-Image's, for flow matching"},
		{Name: "linear_quadratic", Sigmas: LinearQuadratic,
			Description: "slow and even at first, then along a parabola; made for flow matching"},
		{Name: "bong_tangent", Sigmas: BongTangent,
			Description: "along two arctangents"},
		{Name: "lcm", For: vp, Sigmas: LCMTimesteps,
			Description: "the timesteps that latent consistency models were distilled at"},
		{Name: "vp", For: vp, Sigmas: VPSchedule,
			Description: "even times of the variance-preserving SDE"},
	}
}
