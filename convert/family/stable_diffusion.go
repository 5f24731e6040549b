package family

import (
	"fmt"
	"math"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// StableDiffusion is the configuration of a model of the families sd1, sd2,
// sdxl and sdxl_refiner: latent diffusion with CLIP's text encoders, a UNet and a
// KL autoencoder.
type StableDiffusion struct {
	Name string // the family's

	// Variant is what the UNet is trained for beside text to image: "" for
	// nothing else, "inpaint" (further input channels are a mask and the masked
	// image's latent), "edit" (an image's latent, as in instruct-pix2pix) or "upscale" (a
	// smaller image with noise on it, as in the x4 upscaler).
	Variant string

	// Of "upscale": alphas_cumprod of the smaller image's noise, and the highest timestep of
	// it that a request may ask for.
	LowAlphas     []float64
	MaxNoiseLevel int

	Text  TextConfig
	Text2 TextConfig // of SDXL: OpenCLIP ViT-bigG, whose output is joined to Text's; its Layers are 0 elsewhere
	UNet  UNetConfig
	VAE   VAEConfig

	// EncodesEmpty says that SDXL's unconditional prediction is made with the encoding
	// of an empty negative prompt, and not with zeros (diffusers:
	// force_zeros_for_empty_prompt).
	EncodesEmpty bool
}

// stableDiffusion is what the entries of these families share. text are the
// prefixes of the text encoders; traits sets what is the same within a family and
// no shape tells.
func stableDiffusion(text []string, traits func(r *Reader, c *StableDiffusion)) func(r *Reader) any {
	return func(r *Reader) any {
		c := &StableDiffusion{Name: r.Model.Family}
		// Each step relies on what those before it found.
		for _, step := range []func(*Reader){
			c.readUNet, c.readVAE,
			func(r *Reader) { c.readTexts(r, text) },
			func(r *Reader) { c.applyTraits(r, traits) },
			c.applyMetadata, c.upscaler, (*Reader).process, c.complete,
		} {
			if step(r); r.err != nil {
				return nil
			}
		}
		return c
	}
}

func (c *StableDiffusion) readUNet(r *Reader) {
	c.UNet = r.UNet()
	if r.err == nil && c.UNet.ContextDim == 0 {
		r.Fail("a UNet without cross-attention: %w", model.ErrUnrecognized)
	}
	in, out := c.UNet.InChannels, c.UNet.OutChannels
	if r.err == nil && c.UNet.Classes > 0 != (in == out+pictureChannels) {
		r.Fail("a UNet with %d input and %d output channels and %d levels of noise: %w", in, out, c.UNet.Classes, model.ErrUnrecognized)
	}
	switch in {
	case out:
	case out + pictureChannels:
		c.Variant = upscales
	case 2*out + 1:
		c.Variant = "inpaint"
	case 2 * out:
		c.Variant = "edit"
	default:
		r.Fail("a UNet with %d input and %d output channels: %w", in, out, model.ErrUnrecognized)
	}
}

func (c *StableDiffusion) readVAE(r *Reader) {
	if first := model.VAEPrefix + "decoder.conv_in.weight"; !r.Has(first) {
		r.Fail("no autoencoder (VAE) is in the file: tensor %q is missing; %s: %w", first, addVAE, model.ErrUnrecognized)
	}
	c.VAE = r.VAE()
	if c.Variant == upscales {
		c.VAE.ScaleFactor = upscalerScale
	}
	if r.err == nil && c.VAE.EmbedDim != c.UNet.OutChannels {
		r.Fail("an autoencoder with %d latent channels does not fit a UNet with %d", c.VAE.EmbedDim, c.UNet.OutChannels)
	}
}

func (c *StableDiffusion) readTexts(r *Reader, prefixes []string) {
	width := 0
	for i, to := range []*TextConfig{&c.Text, &c.Text2}[:len(prefixes)] {
		*to = r.Text(prefixes[i])
		width += to.Width
	}
	if r.err == nil && len(prefixes) == 1 && width < c.UNet.ContextDim && c.UNet.ADMChannels > 0 {
		r.Fail("no second text encoder is in the file: the first has the width %d, the UNet needs %d; %s: %w", width, c.UNet.ContextDim, addCLIPG, model.ErrUnrecognized)
	}
	if r.err == nil && width != c.UNet.ContextDim {
		r.Fail("a text encoder of width %d does not fit a UNet that needs %d", width, c.UNet.ContextDim)
	}
	if r.err == nil && c.Text2.Layers > 0 && c.Text2.ContextLength != c.Text.ContextLength {
		r.Fail("text encoders of %d and %d tokens do not fit together", c.Text.ContextLength, c.Text2.ContextLength)
	}
}

func (c *StableDiffusion) applyTraits(r *Reader, traits func(*Reader, *StableDiffusion)) {
	r.Model.NativeSize = 512
	traits(r, c)
	c.Name = r.Model.Family
	r.Model.Description += map[string]string{"inpaint": " for inpainting", "edit": " for editing pictures", upscales: " that enlarges pictures"}[c.Variant]
	if name := c.UNet.prunedName(); name != "" {
		r.Model.Description += " (" + name + ")"
	}
}

// penultimate makes the layer before the last the one that conditions the UNet.
func (c *TextConfig) penultimate() { c.FinalLayer, c.ClipSkip = max(1, c.Layers-1), 2 }

// largestSide bounds the native size in pixels: package sd makes no larger
// pictures.
const largestSide = 8192

// applyMetadata applies what the file says about itself.
func (c *StableDiffusion) applyMetadata(r *Reader) {
	m := r.Model
	r.Number(keyTextHeads, 1, 1<<10, func(v float64) { c.Text.Heads = int(v) })
	r.Number(keyTextEps, 1e-12, 1, func(v float64) { c.Text.Eps = v })
	if c.Text2.Layers > 0 {
		r.Number(keyText2Heads, 1, 1<<10, func(v float64) { c.Text2.Heads = int(v) })
	}
	r.Number(keyTextFinal, 1, float64(c.Text.Layers), func(v float64) { c.Text.FinalLayer = int(v) })
	r.Number(keyUNetHeads, 1, maxHeads, func(v float64) { c.UNet.Heads, c.UNet.HeadDim = int(v), 0 })
	r.Number(keyUNetHeadDim, 1, maxHeadDim, func(v float64) { c.UNet.Heads, c.UNet.HeadDim = 0, int(v) })
	r.Number(keyScaleFactor, 1e-6, 1e6, func(v float64) { c.VAE.ScaleFactor = float32(v) })
	r.Number(keySampleSize, 1, largestSide/8, func(v float64) {
		n := min(int(v)*c.VAE.Factor(), largestSide)
		m.NativeSize = max(n-n%8, 8) // other autoencoders allow other sizes, package sd multiples of 8
	})
	r.Number(keyNativeSize, 8, largestSide, func(v float64) {
		if m.NativeSize = int(v); math.Mod(v, 8) != 0 {
			r.Fail("%s must be a multiple of 8, got %g", keyNativeSize, v)
		}
	})
	r.Number(keyGuidance, math.SmallestNonzeroFloat32, 1000, func(v float64) { m.Guidance = v })
	r.headList(&c.UNet)
	onlyCross(r, &c.UNet)
	switch act := m.Metadata[keyTextActivation]; act {
	case "":
	case "quick_gelu", "gelu":
		c.Text.Activation = act
	default:
		r.Fail("text encoder: the activation must be quick_gelu or gelu, got %.20q", act)
	}
	switch text := m.Metadata[keyEmptyText]; text {
	case "", "zeros":
	case "encoded":
		c.EncodesEmpty = true
	default:
		r.Fail("%s must be encoded or zeros, got %.20q", keyEmptyText, text)
	}
	c.UNet.Norms.apply(r, keyUNetGroups, keyUNetEps)
	c.VAE.applyMetadata(r)
	for _, key := range []string{model.KeyMerges, model.KeyGGUFMerges} {
		if text := m.Metadata[key]; text != "" {
			m.Merges = MergeList(text)
			delete(m.Metadata, key) // thousands of lines
		}
	}
}

// complete checks the model's tensors.
func (c *StableDiffusion) complete(r *Reader) {
	optional := append([]string{model.ScheduleName, lowSchedule}, append(c.Text.projections(), c.Text2.projections()...)...)
	if !c.VAE.HasEncoder { // whose last layer stands apart
		optional = append(optional, model.VAEPrefix+"quant_conv.weight", model.VAEPrefix+"quant_conv.bias")
	}
	r.complete(optional, c.Text.Weights(), c.Text2.Weights(), c.UNet.Weights(), c.VAE.Weights())
}

// MergeList reads a tokenizer's merges, a pair a line, after an optional heading.
func MergeList(text string) []string {
	var merges []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line != "" && !strings.HasPrefix(line, "#version") {
			merges = append(merges, line)
		}
	}
	return merges
}

