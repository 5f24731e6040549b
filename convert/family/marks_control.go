package family

// readControlConfig reads the fields of a ControlNet that are followed: those of its UNet,
// and how its outputs are pooled.
func readControlConfig(c *config) {
	c.unet()
	if c.truth("global_pool_conditions") {
		c.say(keyGlobalPool, true)
	}
}

// controlMarks is the table of the fields of the diffusers library's ControlNetModel: those that
// it has in common with UNet2DConditionModel, and its own.
func controlMarks() (all []mark) {
	for _, name := range []string{
		"in_channels", "flip_sin_to_cos", "freq_shift", "down_block_types", "mid_block_type", "only_cross_attention", "block_out_channels", "layers_per_block",
		"downsample_padding", "mid_block_scale_factor", "act_fn", "norm_num_groups", "norm_eps", "cross_attention_dim", "transformer_layers_per_block",
		"encoder_hid_dim", "encoder_hid_dim_type", "attention_head_dim", "num_attention_heads", "use_linear_projection", "class_embed_type", "addition_embed_type",
		"addition_time_embed_dim", "num_class_embeds", "upcast_attention", "resnet_time_scale_shift", "projection_class_embeddings_input_dim",
		"addition_embed_type_num_heads",
	} {
		m := *lookMark(inUNet, name)
		m.in = inControl
		all = append(all, m)
	}
	return append(all,
		mark{in: inControl, name: "global_pool_conditions", verdict: followed},
		mark{in: inControl, name: "conditioning_channels", verdict: shaped},
		mark{in: inControl, name: "conditioning_embedding_out_channels", verdict: shaped},
		mark{in: inControl, name: "controlnet_conditioning_channel_order", verdict: only, values: []any{"rgb"}, why: "pictures are red, green, blue"})
}
