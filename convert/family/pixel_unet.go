package family

import (
	"regexp"
	"slices"
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
		{"a classifier of noisy pictures", []string{"input_blocks.0.0.weight", "out.2.positional_embedding"}},
		{"a UNet that draws from classes", []string{"*label_emb.weight", "*input_blocks.0.0.weight"}},
		{"a UNet that draws from a number", []string{"*label_emb.0.weight", "*input_blocks.0.0.weight", "*input_blocks.1.0.emb_layers.1.weight"}},
		{"a UNet without conditioning", []string{"*input_blocks.0.0.weight", "*time_embed.0.weight"}},
		{"a UNet without conditioning", []string{"*input_blocks.0.0.weight", "*input_blocks.1.0.emb_layers.1.weight"}},
		{"a UNet that draws from classes in the diffusers library's layout", []string{"down_blocks.0.resnets.0.time_emb_proj.weight", "conv_in.weight", "class_embedding.weight"}},
		{"a UNet without conditioning in the diffusers library's layout", []string{"down_blocks.0.resnets.0.time_emb_proj.weight", "conv_in.weight"}},
		{"a UNet without conditioning with the DDPM's names", []string{"temb.dense.0.weight", "down.0.block.0.temb_proj.weight"}},
	},
	Runs:       true,
	Rewrite:    rewritePixelUNet,
	Marks:      pixelMarks,
	Settings:   pixelSettings,
	Read:       readPixelUNet,
	Metadata:   pixelMetadata,
	Properties: pixelProperties,
}

// rewritePixelUNet gives tensors guided diffusion's names.
func rewritePixelUNet(all []model.Stored) ([]model.Stored, error) {
	switch {
	case layout.Contains(all, "input_blocks."):
		return all, nil
	case layout.Contains(all, "temb.dense."):
		return layout.Fuse(all, layout.DDPMPixelTable(all))
	}
	return layout.Fuse(all, layout.DiffusersPixelTable(all))
}

// pixelMarks are what the names of a layout say and the shapes do not: keys of
// Pixel's metadata.
func pixelMarks(all []model.Stored) map[string]string {
	has := func(name string) bool {
		return slices.ContainsFunc(all, func(t model.Stored) bool { return t.Name == name })
	}
	marks := map[string]string{}
	say := func(pairs ...string) {
		for i := 0; i < len(pairs); i += 2 {
			marks[pixelKey+pairs[i]] = pairs[i+1]
		}
	}
	ddpm := []string{"time_sines_first", "1", "time_shift", "1", "norm_eps", "1e-06", "attention_norm_eps", "1e-06"}
	switch {
	case has("temb.dense.0.weight"):
		say(ddpm...)
		say("pad_end", "1", "heads", "1")
	case has("conv_in.weight") && has("time_proj.weight"): // NCSN++
		say("time_sines_first", "1", "norm_eps", "1e-06", "attention_norm_eps", "1e-06", "fir", "1", "skip_scale", "0.70710678118654752",
			"norm_min_channels", "4", "heads", "1", "process", ProcessVE)
	case has("conv_in.weight") && !scaleShifts(all):
		say(ddpm...)
		say("pad_end", "1", "heads", "1")
	case has("conv_in.weight"):
		say("qkv_by_head", "0")
	}
	return marks
}

// scaleShifts reports whether residual blocks of the diffusers library's layout are
// scaled and shifted by the time's embedding, as guided diffusion's are.
func scaleShifts(all []model.Stored) bool {
	rows := map[string]int64{}
	for _, t := range all {
		if len(t.Shape) > 0 {
			rows[t.Name] = t.Shape[0]
		}
	}
	const block = "down_blocks.0.resnets.0."
	return rows[block+"time_emb_proj.weight"] == 2*rows[block+"conv1.weight"]
}

