package family

import (
	"cmp"
	"fmt"

	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/sampler"
)

// Pixel is the configuration of models that draw without text: freely or by class,
// in pixels or in the latents of an autoencoder. The families pixel_unet and dit
// have it.
type Pixel struct {
	Name string // the family's

	// Net is the denoiser's network in the C++ core, "pixel_unet", "class_unet", "edm2" or "dit",
	// or "pixel_classifier"; Prefix is what its tensors' names begin with.
	Net, Prefix string

	// Size is the side that the denoiser was trained on, in its own pixels: those of
	// the latent where there is an Autoencoder. 0 where nothing tells.
	Size int

	// Multiple is what the sides of the network's input must be multiples of.
	Multiple int

	// Channels are those of what is drawn, and of x: 3, or the latent's. The
	// network's output has as many or, with LearnedVariance, twice as many: the second
	// half says where the variance is between its bounds (Nichol and Dhariwal 2021).
	Channels        int
	LearnedVariance bool

	// LowChannels are those of a smaller picture that the network gets beside x, as its
	// input "low": 3 for upsamplers, 0 elsewhere. It is enlarged to the size of x; where
	// there is a VAE it has that size, and what is drawn is larger by the VAE's factor.
	LowChannels int

	// Classes is the number of classes, not counting the one that stands for none;
	// NullClass is the number of that, or -1. ClassInput is what the network's input
	// "class" holds: ClassIndex, ClassValue (0 to 1), or "" without classes.
	Classes, NullClass int
	ClassInput         string

	// Process is how the model was trained to remove noise. Sampler and Schedule are
	// those that the file says suit the model best, "" without.
	Process           Process
	Sampler, Schedule string

	// UNet, LatentUNet (which attends to the class), EDM2 or DiT is the denoiser's own
	// configuration; the others are nil.
	UNet       *PixelUNetConfig
	LatentUNet *UNetConfig
	EDM2       *EDM2Config
	DiT        *DiTConfig
	rows       int // of LatentUNet's table of classes

	// VAE is the autoencoder of a model that draws latents; nil for pixels, and where
	// the file has none. Codebook is the number of its codes, 0 of a KL autoencoder:
	// then a latent becomes the nearest rows of the tensor
	// "first_stage_model.quantize.embedding.weight" before it is decoded.
	VAE      *VAEConfig
	Codebook int

	// Classifier says that the file is not a denoiser, but the classifier of noisy
	// pictures that guides one: its output is "logits", Classes of them.
	Classifier bool
}

// What the input "class" of a network holds.
const (
	ClassIndex = "index" // whole numbers [N, 1], from 0 on
	ClassValue = "value" // numbers [N, 1]
)

// Kinds of processes.
const (
	// ProcessDDPM is the variance-preserving chain of Ho et al. (2020): the network
	// gets the step, 0 to Steps - 1, and predicts what Prediction says.
	ProcessDDPM = "ddpm"

	// ProcessConsistency is a consistency model (Song et al. 2023). The network gets
	// 250·ln(σ) and x/√(σ² + SigmaData²), and the result is c_skip·x + c_out·sample with
	// c_skip = SigmaData²/((σ - SigmaMin)² + SigmaData²) and
	// c_out = (σ - SigmaMin)·SigmaData/√(σ² + SigmaData²).
	ProcessConsistency = "consistency"

	// ProcessVE is the variance-exploding process of Song et al. (2021): the network gets
	// ln(σ) and x, and x + σ·sample is the result. With UnitRange pictures are from 0 to
	// 1, and so is the noise's σ, and with Center the network gets 2·x - 1 of such an x;
	// without, pictures are from -1 to 1, and the network gets ln(σ/2).
	ProcessVE = "ve"

	// ProcessVP and ProcessSubVP are its variance-preserving ones: β(t) is from BetaStart to
	// BetaEnd for t of 0 to 1, the network gets 999·t and predicts epsilon.
	ProcessVP    = "vp"
	ProcessSubVP = "sub-vp"

	// ProcessEDM is that of Karras et al. (2022): the network gets ln(σ)/4 and
	// x/√(σ² + SigmaData²).
	ProcessEDM = "edm"
)

// Process says how a model was trained to remove noise. What a kind has no use for
// is 0.
type Process struct {
	Kind string // ProcessDDPM …

	// Betas are "linear", "scaled_linear" (of the square roots, which latent diffusion
	// calls linear) or "cosine"; of Steps steps, from BetaStart to BetaEnd.
	// Model.AlphasCumprod wins over them.
	Betas              string
	BetaStart, BetaEnd float64
	Steps              int

	Prediction string // "epsilon", "v" or "sample"

	// Variance is that of a step back: "fixed_small" (the posterior's), "fixed_large"
	// (β) or "learned_range" (see Pixel.LearnedVariance).
	Variance string

	// Clip says that what is predicted of the picture is cut to -1 to 1 at each step.
	Clip bool

	SigmaMin, SigmaMax float64
	SigmaData          float64 // spread of the pictures: 0.5

	UnitRange, Center bool
}

