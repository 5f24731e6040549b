package family

// This file is the table of what files say about a model beside the shapes of its
// weights and what changes the mathematics: tensors that say something by being
// there, keys of metadata, and every field that the diffusers library's schedulers,
// UNet2DConditionModel and AutoencoderKL read from their configuration files
// (testdata/convert/configs.json lists them; a test walks the list). marks_check.go
// applies it.

// A place is where a mark stands.
type place string

const (
	inTensors   place = "tensors"
	inMetadata  place = "metadata"
	inUNet      place = "unet/config.json"
	inVAE       place = "vae/config.json"
	inControl   place = "controlnet/config.json"
	inScheduler place = "scheduler/scheduler_config.json"
	inPipeline  place = "model_index.json"
)

// A verdict says what becomes of a mark.
type verdict int

const (
	// followed marks are read into the model's configuration.
	followed verdict = iota + 1
	// shaped ones say what the shapes of the weights say, too. These count, and a
	// weight that does not fit them is an error of its own.
	shaped
	// harmless ones change no picture, whatever they are.
	harmless
	// only has the values under which nothing is missing here. Any other is an error
	// that names the mark and the value.
	only
)

// A mark is a line of the table.
type mark struct {
	in      place
	name    string
	verdict verdict
	values  []any  // of only: as JSON has them, of lists each element
	why     string // of harmless and only: for those who read the table, and the error
}

