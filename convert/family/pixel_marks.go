package family

// This file is the table of what the configuration files of models without text say, as
// marks.go is for those with: every field that the diffusers library's UNet2DModel,
// DiTTransformer2DModel and VQModel read, and those of schedulers for which these models
// have another verdict.

var pixelUNetMarks = []mark{
	{in: inUNet, name: "sample_size", verdict: followed},
	{in: inUNet, name: "center_input_sample", verdict: followed},
	{in: inUNet, name: "freq_shift", verdict: only, values: []any{0.0, 1.0}, why: "sinusoids have one of these"},
	{in: inUNet, name: "flip_sin_to_cos", verdict: followed},
	{in: inUNet, name: "downsample_padding", verdict: only, values: []any{0.0, 1.0}, why: "the convolutions have one of these"},
	{in: inUNet, name: "mid_block_scale_factor", verdict: followed},
	{in: inUNet, name: "attention_head_dim", verdict: followed},
	{in: inUNet, name: "norm_num_groups", verdict: followed},
	{in: inUNet, name: "attn_norm_num_groups", verdict: followed},
	{in: inUNet, name: "norm_eps", verdict: followed},
	{in: inUNet, name: "in_channels", verdict: shaped},
	{in: inUNet, name: "out_channels", verdict: shaped},
	{in: inUNet, name: "block_out_channels", verdict: shaped},
	{in: inUNet, name: "layers_per_block", verdict: shaped},
	{in: inUNet, name: "time_embedding_dim", verdict: shaped},
	{in: inUNet, name: "resnet_time_scale_shift", verdict: shaped},
	{in: inUNet, name: "add_attention", verdict: shaped},
	{in: inUNet, name: "num_class_embeds", verdict: shaped},
	{in: inUNet, name: "downsample_type", verdict: shaped},
	{in: inUNet, name: "upsample_type", verdict: shaped},
	{in: inUNet, name: "time_embedding_type", verdict: only, values: []any{"positional", "fourier"}, why: "times are embedded as sinusoids or by learned frequencies"},
	{in: inUNet, name: "down_block_types", verdict: only, values: []any{"DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D", "SkipDownBlock2D", "AttnSkipDownBlock2D"}, why: "other blocks are not built"},
	{in: inUNet, name: "up_block_types", verdict: only, values: []any{"UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D", "SkipUpBlock2D", "AttnSkipUpBlock2D"}, why: "other blocks are not built"},
	{in: inUNet, name: "mid_block_type", verdict: only, values: []any{nil, "UNetMidBlock2D"}, why: "other blocks are not built"},
	{in: inUNet, name: "act_fn", verdict: only, values: []any{"silu", "swish"}, why: "the blocks have this activation"},
	{in: inUNet, name: "class_embed_type", verdict: only, values: []any{nil}, why: "classes are rows of a table"},
	{in: inUNet, name: "num_train_timesteps", verdict: harmless, why: "of a time_embedding_type that is not built"},
	{in: inUNet, name: "dropout", verdict: harmless, why: "of training"},
}

var ditMarks = []mark{
	{in: inTransformer, name: "num_attention_heads", verdict: followed},
	{in: inTransformer, name: "sample_size", verdict: followed},
	{in: inTransformer, name: "in_channels", verdict: shaped},
	{in: inTransformer, name: "out_channels", verdict: shaped},
	{in: inTransformer, name: "attention_head_dim", verdict: shaped},
	{in: inTransformer, name: "num_layers", verdict: shaped},
	{in: inTransformer, name: "patch_size", verdict: shaped},
	{in: inTransformer, name: "num_embeds_ada_norm", verdict: shaped},
	{in: inTransformer, name: "attention_bias", verdict: only, values: []any{true}, why: "the layers have biases"},
	{in: inTransformer, name: "activation_fn", verdict: only, values: []any{"gelu-approximate"}, why: "the blocks have this activation"},
	{in: inTransformer, name: "norm_type", verdict: only, values: []any{"ada_norm_zero"}, why: "the blocks have this normalisation"},
	{in: inTransformer, name: "norm_elementwise_affine", verdict: only, values: []any{false}, why: "the blocks have this normalisation"},
	{in: inTransformer, name: "norm_eps", verdict: only, values: []any{1e-5, 1e-6}, why: "the authors' code has 1e-6"},
	{in: inTransformer, name: "norm_num_groups", verdict: harmless, why: "only other kinds of transformers read it"},
	{in: inTransformer, name: "upcast_attention", verdict: harmless, why: "of the precision that a computation has"},
	{in: inTransformer, name: "dropout", verdict: harmless, why: "of training"},
}

