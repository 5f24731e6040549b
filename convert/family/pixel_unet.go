package family

import (
	"math"
	"regexp"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// PixelUNet is a UNet that works on pixels, or on latents without text: of guided
// diffusion (Dhariwal and Nichol 2021), DDPM and others, with classes or
// unconditional.
const PixelUNet = "pixel_unet"

var pixelUNet = &Family{
	Name: PixelUNet,
	Looks: []Look{
		{"a UNet of latent diffusion that draws from classes", []string{classTable, "model.diffusion_model.input_blocks.*.1.transformer_blocks.0.attn2.to_k.weight"}},
		{"a classifier of noisy pictures", []string{"input_blocks.0.0.weight", "out.2.positional_embedding"}},
		{"a UNet that draws from classes", []string{"*label_emb.weight", "*input_blocks.0.0.weight"}},
		{"a UNet that draws from a number", []string{"*label_emb.0.weight", "*input_blocks.0.0.weight", "*input_blocks.1.0.emb_layers.1.weight"}},
		{"a UNet that draws from a vector", []string{"*label_emb.0.0.weight", "*input_blocks.0.0.weight"}},
		{"a UNet without conditioning", []string{"*input_blocks.0.0.weight", "*time_embed.0.weight"}},
		{"a UNet without conditioning", []string{"*input_blocks.0.0.weight", "*input_blocks.1.0.emb_layers.1.weight"}},
		{"a UNet that draws from classes in the diffusers library's layout", []string{"down_blocks.0.resnets.0.time_emb_proj.weight", "conv_in.weight", "class_embedding.weight"}},
		{"a UNet that draws from a vector in the diffusers library's layout", []string{"down_blocks.0.resnets.0.time_emb_proj.weight", "conv_in.weight", "class_embedding.linear_1.weight"}},
		{"a UNet that draws from a vector in the diffusers library's layout", []string{"down_blocks.0.resnets.0.time_emb_proj.weight", "conv_in.weight", "add_embedding.linear_1.weight"}},
		{"a UNet without conditioning in the diffusers library's layout", []string{"down_blocks.0.resnets.0.time_emb_proj.weight", "conv_in.weight"}},
		{"a UNet of EDM2", []string{"*emb_fourier.freqs", "*out_conv.weight", "*block0.conv_res0.weight"}},
		{"a UNet of EDM", []string{"*map_layer0.weight", "*map_layer1.weight", "*_block0.affine.weight"}},
		{"a score-based UNet with learned frequencies (NCSN++)", []string{"*all_modules.0.W", "*all_modules.4.GroupNorm_1.weight"}},
		{"a score-based UNet (DDPM)", []string{"*all_modules.0.weight", "*all_modules.3.GroupNorm_1.weight", "!*all_modules.*.Conv_2.weight"}},
		{"a score-based UNet (DDPM++)", []string{"*all_modules.0.weight", "*all_modules.3.GroupNorm_1.weight"}},
		{"a UNet without conditioning with the DDPM's names", []string{"temb.dense.0.weight", "down.0.block.0.temb_proj.weight"}},
	},
	Runs:       true,
	Rewrite:    rewritePixelUNet,
	Says:       pixelSays,
	Settings:   pixelSettings(inUNet),
	Complete:   completeLatent,
	Role:       Denoiser,
	Slots:      func(Given) Slots { return Slots{Denoiser: model.UNetPrefix, Autoencoder: model.VAEPrefix} },
	Read:       readPixelUNet,
	Metadata:   pixelMetadata,
	Properties: pixelProperties,
}

// rewritePixelUNet gives tensors guided diffusion's names.
func rewritePixelUNet(all []model.Stored) ([]model.Stored, error) {
	switch {
	case layout.Contains(all, model.UNetPrefix+"input_blocks."):
		return layout.LatentPixel(all)
	case layout.Contains(all, "input_blocks."):
		return all, nil
	case layout.Contains(all, "temb.dense."):
		return layout.Fuse(all, layout.DDPMPixelTable(all))
	case layout.Contains(all, "emb_fourier.") && layout.Contains(all, "_block0."):
		return layout.EDM2Pixel(all)
	case layout.Contains(all, "emb_fourier."):
		return all, nil
	case layout.Contains(all, "map_layer0."):
		return layout.EDMPixel(all)
	case layout.Contains(all, "all_modules."):
		return layout.ScorePixel(all)
	}
	return layout.Fuse(all, layout.DiffusersPixelTable(all))
}

func readPixelUNet(r *Reader) any {
	prefix := ""
	if r.Has(model.UNetPrefix + "input_blocks.0.0.weight") {
		prefix = model.UNetPrefix
	}
	if r.Has(edm2Mark) || r.Has(model.UNetPrefix+edm2Mark) {
		return readEDM2(r)
	}
	if r.Has(classTable) {
		return readPixelLatent(r)
	}
	u := r.PixelUNet(prefix)
	if r.err != nil {
		return nil
	}
	c := &Pixel{Name: PixelUNet, Net: "pixel_unet", Prefix: prefix, UNet: u, Classes: u.Classes, NullClass: -1, Multiple: 1 << (len(u.Channels) - 1)}
	if u.Positions > 0 {
		c.Net, c.Classifier, c.Classes = "pixel_classifier", true, u.OutChannels
	}
	switch {
	case u.Classes > 0:
		c.ClassInput = ClassIndex
	case u.ClassValues:
		c.ClassInput = ClassValue
	}
	c.Channels, c.LowChannels = u.InChannels-u.LowChannels, u.LowChannels
	c.LearnedVariance = !c.Classifier && u.OutChannels == 2*c.Channels
	pixelTraits(r, c)
	if said := r.Model.Metadata["native_size"]; said != "" && r.Model.Metadata[pixelKey+"size"] == "" { // of models of others
		r.Number("native_size", 1, largestSide, func(v float64) { c.Size = int(v) })
	}
	c.readVAE(r)
	c.apply(r, u.numbers())
	c.finish(r)
	if c.VAE != nil && c.Codebook > 0 && c.LowChannels > 0 {
		c.VAE.ScaleFactor = 1 // latent diffusion's super-resolution: the library's pipeline reads no scaling_factor
	}
	knownPixel(r, prefix, pixelName, model.VAEPrefix)
	r.betas()
	r.alphas()
	return c
}

// pixelName is what tensors of such a UNet are called. Others would change what it
// computes: those of DeepFloyd's attention to text do.
var pixelName = regexp.MustCompile(`^(time_embed\.(frequencies|[02]\.(weight|bias))|label_emb\.(weight|[02]\.(weight|bias))|` +
	`(input_blocks\.\d+|middle_block|output_blocks\.\d+)\.\d+\.((in_layers\.[02]|emb_layers\.1|out_layers\.[03]|skip_connection|op|conv|norm|qkv|proj_out)\.)?(weight|bias)|` +
	`out\.[02]\.(weight|bias)|out\.2\.(positional_embedding|(qkv_proj|c_proj)\.(weight|bias))|` +
	`input_pyramid\.\d+\.(weight|bias)|output_pyramid\.\d+\.[02]\.(weight|bias))$`)

// knownPixel fails for a tensor of the network that none of these is. Names of the other network in the file begin with
// beside.
func knownPixel(r *Reader, prefix string, names *regexp.Regexp, beside string) {
	for _, t := range r.Model.Tensors {
		name, ok := strings.CutPrefix(t.Name, prefix)
		if !ok || t.Name == model.ScheduleName || prefix == "" && strings.HasPrefix(name, beside) {
			continue
		}
		if !names.MatchString(name) {
			r.Fail("tensor %q is surplus: a model of this family has no such part", t.Name)
			return
		}
	}
}

// finish checks what metadata may have changed, and sets what the loop asks of a model.
func (c *Pixel) finish(r *Reader) {
	if r.err != nil { // sizes that were not read don't fit together
		return
	}
	if u := c.UNet; u != nil {
		c.LowChannels = u.LowChannels
		c.Channels = u.InChannels
		if u.InChannels -= u.LowChannels; u.InChannels < 1 {
			r.Fail("a UNet of %d input channels cannot have %d of a small picture", c.Channels, u.LowChannels)
		}
		c.Channels = u.InChannels
		if u.Heads > 0 {
			u.HeadDim = 0
			u.PoolHeads = u.Heads // only of a classifier
		}
		if u.InputPyramid == 2 && !u.FIR {
			r.Fail("a UNet whose smaller inputs are convolved must filter them by [1, 3, 3, 1]: %sfir must be 1", pixelKey)
		}
	}
	if r.err == nil && !c.Classifier && c.UNet != nil && c.UNet.OutChannels != c.outChannels() {
		r.Fail("a UNet with %d input and %d output channels: %w", c.UNet.InChannels, c.UNet.OutChannels, model.ErrUnrecognized)
	}
	if r.err == nil && c.NullClass >= c.tableRows() {
		r.Fail("the class that stands for none must be below %d, got %d", c.tableRows(), c.NullClass)
	}
	if r.err == nil && c.Process.Kind == ProcessDDPM && (c.Process.Steps < 1 || c.Process.Betas == "") {
		r.Fail("a DDPM needs a schedule of steps: %ssteps must be at least 1, got %d, and %sbetas a schedule", pixelKey, c.Process.Steps, pixelKey)
	}
	r.Number(keyGuidance, math.SmallestNonzeroFloat32, 1000, func(v float64) { r.Model.Guidance = v })
	if c.Process.Betas == "cosine" {
		c.Process.BetaStart, c.Process.BetaEnd = 0, 0
	}
	r.Model.NativeSize = c.Size
	if c.VAE != nil {
		r.Model.NativeSize *= c.VAE.Factor()
	}
	r.Model.Prediction = c.Process.Prediction
}

// outChannels are those of the network's output.
func (c *Pixel) outChannels() int {
	if c.LearnedVariance {
		return 2 * c.Channels
	}
	return c.Channels
}

// tableRows is the number of rows of the network's table of classes.
func (c *Pixel) tableRows() int {
	switch {
	case c.DiT != nil:
		return c.DiT.Classes
	case c.EDM2 != nil:
		return c.EDM2.Classes
	case c.LatentUNet != nil:
		return c.rows
	case c.Classifier:
		return 0
	}
	return c.UNet.Classes
}

// processWords tell people about a process that is not the usual one.
var processWords = map[string]string{ProcessConsistency: "consistency", ProcessVE: "variance-exploding", ProcessVP: "variance-preserving SDE",
	ProcessSubVP: "sub-VP SDE", ProcessEDM: "EDM"}

func pixelProperties(d *Describer) {
	classes := d.Dim("label_emb.weight", 0)
	r := &Reader{Model: d.Model.Copy()} // of which reading sets more
	c, _ := readPixelUNet(r).(*Pixel)
	if r.err != nil || c == nil {
		d.Property("classes", max(classes, d.Dim("class_embedding.weight", 0)))
		d.Property("vector", max(d.Dim("label_emb.0.0.weight", 1), d.Dim("class_embedding.linear_1.weight", 1), d.Dim("add_embedding.linear_1.weight", 1)))
		d.Property("in_channels", max(d.Dim("input_blocks.0.0.weight", 1), d.Dim("conv_in.weight", 1)))
		d.Property("width", max(d.Dim("input_blocks.0.0.weight", 0), d.Dim("conv_in.weight", 0)))
		return
	}
	d.Property("classes", c.Classes)
	d.Property("size", c.Size)
	if u := c.EDM2; u != nil {
		d.Property("in_channels", u.InChannels)
		d.Property("width", u.Channels[0])
		d.Say(processWords[c.Process.Kind])
		return
	}
	if u := c.LatentUNet; u != nil {
		d.Property("in_channels", u.InChannels)
		d.Property("width", u.ModelChannels)
		return
	}
	d.Property("in_channels", c.UNet.InChannels+c.LowChannels)
	d.Property("width", c.UNet.TimeChannels)
	if c.LearnedVariance {
		d.Say("learned variance")
	}
	if c.LowChannels > 0 {
		d.Say("enlarges pictures")
	}
	d.Say(processWords[c.Process.Kind])
}
