package family

// table has all families in the order in which they are tried: what is more
// special comes first. The first of a family's Looks that fits decides.
var table = []*Family{
	ipAdapter, lora, embedding, controlNet, t2iAdapter,
	chroma, flux2, flux, sd3, zImage, qwenImage, sdxl, sdxlRefiner, sd2, sd1, dit, deepFloyd,
	t5, qwenVision, qwen, unet, pixelUNet, sigLIP, clip, clipVision,
	esrgan, taesd, vae, hed,
	textStates, lpips, dists, mtcnn, resNet, cnnDDPM,
}
