package convert

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
)

// Keys of metadata that win over what shapes tell: in GGUF files and in the
// metadata of safetensors files. The configuration of a diffusers folder is
// brought into the same form.
const (
	keyArch           = "general.architecture"
	keyPrediction     = "sdgo.prediction"
	keyModelSpec      = "modelspec.prediction_type"
	keyNativeSize     = "sdgo.native_size"
	keyGuidance       = "sdgo.guidance"
	keySampleSize     = "sdgo.unet.sample_size" // latent pixels
	keyTextHeads      = "sdgo.text.heads"
	keyText2Heads     = "sdgo.text2.heads"
	keyTextActivation = "sdgo.text.activation"
	keyTextEps        = "sdgo.text.eps"
	keyTextFinal      = "sdgo.text.final_layer"
	keyUNetHeads      = "sdgo.unet.heads"
	keyUNetHeadDim    = "sdgo.unet.head_dim"
	keyUNetHeadList   = "sdgo.unet.heads_by_level"
	keyScaleFactor    = "sdgo.vae.scale_factor"
	keyMerges         = "sdgo.tokenizer.merges"
	keySourceHash     = "sdgo.source.sha256"
	keyGGUFMerges     = "tokenizer.ggml.merges"
)

// maxLevels bounds the resolutions of a network; Stable Diffusion has 4.
const maxLevels = 8

// detector reads a model's configuration off its tensors. It keeps the first
// thing that is wrong.
type detector struct {
	m   *Model
	err error
}

func (m *Model) detect() error {
	d := &detector{m: m}
	if !isDiffusion(m.Arch) {
		return nil
	}
	// Each step relies on what those before it found.
	for _, step := range []func(){d.unet, d.vae, d.texts, d.family, d.overrides, d.schedule} {
		if step(); d.err != nil {
			return d.err
		}
	}
	return m.complete()
}

func (d *detector) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

func (d *detector) has(name string) bool { _, ok := d.m.index[name]; return ok }

// shape returns the shape of a tensor that must have `dims` dimensions, not
// counting ones at the end.
func (d *detector) shape(name string, dims int) []int {
	s := []int{1, 1, 1, 1}
	t, ok := d.m.Tensor(name)
	if !ok {
		d.fail("tensor %q is missing: %w", name, ErrUnrecognized)
		return s
	}
	for i, v := range t.Shape {
		if i >= dims && v != 1 || v > math.MaxInt32 {
			d.fail("tensor %q has the shape %v; %d dimensions are wanted", name, t.Shape, dims)
			return s
		}
		s[i] = int(v)
	}
	return s
}

// count is the number of the first n for which no tensor has the name.
func (d *detector) count(format string) int {
	n := 0
	for n < 1000 && d.has(fmt.Sprintf(format, n)) {
		n++
	}
	return n
}

func (d *detector) unet() {
	c := &d.m.UNet
	p := UNetPrefix
	if d.has(p + "label_emb.0.0.weight") {
		c.ADMChannels = d.shape(p+"label_emb.0.0.weight", 2)[1]
	}
	in := d.shape(p+"input_blocks.0.0.weight", 4)
	c.ModelChannels, c.InChannels = in[0], in[1]
	c.OutChannels = d.shape(p+"out.2.weight", 4)[0]

	blocks := 0
	for n := 1; d.err == nil; n++ {
		name := fmt.Sprintf("%sinput_blocks.%d.", p, n)
		down, res := d.has(name+"0.op.weight"), d.has(name+"0.in_layers.2.weight")
		if !down && !res {
			break
		}
		if res {
			d.block(name, blocks)
			blocks++
			continue
		}
		d.level(blocks)
		blocks = 0
	}
	d.level(blocks)
	if len(c.ChannelMult) > maxLevels {
		d.fail("a UNet with %d levels, at most %d are supported", len(c.ChannelMult), maxLevels)
	}
	c.MiddleDepth = d.count(p + "middle_block.1.transformer_blocks.%d.norm1.weight")
	if d.err == nil && c.ContextDim == 0 {
		d.fail("a UNet without cross-attention: %w", ErrUnrecognized)
	}
	switch {
	case c.InChannels == c.OutChannels:
	case c.InChannels == 2*c.OutChannels+1:
		d.m.Variant = "inpaint"
	case c.InChannels == 2*c.OutChannels:
		d.m.Variant = "edit"
	default:
		d.fail("a UNet with %d input and %d output channels: %w", c.InChannels, c.OutChannels, ErrUnrecognized)
	}
}