// Networks lists the networks, with their hyperparameters, for people and
// programs to read.
func (c *StableDiffusion) Networks() []model.Network {
	u, v := c.UNet, c.VAE
	all := []model.Network{{Key: "text", Name: "text encoder", Config: c.Text, Summary: c.Text.summary()}}
	if c.Text2.Layers > 0 {
		all = append(all, model.Network{Key: "text2", Name: "text encoder 2", Config: c.Text2, Summary: c.Text2.summary()})
	}
	return append(all,
		model.Network{Key: "unet", Name: "UNet", Config: u, Summary: u.summary()},
		model.Network{Key: "vae", Name: "VAE", Config: v, Summary: fmt.Sprintf("%d channels x %v, latent %d, scale %g", v.Channels, v.ChannelMult, v.EmbedDim, v.ScaleFactor)})
}

func (c TextConfig) summary() string {
	return fmt.Sprintf("%d layers of width %d, %d heads, %s, vocabulary %d", c.Layers, c.Width, c.Heads, c.Activation, c.Vocabulary)
}

// Carry writes what was read off a whole file, and its networks alone do not
// tell, as metadata: some of them are about to be replaced.
func (c *StableDiffusion) Carry(metadata map[string]string) {
	metadata[keyTextFinal] = fmt.Sprint(c.Text.FinalLayer)
}