// Latent reports whether the model draws in latents.
func (c *Pixel) Latent() bool { return c.VAE != nil || c.Channels == 4 }

// Factor is how many times larger a picture's sides are than those that the denoiser
// works on.
func (c *Pixel) Factor() int {
	switch {
	case c.VAE != nil:
		return c.VAE.Factor()
	case c.Latent():
		return 8 // Stable Diffusion's, which is in a file of its own
	}
	return 1
}

// Side is the denoiser's native side, in its own pixels.
func (c *Pixel) Side() int {
	if c.Size > 0 {
		return c.Size
	}
	return max(64/c.Factor(), c.Multiple)
}

// Align is what the sides of pictures must be multiples of.
func (c *Pixel) Align() int { return max(1, c.Multiple) * c.Factor() }

// Usual is what such models are usually drawn with: DDIM in 50 even timesteps, as the
// diffusers library has it; one step of a consistency model; and Heun's method in 18
// steps, as Karras et al. (2022) have it, of all in continuous time.
func (c *Pixel) Usual() (sampler, schedule string, steps int) {
	sampler, schedule, steps = "heun", "karras", 18
	switch c.Process.Kind {
	case ProcessDDPM:
		sampler, schedule, steps = "ddim", "respaced", 50
	case ProcessConsistency:
		sampler, schedule, steps = "consistency", "consistency", 1
	}
	return cmp.Or(c.Sampler, sampler), cmp.Or(c.Schedule, schedule), steps
}

// Guidance is the scale that such models are usually drawn with. own is the file's; 0 is
// none.
func (c *Pixel) Guidance(own float64) float64 {
	switch {
	case c.NullClass < 0:
		return 1
	case own == 0 && c.DiT != nil:
		return 4 // Peebles and Xie 2023
	case own == 0:
		return 3 // Rombach et al. 2022
	}
	return own
}

// Params are the hyperparameters of the network Net.
func (c *Pixel) Params() map[string][]float64 {
	switch {
	case c.DiT != nil:
		return c.DiT.Params()
	case c.EDM2 != nil:
		return c.EDM2.Params()
	case c.LatentUNet != nil:
		all := c.LatentUNet.Params()
		all["context_rows"] = one(c.rows)
		return all
	}
	return c.UNet.Params()
}

// Networks lists the networks, and with them the process and the classes.
func (c *Pixel) Networks() []model.Network {
	name, summary := "denoiser", ""
	var config any
	switch {
	case c.DiT != nil:
		config, summary = *c.DiT, c.DiT.summary()
	case c.EDM2 != nil:
		config, summary = *c.EDM2, c.EDM2.summary()
	case c.LatentUNet != nil:
		u := c.LatentUNet
		config, summary = *u, fmt.Sprintf("%d channels x %v, %d blocks a level, transformers %v, one class of width %d", u.ModelChannels, u.ChannelMult, u.NumResBlocks, u.TransformerDepth, u.ContextDim)
	default:
		config, summary = *c.UNet, c.UNet.summary()
	}
	if c.Classifier {
		name = "classifier"
	}
	all := []model.Network{{Key: name, Name: name, Config: config, Summary: summary}}
	if v := c.VAE; v != nil {
		text := fmt.Sprintf("%d channels x %v, latent %d, scale %g", v.Channels, v.ChannelMult, v.EmbedDim, v.ScaleFactor)
		if c.Codebook > 0 {
			text += fmt.Sprintf(", %d codes", c.Codebook)
		}
		all = append(all, model.Network{Key: "vae", Name: "VAE", Config: *v, Summary: text})
	}
	return append(all, c.beside()...)
}

// number is a number of a configuration that no shape tells: its key of metadata after
// "sdgo.pixel.", its range, and where it is kept.
type number struct {
	key       string
	low, high float64
	get       func() float64
	set       func(float64)
}

func whole(key string, low, high int, at *int) number {
	return number{key, float64(low), float64(high), func() float64 { return float64(*at) }, func(v float64) { *at = int(v) }}
}

func fraction(key string, low, high float64, at *float64) number {
	return number{key, low, high, func() float64 { return *at }, func(v float64) { *at = v }}
}

func truth(key string, at *bool) number {
	get := func() float64 {
		if *at {
			return 1
		}
		return 0
	}
	return number{key, 0, 1, get, func(v float64) { *at = v != 0 }}
}