// block notes a residual block of the way down: its width and its depth of
// attention, which all blocks of a level share.
func (d *detector) block(name string, index int) {
	c := &d.m.UNet
	width := d.shape(name+"0.in_layers.2.weight", 4)[0]
	depth := d.count(name + "1.transformer_blocks.%d.norm1.weight")
	if c.ModelChannels == 0 || width%c.ModelChannels != 0 {
		d.fail("tensor %q: %d channels, a multiple of the first level's %d is wanted", name+"0.in_layers.2.weight", width, c.ModelChannels)
		return
	}
	if depth > 0 {
		c.ContextDim = d.shape(name+"1.transformer_blocks.0.attn2.to_k.weight", 2)[1]
		t, _ := d.m.Tensor(name + "1.proj_in.weight")
		c.LinearProjection = len(t.Shape) == 2
	}
	mult := width / c.ModelChannels
	if index == 0 {
		c.ChannelMult, c.TransformerDepth = append(c.ChannelMult, mult), append(c.TransformerDepth, depth)
		return
	}
	last := len(c.ChannelMult) - 1
	if c.ChannelMult[last] != mult || c.TransformerDepth[last] != depth {
		d.fail("%s: blocks of one level differ in width or depth: %w", strings.TrimSuffix(name, "."), ErrUnrecognized)
	}
}

// level ends a level of the way down that had n blocks.
func (d *detector) level(n int) {
	c := &d.m.UNet
	if c.NumResBlocks == 0 {
		c.NumResBlocks = n
	}
	if d.err == nil && (n == 0 || n != c.NumResBlocks) {
		d.fail("a UNet whose levels have %d and %d blocks: %w", c.NumResBlocks, n, ErrUnrecognized)
	}
}

func (d *detector) vae() {
	c := &d.m.VAE
	p := VAEPrefix + "decoder."
	in, out := d.shape(p+"conv_in.weight", 4), d.shape(p+"conv_out.weight", 4)
	c.ZChannels, c.ImageChannels, c.Channels = in[1], out[0], out[1]
	levels := d.count(p + "up.%d.block.0.conv1.weight")
	if d.err == nil && (levels == 0 || levels > maxLevels || c.Channels == 0) {
		d.fail("an autoencoder with %d levels of %d channels: %w", levels, c.Channels, ErrUnrecognized)
		return
	}
	for level := range levels {
		name := fmt.Sprintf("%sup.%d.block.0.conv1.weight", p, level)
		width := d.shape(name, 4)[0]
		if c.Channels == 0 || width%c.Channels != 0 {
			d.fail("tensor %q: %d channels, a multiple of %d is wanted", name, width, c.Channels)
			return
		}
		c.ChannelMult = append(c.ChannelMult, width/c.Channels)
	}
	c.NumResBlocks = d.count(p+"up.0.block.%d.conv1.weight") - 1
	c.EmbedDim = c.ZChannels
	if d.has(VAEPrefix + "post_quant_conv.weight") {
		c.QuantConv = true
		c.EmbedDim = d.shape(VAEPrefix+"post_quant_conv.weight", 4)[1]
	}
	c.HasEncoder = d.has(VAEPrefix + "encoder.conv_in.weight")
	c.ScaleFactor = 0.18215 // of Stable Diffusion 1 and 2; family knows of others
	if d.err == nil && c.EmbedDim != d.m.UNet.OutChannels {
		d.fail("an autoencoder with %d latent channels and a UNet with %d do not belong together", c.EmbedDim, d.m.UNet.OutChannels)
	}
}

func (d *detector) texts() {
	m := d.m
	width := 0
	switch m.Arch {
	case SDXL:
		m.Text, m.Text2 = d.text(text1Prefix), d.text(text2Prefix)
		width = m.Text.Width + m.Text2.Width
	case SDXLRefiner:
		m.Text = d.text(text1Prefix)
		width = m.Text.Width
	default:
		m.Text = d.text(TextPrefix)
		width = m.Text.Width
	}
	if d.err == nil && width != m.UNet.ContextDim {
		d.fail("a text encoder of width %d and a UNet that wants %d do not belong together", width, m.UNet.ContextDim)
	}
	if d.err == nil && m.Text2.Layers > 0 && m.Text2.ContextLength != m.Text.ContextLength {
		d.fail("text encoders of %d and %d tokens do not belong together", m.Text.ContextLength, m.Text2.ContextLength)
	}
}

