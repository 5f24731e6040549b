package family

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// QwenImage is Qwen-Image, and Qwen-Image-Edit, whose shapes are the same.
const QwenImage = "qwen_image"

var qwenImage = &Family{
	Name:          QwenImage,
	Looks:         []Look{{"Qwen-Image", []string{"*transformer_blocks.0.img_mod.1.weight", "*txt_norm.weight"}}},
	Rewrite:       originalTransformer(nil, "txt_norm.weight", ""), // all layouts have the diffusers library's names
	Runs:          true,
	Read:          func(r *Reader) any { return readQwenImage(r) },
	Settings:      qwenImageSettings,
	Metadata:      qwenImageMetadata,
	QwenTokenizer: "tokenizer",
	Groups:        transformerGroups,
	Role:          Denoiser,
	Properties:    qwenImageProperties,
	Slots: func(Given) Slots {
		return Slots{Denoiser: model.UNetPrefix, Autoencoder: model.VAEPrefix, LLM: model.QwenVLPrefix, LLMVision: model.QwenVLPrefix + towerPrefix}
	},
	Precise: []string{"img_in.", "txt_in.", "time_text_embed.", "norm_out.linear."},
}

// stillMark is the tensor by which ComfyUI's files of Qwen-Image-Edit-2511 say that reference pictures have time 0.
const stillMark = "__index_timestep_zero__"

// Metadata that no shape tells: how pictures are named in the prompt of a model for editing, and whether they have time 0.
const (
	keyQwenEdit  = "sdgo.qwen_image.edit"
	keyQwenStill = "sdgo.qwen_image.zero_cond_t"
)

// The ways in which a prompt of Qwen-Image-Edit names pictures: one, or several with numbers.
const (
	QwenEditOne     = "one"     // Qwen-Image-Edit
	QwenEditSeveral = "several" // Qwen-Image-Edit-2509 and later
)

func qwenImageProperties(d *Describer) {
	d.Property("width", d.Dim("img_in.weight", 0))
	d.Property("blocks", d.Blocks("transformer_blocks."))
	if d.Has(stillMark) {
		d.Say("Edit-2511")
	}
}

func qwenImageMetadata(m *model.Model, add func(key string, value any)) {
	describeTokenizers(m, add)
	c, ok := m.Config.(*QwenImageConfig)
	if !ok {
		return
	}
	addFlow(c.Flow, add)
	addNative(m, add)
	if c.Edit != "" {
		add(keyQwenEdit, c.Edit)
	}
	if c.StillReference {
		add(keyQwenStill, "true")
	}
	if c.Vision != nil {
		c.Vision.describe(add)
	}
	if c.VAE != nil {
		c.VAE.describe(add)
	}
}

// qwenImageMarks are the fields that QwenImageTransformer2DModel reads.
var qwenImageMarks = []mark{
	{in: inDenoiserFolder, name: "patch_size", verdict: only, values: []any{2.0}, why: "tokens are squares of two by two"},
	{in: inDenoiserFolder, name: "in_channels", verdict: shaped},
	{in: inDenoiserFolder, name: "out_channels", verdict: shaped},
	{in: inDenoiserFolder, name: "num_layers", verdict: shaped},
	{in: inDenoiserFolder, name: "attention_head_dim", verdict: shaped},
	{in: inDenoiserFolder, name: "num_attention_heads", verdict: shaped},
	{in: inDenoiserFolder, name: "joint_attention_dim", verdict: shaped},
	{in: inDenoiserFolder, name: "pooled_projection_dim", verdict: harmless, why: "older files have it; nothing reads it"},
	{in: inDenoiserFolder, name: "guidance_embeds", verdict: only, values: []any{false}, why: "no published model has guidance for an input"},
	{in: inDenoiserFolder, name: "axes_dims_rope", verdict: harmless, why: "an eighth and twice seven sixteenths of a head, which no other file has"},
	{in: inDenoiserFolder, name: "zero_cond_t", verdict: followed},
	{in: inDenoiserFolder, name: "use_additional_t_cond", verdict: only, values: []any{false}, why: "that is Qwen-Image-Layered"},
	{in: inDenoiserFolder, name: "use_layer3d_rope", verdict: only, values: []any{false}, why: "that is Qwen-Image-Layered"},
}

// qwenImageSettings reads the configuration files of a folder. What the model is for is told by the pipeline.
func qwenImageSettings(json func(path string, to any) error) (said map[string]string, warnings []string, err error) {
	said, warnings, err = flowFiles("QwenImageTransformer2DModel", qwenImageMarks, func(c *config) {
		if c.truth("zero_cond_t") {
			c.say(keyQwenStill, true)
		}
	}, map[place]func(c *config) []string{inQwen: qwenVLFile, inVAE: frameVAEFile, inProcessor: processorFile})(json)
	var index struct {
		Class string `json:"_class_name"`
	}
	if err == nil {
		err = json(string(inPipeline), &index)
	}
	switch {
	case err != nil:
	case strings.HasPrefix(index.Class, "QwenImageLayered"):
		err = fmt.Errorf("%s: _class_name: %s, which draws layers, is not supported", inPipeline, index.Class)
	case strings.HasPrefix(index.Class, "QwenImageEditPlus"):
		said[keyQwenEdit] = QwenEditSeveral
	case strings.HasPrefix(index.Class, "QwenImageEdit"):
		said[keyQwenEdit] = QwenEditOne
	}
	return said, warnings, err
}