// stableDiffusionSlots are the places in a model of these families, which the
// text encoders that are given tell apart.
func stableDiffusionSlots(given Given) Slots {
	s := Slots{Denoiser: model.UNetPrefix, Autoencoder: model.VAEPrefix}
	switch first, second := given.has(model.Text1Prefix), given.has(model.Text2Prefix); {
	case !given.CLIPG && !first && !second:
		s.CLIPL = model.TextPrefix
	case !given.CLIPL && !second && (!first || given.isRefiner()):
		s.CLIPG = model.Text1Prefix
	default:
		s.CLIPL, s.CLIPG = model.Text1Prefix, model.Text2Prefix
	}
	return s
}

// DiffusersNames returns a function that gives a weight's folder and its name in
// the diffusers library's layout, as the library's newest version writes them.
// It is the inverse of reading such a folder.
func (c *StableDiffusion) DiffusersNames() func(name string) (folder, diffusersName string, ok bool) {
	attention := map[int]bool{}
	levels := len(c.UNet.ChannelMult)
	for i, depth := range c.UNet.outputDepths() {
		attention[i/(c.UNet.NumResBlocks+1)] = depth > 0 // of the last block, which the upsampler follows
	}
	blocks := map[string]int{"encoder": c.VAE.NumResBlocks, "decoder": c.VAE.NumResBlocks + 1}
	first, second := textFolders(c.Name)
	networks := []struct {
		prefix, folder string
		rename         layout.Rename
	}{
		{model.UNetPrefix, "unet", layout.Inverse(layout.UNetModules(levels, c.UNet.NumResBlocks, attention))},
		{model.VAEPrefix, "vae", layout.Inverse(layout.VAEModules(func(half string) (int, int) { return len(c.VAE.ChannelMult), blocks[half] }))},
		{c.Text.Prefix, first, nil},
		{c.Text2.Prefix, second, nil},
	}
	return func(name string) (folder, diffusersName string, ok bool) {
		for _, n := range networks {
			rest, found := strings.CutPrefix(name, n.prefix)
			switch {
			case !found || n.prefix == "":
			case n.rename == nil:
				return n.folder, strings.TrimPrefix(rest, "text_model."), true
			default:
				diffusersName, ok = n.rename(rest)
				return n.folder, diffusersName, ok
			}
		}
		return "", "", false
	}
}