// word is one of several words that no shape tells.
type word struct {
	key  string
	from []string
	at   *string
}

const pixelKey = "sdgo.pixel."

// PixelLabels is the key of metadata with the names of the classes, a list in JSON in
// the order of their numbers.
const PixelLabels = pixelKey + "labels"

// Keys of metadata with the names of a sampler and of a schedule.
const (
	pixelSampler  = pixelKey + "sampler"
	pixelSchedule = pixelKey + "schedule"
)

// numbers are those that no shape tells, of the process and of what is drawn.
func (c *Pixel) numbers() []number {
	p := &c.Process
	return []number{
		whole("size", 0, largestSide, &c.Size), whole("classes", 0, 1<<20, &c.Classes), whole("null_class", -1, 1<<20, &c.NullClass),
		truth("learned_variance", &c.LearnedVariance),
		whole("steps", 0, 1<<16, &p.Steps), fraction("beta_start", 0, 100, &p.BetaStart), fraction("beta_end", 0, 100, &p.BetaEnd),
		truth("clip", &p.Clip), fraction("sigma_min", 0, 1e6, &p.SigmaMin), fraction("sigma_max", 0, 1e6, &p.SigmaMax),
		fraction("sigma_data", 0, 1e6, &p.SigmaData), truth("unit_range", &p.UnitRange), truth("center", &p.Center),
	}
}

func (c *Pixel) words() []word {
	p := &c.Process
	return []word{
		{"process", []string{ProcessDDPM, ProcessConsistency, ProcessVE, ProcessVP, ProcessSubVP, ProcessEDM}, &p.Kind},
		{"betas", []string{"linear", "scaled_linear", "cosine"}, &p.Betas},
		{"prediction", []string{"epsilon", "v", "sample"}, &p.Prediction},
		{"variance", []string{"fixed_small", "fixed_large", "learned_range"}, &p.Variance},
	}
}

// apply reads what the metadata says of numbers and words. It wins over what shapes say.
func (c *Pixel) apply(r *Reader, more []number) {
	for _, n := range append(c.numbers(), more...) {
		r.Number(pixelKey+n.key, n.low, n.high, n.set)
	}
	for _, w := range c.words() {
		text, ok := r.Model.Metadata[pixelKey+w.key]
		if !ok {
			continue
		}
		*w.at = ""
		for _, known := range w.from {
			if text == known {
				*w.at = text
			}
		}
		if *w.at == "" {
			r.Fail("%s must be one of %v, got %.20q", pixelKey+w.key, w.from, text)
		}
	}
	if name, ok := r.Model.Metadata[pixelSampler]; ok {
		s, err := sampler.Lookup(name)
		if err != nil {
			r.Fail("%s: %w", pixelSampler, err)
		}
		c.Sampler = s.Name
	}
	if name, ok := r.Model.Metadata[pixelSchedule]; ok {
		s, err := sampler.LookupSchedule(name)
		if err != nil {
			r.Fail("%s: %w", pixelSchedule, err)
		}
		c.Schedule = s.Name
	}
}

// pixelMetadata writes what no shape tells.
func pixelMetadata(m *model.Model, add func(key string, value any)) {
	c, ok := m.Config.(*Pixel)
	if !ok {
		return
	}
	var all []number
	if c.UNet != nil {
		all = append(all, c.UNet.numbers()...)
	}
	if c.EDM2 != nil {
		all = append(all, c.EDM2.numbers()...)
	}
	if c.LatentUNet != nil {
		all = append(all, latentNumbers(c.LatentUNet)...)
		c.LatentUNet.Norms.describe(keyUNetGroups, keyUNetEps, add)
	}
	if c.DiT != nil {
		all = append(all, c.DiT.numbers()...)
	}
	c.describe(m, all, add)
}

// describe adds the numbers and words that no shape tells to what a file says of its model; own are those of its network.
func (c *Pixel) describe(m *model.Model, own []number, add func(key string, value any)) {
	for _, n := range append(c.numbers(), own...) {
		add(pixelKey+n.key, fmt.Sprint(n.get()))
	}
	for _, w := range c.words() {
		if *w.at != "" {
			add(pixelKey+w.key, *w.at)
		}
	}
	if c.Sampler != "" {
		add(pixelSampler, c.Sampler)
	}
	if c.Schedule != "" {
		add(pixelSchedule, c.Schedule)
	}
	if names, ok := m.Metadata[PixelLabels]; ok {
		add(PixelLabels, names)
	}
	if c.VAE != nil {
		c.VAE.describe(add)
	}
	if m.Guidance > 0 {
		add(keyGuidance, float32(m.Guidance))
	}
}