// QwenImageConfig describes Qwen-Image's transformer, and what its file has beside it.
type QwenImageConfig struct {
	Prefix                                           string // of its tensors
	Channels, Patch, Width, Heads, Blocks, FFN, Text int

	StillReference bool   `json:",omitzero"` // tokens of reference pictures have time 0: Edit-2511
	Edit           string `json:",omitzero"` // how pictures are named in prompts; "" where the file does not say

	Flow      Flow
	LLM       *QwenConfig `json:",omitempty"` // the text encoder; nil without one
	LLMPrefix string      `json:",omitempty"`
	VAE       *VAEConfig  `json:",omitempty"` // nil without one

	Vision *QwenVisionConfig `json:",omitempty"` // with which the text encoder looks at pictures; nil without one
}

// VisionPrefix is what the names of the vision tower's tensors begin with.
func (c QwenImageConfig) VisionPrefix() string {
	return strings.TrimSuffix(c.LLMPrefix, "model.") + towerPrefix
}

// Params are the hyperparameters of the network "qwen_image".
func (c QwenImageConfig) Params() map[string][]float64 {
	return map[string][]float64{
		"channels": one(c.Channels), "patch": one(c.Patch), "width": one(c.Width), "heads": one(c.Heads), "blocks": one(c.Blocks), "ffn": one(c.FFN), "text": one(c.Text),
		"still_reference": flag(c.StillReference),
	}
}

// Axes are the widths, in channels of a head, that rotary embeddings turn by a token's picture, row and column.
func (c QwenImageConfig) Axes() []int {
	d := c.Width / c.Heads
	return []int{d / 8, d * 7 / 16, d * 7 / 16}
}

// Adaptable says what LoRAs change of the model.
func (c *QwenImageConfig) Adaptable() Adaptable {
	return Adaptable{Denoiser: c.Prefix, Text: strings.TrimSuffix(c.LLMPrefix, "model.")}
}

// Networks lists the networks, with their hyperparameters.
func (c *QwenImageConfig) Networks() []model.Network {
	own := *c
	own.LLM, own.VAE, own.Vision = nil, nil, nil
	all := networksWithQwen(c.LLM, own, fmt.Sprintf("%d double blocks of width %d, %d heads, %s%s", c.Blocks, c.Width, c.Heads, c.Flow.summary(), c.edits()), c.VAE)
	if c.Vision != nil {
		all = slices.Insert(all, 1, model.Network{Key: "vision", Name: "vision tower", Config: *c.Vision, Summary: c.Vision.summary()})
	}
	return all
}

// edits says of a summary that the model is one for editing, where its file does.
func (c QwenImageConfig) edits() string {
	switch {
	case c.Edit == QwenEditOne:
		return ", for editing one picture"
	case c.Edit == QwenEditSeveral || c.StillReference:
		return ", for editing several pictures"
	}
	return ""
}

func readQwenImage(r *Reader) *QwenImageConfig {
	c := &QwenImageConfig{Patch: 2, Prefix: denoiserPrefix(r, "txt_norm.weight")}
	tokenizers(r)
	p := c.Prefix
	in, text, head := r.Shape(p+"img_in.weight", 2), r.Shape(p+"txt_in.weight", 2), r.Shape(p+"transformer_blocks.0.attn.norm_q.weight", 1)[0]
	c.Width, c.Channels, c.Text = in[0], in[1]/(c.Patch*c.Patch), text[1]
	c.FFN = r.Shape(p+"transformer_blocks.0.img_mlp.net.0.proj.weight", 2)[0]
	c.Blocks = r.Count(escaped(p) + "transformer_blocks.%d.img_mod.1.weight")
	out := r.Shape(p+"proj_out.weight", 2)[0]
	switch {
	case r.err != nil:
	case r.Has(p + "time_text_embed.addition_t_embedding.weight"):
		r.Fail("Qwen-Image-Layered, which draws layers, is not supported: %w", model.ErrUnrecognized)
	case in[1]%(c.Patch*c.Patch) != 0 || out != in[1]:
		r.Fail("Qwen-Image's tokens must be squares of 2x2 latent pixels, as many numbers in as out, got %d and %d: %w", in[1], out, model.ErrUnrecognized)
	case head < 1 || c.Width%head != 0 || head%16 != 0:
		r.Fail("Qwen-Image's width must divide into heads of a multiple of 16 channels, got %d and %d: %w", c.Width, head, model.ErrUnrecognized)
	}
	if r.err != nil {
		return c
	}
	c.Heads = c.Width / head
	c.StillReference = r.Has(p+stillMark) || r.Model.Metadata[keyQwenStill] == "true"
	switch c.Edit = r.Model.Metadata[keyQwenEdit]; c.Edit {
	case "", QwenEditOne, QwenEditSeveral:
	default:
		r.Fail("%s must be %s or %s, got %.20q", keyQwenEdit, QwenEditOne, QwenEditSeveral, c.Edit)
	}
	c.Flow = flowOf(r, Flow{Shift: 1, Dynamic: &DynamicShift{0.5, 0.9, 256, 8192}, Terminal: 0.02})
	if c.LLMPrefix = qwenInOf(r); c.LLMPrefix != "" {
		c.LLM = readQwen(r, c.LLMPrefix)
		if r.err == nil && (c.LLM.Width != c.Text || !c.LLM.QKVBias) {
			r.Fail("Qwen-Image's text encoder must be a Qwen2.5-VL of width %d (7B), got %s of width %d: %w", c.Text, c.LLM.version(), c.LLM.Width, model.ErrUnrecognized)
		}
	}
	if r.err == nil && c.LLM != nil {
		c.Vision = readQwenVision(r, c.VisionPrefix(), c.LLM.Width)
	}
	c.VAE = frameVAEOf(r, c.Channels)
	readNative(r)
	return c
}