// marks is the table.
var marks = []mark{
	// Tensors of single files. ComfyUI (comfy/supported_models.py, SDXL.model_type),
	// AUTOMATIC1111 and Forge, and stable-diffusion.cpp look for these names.
	{in: inTensors, name: "v_pred", verdict: followed},
	{in: inTensors, name: "ztsnr", verdict: followed},
	{in: inTensors, name: "edm_mean", verdict: followed}, // Playground 2.5
	{in: inTensors, name: "edm_std", verdict: followed},
	{in: inTensors, name: "edm_vpred.sigma_max", verdict: followed}, // CosXL
	{in: inTensors, name: "edm_vpred.sigma_min", verdict: followed},
	{in: inTensors, name: "alphas_cumprod", verdict: followed},

	// Metadata of single files.
	{in: inMetadata, name: keyPrediction, verdict: followed},
	{in: inMetadata, name: keyModelSpec, verdict: followed},  // kohya-ss/sd-scripts
	{in: inMetadata, name: keyPredictKey, verdict: followed}, // ComfyUI
	{in: inMetadata, name: keyZeroSNR, verdict: followed},
	{in: inMetadata, name: keySchedule, verdict: followed},
	{in: inMetadata, name: keyEDMMin, verdict: followed},
	{in: inMetadata, name: keyEDMMax, verdict: followed},
	{in: inMetadata, name: keyEDMData, verdict: followed},

	// The pipeline: what SDXL's unconditional prediction is made of.
	{in: inPipeline, name: "force_zeros_for_empty_prompt", verdict: followed},
	{in: inPipeline, name: "max_noise_level", verdict: followed}, // of the x4 upscaler

	// Schedulers: the process of training.
	{in: inScheduler, name: "num_train_timesteps", verdict: followed},
	{in: inScheduler, name: "beta_start", verdict: followed},
	{in: inScheduler, name: "beta_end", verdict: followed},
	{in: inScheduler, name: "beta_schedule", verdict: followed},
	{in: inScheduler, name: "trained_betas", verdict: followed},
	{in: inScheduler, name: "prediction_type", verdict: followed},
	{in: inScheduler, name: "rescale_betas_zero_snr", verdict: followed},
	{in: inScheduler, name: "sigma_min", verdict: followed}, // of EDM; elsewhere it must be null
	{in: inScheduler, name: "sigma_max", verdict: followed},
	{in: inScheduler, name: "sigma_data", verdict: followed},
	{in: inScheduler, name: "timestep_type", verdict: only, values: []any{"discrete"}, why: "the network is given timesteps"},
	{in: inScheduler, name: "variance_type", verdict: only, values: []any{nil, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"},
		why: "networks that predict a variance are not supported"},
	{in: inScheduler, name: "use_flow_sigmas", verdict: only, values: []any{false}, why: "flow matching is not for these families"},
	{in: inScheduler, name: "use_dynamic_shifting", verdict: only, values: []any{false}, why: "flow matching is not for these families"},
	{in: inScheduler, name: "shift_terminal", verdict: only, values: []any{nil}, why: "flow matching is not for these families"},
	{in: inScheduler, name: "flow_shift", verdict: harmless, why: "only use_flow_sigmas reads it"},
	{in: inScheduler, name: "time_shift_type", verdict: harmless, why: "only use_dynamic_shifting reads it"},

	// Schedulers: how noise levels are chosen, which is a default that requests replace.
	{in: inScheduler, name: "timestep_spacing", verdict: followed},
	{in: inScheduler, name: "steps_offset", verdict: followed},
	{in: inScheduler, name: "use_karras_sigmas", verdict: followed},
	{in: inScheduler, name: "use_exponential_sigmas", verdict: followed},
	{in: inScheduler, name: "use_beta_sigmas", verdict: followed},
	{in: inScheduler, name: "sigma_schedule", verdict: followed},
	{in: inScheduler, name: "rho", verdict: only, values: []any{7.0}, why: "the schedule karras has this exponent"},
	{in: inScheduler, name: "use_lu_lambdas", verdict: only, values: []any{false}, why: "there is no such schedule"},
	{in: inScheduler, name: "final_sigmas_type", verdict: only, values: []any{"zero"}, why: "all schedules end at 0"},
	{in: inScheduler, name: "lambda_min_clipped", verdict: only, values: []any{"-Infinity"}, why: "no schedule is clipped"},
	{in: inScheduler, name: "original_inference_steps", verdict: only, values: []any{nil, 50.0}, why: "the schedule lcm has this number"},

	// Schedulers: what the prediction of the clean sample is put through.
	{in: inScheduler, name: "thresholding", verdict: only, values: []any{false}, why: "guidance dynamic_thresholding does it for a request"},
	{in: inScheduler, name: "dynamic_thresholding_ratio", verdict: harmless, why: "only thresholding reads it"},
	{in: inScheduler, name: "sample_max_value", verdict: harmless, why: "only thresholding reads it"},
	{in: inScheduler, name: "clip_sample", verdict: harmless, why: "diffusers' own pipelines of Stable Diffusion turn it off: latents have no range"},
	{in: inScheduler, name: "clip_sample_range", verdict: harmless, why: "only clip_sample reads it"},

	// Schedulers: numbers of solvers. A request chooses its sampler, which has its own.
	{in: inScheduler, name: "algorithm_type", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "solver_type", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "solver_order", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "solver_p", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "predict_x0", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "disable_corrector", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "corrector_order", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "predictor_order", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "tau_func", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "lower_order_final", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "euler_at_final", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "set_alpha_to_one", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "skip_prk_steps", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "interpolation_type", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "noise_sampler_seed", verdict: harmless, why: "of the solver; a request has a seed"},
	{in: inScheduler, name: "timestep_scaling", verdict: harmless, why: "of the solver"},

	// The UNet.
	{in: inUNet, name: "sample_size", verdict: followed},
	{in: inUNet, name: "attention_head_dim", verdict: followed},
	{in: inUNet, name: "num_attention_heads", verdict: followed},
	{in: inUNet, name: "norm_num_groups", verdict: followed},
	{in: inUNet, name: "norm_eps", verdict: followed},
	{in: inUNet, name: "in_channels", verdict: shaped},
	{in: inUNet, name: "out_channels", verdict: shaped},
	{in: inUNet, name: "block_out_channels", verdict: shaped},
	{in: inUNet, name: "layers_per_block", verdict: shaped},
	{in: inUNet, name: "cross_attention_dim", verdict: shaped},
	{in: inUNet, name: "transformer_layers_per_block", verdict: shaped},
	{in: inUNet, name: "reverse_transformer_layers_per_block", verdict: shaped},
	{in: inUNet, name: "use_linear_projection", verdict: shaped},
	{in: inUNet, name: "addition_time_embed_dim", verdict: shaped},
	{in: inUNet, name: "projection_class_embeddings_input_dim", verdict: shaped},
	{in: inUNet, name: "time_cond_proj_dim", verdict: shaped},
	{in: inUNet, name: "time_embedding_dim", verdict: shaped},
	{in: inUNet, name: "down_block_types", verdict: only, values: []any{"DownBlock2D", "CrossAttnDownBlock2D"}, why: "other blocks are not built"},
	{in: inUNet, name: "up_block_types", verdict: only, values: []any{"UpBlock2D", "CrossAttnUpBlock2D"}, why: "other blocks are not built"},
	{in: inUNet, name: "mid_block_type", verdict: only, values: []any{nil, "UNetMidBlock2D", "UNetMidBlock2DCrossAttn"}, why: "other blocks are not built"},
	{in: inUNet, name: "act_fn", verdict: only, values: []any{"silu", "swish"}, why: "the blocks have this activation"},
	{in: inUNet, name: "freq_shift", verdict: only, values: []any{0.0}, why: "timesteps are embedded without one"},
	{in: inUNet, name: "flip_sin_to_cos", verdict: only, values: []any{true}, why: "cosines come first"},
	{in: inUNet, name: "center_input_sample", verdict: only, values: []any{false}, why: "the input is taken as it is"},
	{in: inUNet, name: "only_cross_attention", verdict: followed}, // of the x4 upscaler
	{in: inUNet, name: "mid_block_only_cross_attention", verdict: only, values: []any{nil, false}, why: "blocks attend to themselves first"},
	{in: inUNet, name: "dual_cross_attention", verdict: only, values: []any{false}, why: "there is one text"},
	{in: inUNet, name: "downsample_padding", verdict: only, values: []any{1.0}, why: "the convolutions have this padding"},
	{in: inUNet, name: "mid_block_scale_factor", verdict: only, values: []any{1.0}, why: "residual blocks are not scaled"},
	{in: inUNet, name: "resnet_out_scale_factor", verdict: only, values: []any{1.0}, why: "residual blocks are not scaled"},
	{in: inUNet, name: "resnet_time_scale_shift", verdict: only, values: []any{"default"}, why: "the time's embedding is added"},
	{in: inUNet, name: "resnet_skip_time_act", verdict: only, values: []any{false}, why: "the time's embedding has an activation"},
	{in: inUNet, name: "time_embedding_type", verdict: only, values: []any{"positional"}, why: "timesteps are embedded as sinusoids"},
	{in: inUNet, name: "time_embedding_act_fn", verdict: only, values: []any{nil}, why: "the time's embedding has none"},
	{in: inUNet, name: "timestep_post_act", verdict: only, values: []any{nil}, why: "the time's embedding has none"},
	{in: inUNet, name: "class_embed_type", verdict: only, values: []any{nil}, why: "there are no classes"},
	{in: inUNet, name: "num_class_embeds", verdict: shaped},
	{in: inUNet, name: "class_embeddings_concat", verdict: only, values: []any{nil, false}, why: "there are no classes"},
	{in: inUNet, name: "addition_embed_type", verdict: only, values: []any{nil, "text_time"}, why: "SDXL's conditions are built"},
	{in: inUNet, name: "addition_embed_type_num_heads", verdict: harmless, why: "only other kinds of addition_embed_type read it"},
	{in: inUNet, name: "encoder_hid_dim", verdict: only, values: []any{nil}, why: "the text is taken as it is encoded"},
	{in: inUNet, name: "encoder_hid_dim_type", verdict: only, values: []any{nil}, why: "the text is taken as it is encoded"},
	{in: inUNet, name: "cross_attention_norm", verdict: only, values: []any{nil}, why: "the text is taken as it is encoded"},
	{in: inUNet, name: "attention_type", verdict: only, values: []any{"default"}, why: "other kinds are not built"},
	{in: inUNet, name: "conv_in_kernel", verdict: only, values: []any{3.0}, why: "the convolution has this size"},
	{in: inUNet, name: "conv_out_kernel", verdict: only, values: []any{3.0}, why: "the convolution has this size"},
	{in: inUNet, name: "upcast_attention", verdict: harmless, why: "of the precision that a computation has"},
	{in: inUNet, name: "dropout", verdict: harmless, why: "of training"},

	// The autoencoder.
	{in: inVAE, name: "scaling_factor", verdict: followed},
	{in: inVAE, name: "shift_factor", verdict: followed},
	{in: inVAE, name: "latents_mean", verdict: followed},
	{in: inVAE, name: "latents_std", verdict: followed},
	{in: inVAE, name: "norm_num_groups", verdict: followed},
	{in: inVAE, name: "in_channels", verdict: shaped},
	{in: inVAE, name: "out_channels", verdict: shaped},
	{in: inVAE, name: "block_out_channels", verdict: shaped},
	{in: inVAE, name: "layers_per_block", verdict: shaped},
	{in: inVAE, name: "latent_channels", verdict: shaped},
	{in: inVAE, name: "use_quant_conv", verdict: shaped},
	{in: inVAE, name: "use_post_quant_conv", verdict: shaped},
	{in: inVAE, name: "down_block_types", verdict: only, values: []any{"DownEncoderBlock2D"}, why: "other blocks are not built"},
	{in: inVAE, name: "up_block_types", verdict: only, values: []any{"UpDecoderBlock2D"}, why: "other blocks are not built"},
	{in: inVAE, name: "act_fn", verdict: only, values: []any{"silu", "swish"}, why: "the blocks have this activation"},
	{in: inVAE, name: "mid_block_add_attention", verdict: only, values: []any{true}, why: "the middle has attention"},
	{in: inVAE, name: "force_upcast", verdict: harmless, why: "of the precision that a computation has"},
	{in: inVAE, name: "sample_size", verdict: harmless, why: "of training"},
}

// A scheduler is a class of the diffusers library's, as far as its configuration
// says how a UNet of latent diffusion was trained.
type scheduler struct {
	edm bool // of Karras et al. 2022: sigmas in place of betas

	// Defaults of what its file leaves out: beta_schedule, beta_start, beta_end.
	betas      string
	start, end float64
}

// schedulers are the classes that are followed. All others are refused by name:
// they are for flow matching, for other kinds of networks, or unknown.
var schedulers = map[string]scheduler{
	"DDIMScheduler":                      usual,
	"DDIMInverseScheduler":               usual,
	"DDIMParallelScheduler":              usual,
	"DDPMScheduler":                      usual,
	"DDPMParallelScheduler":              usual,
	"DEISMultistepScheduler":             usual,
	"DPMSolverMultistepScheduler":        usual,
	"DPMSolverMultistepInverseScheduler": usual,
	"DPMSolverSinglestepScheduler":       usual,
	"EulerDiscreteScheduler":             usual,
	"EulerAncestralDiscreteScheduler":    usual,
	"LMSDiscreteScheduler":               usual,
	"PNDMScheduler":                      usual,
	"SASolverScheduler":                  usual,
	"UniPCMultistepScheduler":            usual,
	"DPMSolverSDEScheduler":              {betas: "linear", start: 0.00085, end: 0.012},
	"HeunDiscreteScheduler":              {betas: "linear", start: 0.00085, end: 0.012},
	"KDPM2DiscreteScheduler":             {betas: "linear", start: 0.00085, end: 0.012},
	"KDPM2AncestralDiscreteScheduler":    {betas: "linear", start: 0.00085, end: 0.012},
	"LCMScheduler":                       {betas: "scaled_linear", start: 0.00085, end: 0.012},
	"TCDScheduler":                       {betas: "scaled_linear", start: 0.00085, end: 0.012},
	"EDMEulerScheduler":                  {edm: true},
	"EDMDPMSolverMultistepScheduler":     {edm: true},
}

// usual is a class with the betas of DDPM.
var usual = scheduler{betas: "linear", start: 0.0001, end: 0.02}