func (d *detector) text(prefix string) (c TextConfig) {
	c.Prefix = prefix
	p := prefix + "text_model."
	table := d.shape(p+"embeddings.token_embedding.weight", 2)
	c.Vocabulary, c.Width = table[0], table[1]
	c.ContextLength = d.shape(p+"embeddings.position_embedding.weight", 2)[0]
	c.Layers = d.count(p + "encoder.layers.%d.layer_norm1.weight")
	if d.err == nil && c.Layers == 0 {
		d.fail("a text encoder without layers: %w", ErrUnrecognized)
		return c
	}
	c.FFN = d.shape(p+"encoder.layers.0.mlp.fc1.weight", 2)[0]
	c.Heads = max(1, c.Width/64) // in every CLIP model
	c.FinalLayer, c.ClipSkip, c.Eps = c.Layers, 1, 1e-5
	c.Activation = "quick_gelu"
	d.projection(&c)
	return c
}

// projection finds the matrix of a text encoder's pooled output.
func (d *detector) projection(c *TextConfig) {
	in := 0 // the dimension of the encoder's width
	switch {
	case d.has(c.Prefix + openCLIPProjection):
		c.Projection = c.Prefix + openCLIPProjection
	case d.has(c.Prefix + projection):
		c.Projection, c.ProjectionLinear, in = c.Prefix+projection, true, 1
	default:
		return
	}
	shape := d.shape(c.Projection, 2)
	if c.Pooled = shape[1-in]; d.err == nil && shape[in] != c.Width {
		d.fail("tensor %q has the shape %v; one of a text encoder of width %d is wanted", c.Projection, shape[:2], c.Width)
	}
}

// family sets what is the same within a family and stands in no shape.
func (d *detector) family() {
	m := d.m
	m.NativeSize = 512
	second := func(c *TextConfig) { c.FinalLayer, c.ClipSkip = max(1, c.Layers-1), 2 }
	switch {
	case m.Arch == SDXL || m.Arch == SDXLRefiner:
		m.NativeSize, m.Prediction, m.UNet.HeadDim, m.VAE.ScaleFactor = 1024, "epsilon", 64, 0.13025
		for _, c := range []*TextConfig{&m.Text, &m.Text2} {
			second(c)
			c.NoFinalNorm = true
		}
		m.Text2.Activation = "gelu"
		if m.Arch == SDXLRefiner {
			m.Text.Activation = "gelu"
		} else if m.Text2.Layers == 0 {
			d.fail("Stable Diffusion XL without its second text encoder")
		}
	case m.Metadata[keyArch] == SD2 || m.Metadata[keyArch] != SD1 && m.UNet.LinearProjection:
		m.Arch, m.What = SD2, "Stable Diffusion 2.x"
		m.UNet.HeadDim = 64
		m.Text.Activation, m.Text.ClipSkip = "gelu", 2
		// The diffusers library drops OpenCLIP's last layer, which is never used;
		// the original files keep it.
		if m.isOpenCLIP() || m.Text.Layers == 24 {
			second(&m.Text)
		}
	default:
		m.Arch, m.What, m.Prediction, m.UNet.Heads = SD1, "Stable Diffusion 1.x", "epsilon", 8
	}
	m.What += map[string]string{"inpaint": " for inpainting", "edit": " for editing pictures"}[m.Variant]
}

// isOpenCLIP tells files in OpenCLIP's layout by the training head that they
// alone carry.
func (m *Model) isOpenCLIP() bool {
	for _, name := range m.Ignored {
		if strings.HasPrefix(name, "cond_stage_model.model.") {
			return true
		}
	}
	return false
}

