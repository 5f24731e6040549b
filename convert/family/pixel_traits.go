package family

import (
	"slices"

	"github.com/sdgo/sdgo/convert/model"
)

// What published models have that no shape tells. Metadata wins over it: models of
// other trainings should say what they are.

// pixelTraits sets heads, order of queries, process and size after the kind of model
// that a UNet's switches show.
func pixelTraits(r *Reader, c *Pixel) {
	u, latent := c.UNet, c.Prefix == model.UNetPrefix
	c.Process = Process{Kind: ProcessDDPM, Betas: "linear", BetaStart: 1e-4, BetaEnd: 0.02, Steps: 1000, Prediction: "epsilon", Variance: "fixed_small", Clip: !latent}
	if c.LearnedVariance {
		c.Process.Variance = "learned_range"
	}
	ofKind := func(kind string) bool { return r.Model.Metadata[pixelKey+"process"] == kind }
	switch {
	case latent:
		latentTraits(u, &c.Process)
	case ofKind(ProcessVE):
		c.Process = Process{Kind: ProcessVE, Prediction: "epsilon", SigmaMin: 0.01, SigmaMax: 348, UnitRange: true}
	case ofKind(ProcessVP):
		c.Process = Process{Kind: ProcessVP, Prediction: "epsilon", BetaStart: 0.1, BetaEnd: 20}
	case ofKind(ProcessEDM):
		u.HeadDim = headWidth(u)
		c.Process = Process{Kind: ProcessEDM, Prediction: "sample", SigmaMin: 0.002, SigmaMax: 80, SigmaData: 0.5}
	case u.ScaleShift && u.ResampleBlocks:
		guidedTraits(c)
	case u.ScaleShift: // improved diffusion
		u.Heads, u.QKVByHead = 4, true
		c.Process.Betas, c.Process.BetaStart, c.Process.BetaEnd = "cosine", 0, 0
	default: // the DDPM
		u.Heads = 1
		if slices.Equal(u.Channels, []int{128, 256, 256, 256}) { // of CIFAR-10
			c.Process.Variance = "fixed_large"
		}
	}
	c.Size = sizeByAttention(c)
}

// guidedTraits are those of guided diffusion's models (Dhariwal and Nichol 2021, table
// 4 and their README) and of consistency models, which have the same networks and
// predict no variance.
func guidedTraits(c *Pixel) {
	u := c.UNet
	small := slices.Equal(u.Channels, []int{192, 384, 576, 768}) && u.NumResBlocks == 3 // ImageNet 64x64
	u.HeadDim = headWidth(u)
	u.QKVByHead = !small
	switch {
	case c.Classifier:
		u.PoolHeads = max(1, u.Channels[len(u.Channels)-1]/max(1, u.HeadDim))
	case !c.LearnedVariance:
		u.QKVByHead = false
		c.Process = Process{Kind: ProcessConsistency, Prediction: "sample", SigmaMin: 0.002, SigmaMax: 80, SigmaData: 0.5, Clip: true}
	case small:
		c.Process.Betas, c.Process.BetaStart, c.Process.BetaEnd = "cosine", 0, 0
	case slices.Equal(u.Channels, []int{256, 256, 512, 768, 1024}), // ImageNet 128x128
		c.LowChannels > 0 && countTrue(u.Attention) == 3: // from 64x64 to 256x256
		u.Heads, u.HeadDim = 4, 0
	}
}

// latentTraits are those of latent diffusion's models without text.
func latentTraits(u *PixelUNetConfig, p *Process) {
	p.Betas, p.BetaStart, p.BetaEnd = "scaled_linear", 0.0015, 0.0195
	u.QKVByHead = true
	if u.ResampleBlocks { // of churches
		u.Heads, p.BetaEnd = 8, 0.0155
		return
	}
	u.HeadDim = 32
}

// headWidth is the largest usual width of a head that divides the widths of all
// levels with attention.
func headWidth(u *PixelUNetConfig) int {
	for _, width := range []int{64, 32, 16, 8} {
		ok := true
		for level, channels := range u.Channels {
			if u.Attention[level] || u.MiddleAttention && level == len(u.Channels)-1 {
				ok = ok && channels%width == 0
			}
		}
		if ok {
			return width
		}
	}
	return 1
}

// sizeByAttention is the side of the pictures, which is that of the level where attention
// begins, enlarged: 32 for guided diffusion and consistency models, of which one
// upsampler has none at the lowest; 16 for the DDPM, NCSN++ and improved diffusion; 32 in
// latents. Classifiers end with 8x8 pixels.
func sizeByAttention(c *Pixel) int {
	u, from := c.UNet, 16
	if c.Classifier {
		side := 1
		for (side+1)*(side+1) <= u.Positions {
			side++
		}
		return side << (len(u.Channels) - 1)
	}
	if c.Prefix == model.UNetPrefix && c.LowChannels > 0 {
		return 64 // of 256x256 pixels
	}
	if c.Prefix == model.UNetPrefix || u.ScaleShift && u.ResampleBlocks {
		from = 32
	}
	for level, attention := range u.Attention {
		if attention {
			return from << level
		}
	}
	return 0
}

func countTrue(all []bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}
