package family

// PixelUNet is a UNet that works on pixels, or on latents without text: of guided
// diffusion (Dhariwal and Nichol 2021) or DDPM, with classes or unconditional.
const PixelUNet = "pixel_unet"

var pixelUNet = &Family{
	Name: PixelUNet,
	Looks: []Look{
		{"a UNet that draws from classes", []string{"*label_emb.weight", "*input_blocks.0.0.weight"}},
		{"a UNet that draws from a vector", []string{"*label_emb.0.0.weight", "*input_blocks.0.0.weight"}},
		{"a UNet without conditioning", []string{"*input_blocks.0.0.weight", "*time_embed.0.weight"}},
		{"a UNet that draws from classes in the diffusers library's layout", []string{"down_blocks.0.resnets.0.time_emb_proj.weight", "conv_in.weight", "class_embedding.weight"}},
		{"a UNet that draws from a vector in the diffusers library's layout", []string{"down_blocks.0.resnets.0.time_emb_proj.weight", "conv_in.weight", "class_embedding.linear_1.weight"}},
		{"a UNet that draws from a vector in the diffusers library's layout", []string{"down_blocks.0.resnets.0.time_emb_proj.weight", "conv_in.weight", "add_embedding.linear_1.weight"}},
		{"a UNet without conditioning in the diffusers library's layout", []string{"down_blocks.0.resnets.0.time_emb_proj.weight", "conv_in.weight"}},
	},
	Properties: func(d *Describer) {
		d.Property("classes", max(d.Dim("label_emb.weight", 0), d.Dim("class_embedding.weight", 0)))
		d.Property("vector", max(d.Dim("label_emb.0.0.weight", 1), d.Dim("class_embedding.linear_1.weight", 1), d.Dim("add_embedding.linear_1.weight", 1)))
		d.Property("in_channels", max(d.Dim("input_blocks.0.0.weight", 1), d.Dim("conv_in.weight", 1)))
		d.Property("width", max(d.Dim("input_blocks.0.0.weight", 0), d.Dim("conv_in.weight", 0)))
	},
}