// overrides applies what the file says about itself.
func (d *detector) overrides() {
	m := d.m
	d.number(keyTextHeads, 1, 1<<10, func(v float64) { m.Text.Heads = int(v) })
	d.number(keyTextEps, 1e-12, 1, func(v float64) { m.Text.Eps = v })
	if m.Text2.Layers > 0 {
		d.number(keyText2Heads, 1, 1<<10, func(v float64) { m.Text2.Heads = int(v) })
	}
	d.number(keyTextFinal, 1, float64(m.Text.Layers), func(v float64) { m.Text.FinalLayer = int(v) })
	d.number(keyUNetHeads, 1, 1<<10, func(v float64) { m.UNet.Heads, m.UNet.HeadDim = int(v), 0 })
	d.number(keyUNetHeadDim, 1, 1<<12, func(v float64) { m.UNet.Heads, m.UNet.HeadDim = 0, int(v) })
	d.number(keyScaleFactor, 1e-6, 1e6, func(v float64) { m.VAE.ScaleFactor = float32(v) })
	const largest = 8192 // package sd draws none larger
	d.number(keySampleSize, 1, largest/8, func(v float64) {
		n := min(int(v)*m.VAE.Factor(), largest)
		m.NativeSize = max(n-n%8, 8) // as other autoencoders' pictures may be, and sizes here are not
	})
	d.number(keyNativeSize, 8, largest, func(v float64) {
		if m.NativeSize = int(v); math.Mod(v, 8) != 0 {
			d.fail("%s: %g, a multiple of 8 wanted", keyNativeSize, v)
		}
	})
	d.number(keyGuidance, math.SmallestNonzeroFloat32, 1000, func(v float64) { m.Guidance = v })
	d.headList()
	switch act := m.Metadata[keyTextActivation]; act {
	case "":
	case "quick_gelu", "gelu":
		m.Text.Activation = act
	default:
		d.fail("text encoder: the activation %.20q is not supported; quick_gelu and gelu are", act)
	}
	for _, key := range []string{keyModelSpec, keyPrediction} {
		switch p := m.Metadata[key]; p {
		case "":
		case "epsilon", "v":
			m.Prediction = p
		default:
			d.fail("%s: the prediction type %.20q is not supported; epsilon and v are", key, p)
		}
	}
	for _, key := range []string{keyMerges, keyGGUFMerges} {
		if text := m.Metadata[key]; text != "" {
			m.Merges = mergeList(text)
			delete(m.Metadata, key) // thousands of lines
		}
	}
}

// number applies a setting, which must be from low to high.
func (d *detector) number(key string, low, high float64, set func(float64)) {
	text, ok := d.m.Metadata[key]
	if !ok {
		return
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= low && v <= high) {
		d.fail("%s: %.20q, a number from %g to %g wanted", key, text, low, high)
		return
	}
	set(v)
}

// headList reads the numbers of heads that diffusers lists for each level:
// either they are one number, or the heads have one width.
func (d *detector) headList() {
	c := &d.m.UNet
	text, ok := d.m.Metadata[keyUNetHeadList]
	if !ok || d.err != nil {
		return
	}
	heads, err := intList(text)
	if err != nil || len(heads) != len(c.ChannelMult) || heads[0] < 1 {
		d.fail("unet: heads %.40q for %d levels; a positive number for each is wanted", text, len(c.ChannelMult))
		return
	}
	same, width := true, c.ModelChannels*c.ChannelMult[0]/heads[0]
	for i, h := range heads {
		same = same && h == heads[0]
		if h*width != c.ModelChannels*c.ChannelMult[i] {
			width = 0
		}
	}
	switch {
	case same:
		c.Heads, c.HeadDim = heads[0], 0
	case width > 0:
		c.Heads, c.HeadDim = 0, width
	default:
		d.fail("unet: heads %s at widths that are no multiple of them: %w", text, ErrUnrecognized)
	}
}

// schedule takes the noise schedule that a file carries.
func (d *detector) schedule() {
	t, ok := d.m.Tensor(scheduleName)
	if !ok {
		return
	}
	if t.Type != dtype.F32 || len(t.Shape) != 1 || t.Shape[0] < 2 || t.Shape[0] > 1<<16 {
		d.fail("tensor %q is %s of shape %v; 1000 f32 numbers are wanted", scheduleName, t.Type, t.Shape)
		return
	}
	values := make([]float32, t.Shape[0])
	if err := t.Float32(values); err != nil {
		d.fail("%w", err)
		return
	}
	last := float32(1)
	for i, v := range values {
		if !(v > 0 && v < last) {
			d.fail("tensor %q: element %d is %g; numbers that fall from 1 to 0 are wanted", scheduleName, i, v)
			return
		}
		last = v
		d.m.AlphasCumprod = append(d.m.AlphasCumprod, float64(v))
	}
}
