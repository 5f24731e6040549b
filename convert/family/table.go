package family

// table has all families in the order in which they are tried: what is more
// special comes first. The first of a family's Looks that fits decides.
var table = []*Family{
	lora, embedding, controlNet,
	flux, sd3, sdxl, sdxlRefiner, sd2, sd1, dit,
	t5, unet, pixelUNet, plainDDPM, clip,
	esrgan, taesd, vae,
}