// vqMarks are of a file in either of two places.
var vqMarks = append(vqMarksIn(inVQ), vqMarksIn(inVAE)...)

func vqMarksIn(in place) []mark {
	return []mark{
		{in: in, name: "scaling_factor", verdict: followed},
		{in: in, name: "norm_num_groups", verdict: followed},
		{in: in, name: "in_channels", verdict: shaped},
		{in: in, name: "out_channels", verdict: shaped},
		{in: in, name: "block_out_channels", verdict: shaped},
		{in: in, name: "layers_per_block", verdict: shaped},
		{in: in, name: "latent_channels", verdict: shaped},
		{in: in, name: "num_vq_embeddings", verdict: shaped},
		{in: in, name: "vq_embed_dim", verdict: shaped},
		{in: in, name: "down_block_types", verdict: only, values: []any{"DownEncoderBlock2D"}, why: "other blocks are not built"},
		{in: in, name: "up_block_types", verdict: only, values: []any{"UpDecoderBlock2D"}, why: "other blocks are not built"},
		{in: in, name: "act_fn", verdict: only, values: []any{"silu", "swish"}, why: "the blocks have this activation"},
		{in: in, name: "norm_type", verdict: only, values: []any{"group"}, why: "the blocks have this normalisation"},
		{in: in, name: "mid_block_add_attention", verdict: only, values: []any{true}, why: "the middle has attention"},
		{in: in, name: "lookup_from_codebook", verdict: only, values: []any{false}, why: "latents are numbers, not codes"},
		{in: in, name: "force_upcast", verdict: harmless, why: "of the precision that a computation has"},
		{in: in, name: "sample_size", verdict: harmless, why: "of training"},
	}
}

// pixelSchedulerMarks come before those of marks.
var pixelSchedulerMarks = []mark{
	{in: inScheduler, name: "variance_type", verdict: only, values: []any{nil, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned_range"},
		why: "steps back have one of these"},
	{in: inScheduler, name: "clip_sample", verdict: followed},
	{in: inScheduler, name: "rescale_betas_zero_snr", verdict: only, values: []any{false}, why: "these processes have noise levels that end"},
	{in: inScheduler, name: "clip_sample_range", verdict: only, values: []any{1.0}, why: "pictures are from -1 to 1"},
	{in: inScheduler, name: "sigma_min", verdict: only, values: []any{nil}, why: "the noise levels are those of the betas"},
	{in: inScheduler, name: "sigma_max", verdict: only, values: []any{nil}, why: "the noise levels are those of the betas"},
}

var consistencyMarks = []mark{
	{in: inScheduler, name: "sigma_min", verdict: followed},
	{in: inScheduler, name: "sigma_max", verdict: followed},
	{in: inScheduler, name: "sigma_data", verdict: followed},
	{in: inScheduler, name: "clip_denoised", verdict: followed},
	{in: inScheduler, name: "s_noise", verdict: only, values: []any{1.0}, why: "noise has this spread"},
	{in: inScheduler, name: "rho", verdict: only, values: []any{7.0}, why: "the noise levels have this exponent"},
	{in: inScheduler, name: "num_train_timesteps", verdict: harmless, why: "a request has its own steps"},
}

var veMarks = []mark{
	{in: inScheduler, name: "sigma_min", verdict: followed},
	{in: inScheduler, name: "sigma_max", verdict: followed},
	{in: inScheduler, name: "num_train_timesteps", verdict: harmless, why: "a request has its own steps"},
	{in: inScheduler, name: "snr", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "sampling_eps", verdict: harmless, why: "of the solver"},
	{in: inScheduler, name: "correct_steps", verdict: harmless, why: "of the solver"},
}

var vpMarks = []mark{
	{in: inScheduler, name: "beta_min", verdict: followed},
	{in: inScheduler, name: "beta_max", verdict: followed},
	{in: inScheduler, name: "num_train_timesteps", verdict: harmless, why: "a request has its own steps"},
	{in: inScheduler, name: "sampling_eps", verdict: harmless, why: "of the solver"},
}