func readPixelUNet(r *Reader) any {
	prefix := ""
	if r.Has(model.UNetPrefix + "input_blocks.0.0.weight") {
		prefix = model.UNetPrefix
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
	c.Channels = u.InChannels - u.LowChannels
	c.LearnedVariance = !c.Classifier && u.OutChannels == 2*c.Channels
	pixelTraits(r, c)
	if said := r.Model.Metadata["native_size"]; said != "" && r.Model.Metadata[pixelKey+"size"] == "" { // of models of others
		r.Number("native_size", 1, largestSide, func(v float64) { c.Size = int(v) })
	}
	c.apply(r, u.numbers())
	c.finish(r)
	r.known(prefix, pixelName)
	r.schedule()
	return c
}

// pixelName is what tensors of such a UNet are called. Others would change what it
// computes: those of DeepFloyd's attention to text do.
var pixelName = regexp.MustCompile(`^(time_embed\.(frequencies|[02]\.(weight|bias))|label_emb\.(weight|[02]\.(weight|bias))|` +
	`(input_blocks\.\d+|middle_block|output_blocks\.\d+)\.\d+\.((in_layers\.[02]|emb_layers\.1|out_layers\.[03]|skip_connection|op|conv|norm|qkv|proj_out)\.)?(weight|bias)|` +
	`out\.[02]\.(weight|bias)|out\.2\.(positional_embedding|(qkv_proj|c_proj)\.(weight|bias))|` +
	`input_pyramid\.\d+\.(weight|bias)|output_pyramid\.\d+\.[02]\.(weight|bias))$`)

// known fails for a tensor of the network that none of these is.
func (r *Reader) known(prefix string, names *regexp.Regexp) {
	for _, t := range r.Model.Tensors {
		name, ok := strings.CutPrefix(t.Name, prefix)
		if !ok || t.Name == model.ScheduleName || prefix == "" && strings.HasPrefix(name, model.VAEPrefix) {
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
	if u := c.UNet; u != nil {
		c.LowChannels = u.LowChannels
		c.Channels = u.InChannels
		if u.InChannels -= u.LowChannels; u.InChannels < 1 {
			r.Fail("a UNet of %d input channels cannot have %d of a small picture", c.Channels, u.LowChannels)
		}
		c.Channels = u.InChannels
		if u.Heads > 0 {
			u.HeadDim = 0
		}
	}
	out := c.Channels
	if c.LearnedVariance {
		out *= 2
	}
	if r.err == nil && !c.Classifier && c.UNet != nil && c.UNet.OutChannels != out {
		r.Fail("a UNet with %d input and %d output channels: %w", c.UNet.InChannels, c.UNet.OutChannels, model.ErrUnrecognized)
	}
	if r.err == nil && c.NullClass >= c.UNetClasses() {
		r.Fail("the class that stands for none must be below %d, got %d", c.UNetClasses(), c.NullClass)
	}
	if r.err == nil && c.Process.Kind == ProcessDDPM && (c.Process.Steps < 1 || c.Process.Betas == "") {
		r.Fail("a DDPM needs a schedule of steps: %ssteps must be at least 1, got %d, and %sbetas a schedule", pixelKey, c.Process.Steps, pixelKey)
	}
	r.Model.NativeSize = c.Size
	if c.VAE != nil {
		r.Model.NativeSize *= c.VAE.Factor()
	}
	r.Model.Prediction = c.Process.Prediction
}

// UNetClasses is the number of rows of the network's table of classes.
func (c *Pixel) UNetClasses() int {
	switch {
	case c.DiT != nil:
		return c.DiT.Classes
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
	before := *d.Model // of which reading sets more
	r := &Reader{Model: d.Model}
	c, _ := readPixelUNet(r).(*Pixel)
	*d.Model = before
	if r.err != nil || c == nil {
		d.Property("classes", classes)
		d.Property("in_channels", d.Dim("input_blocks.0.0.weight", 1))
		d.Property("width", d.Dim("input_blocks.0.0.weight", 0))
		return
	}
	d.Property("classes", c.Classes)
	d.Property("size", c.Size)
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
