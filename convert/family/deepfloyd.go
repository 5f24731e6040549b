package family

import (
	"cmp"
	"maps"
	"math"
	"regexp"
	"slices"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// DeepFloyd is DeepFloyd IF's stages on pixels: the first draws 64x64 pixels from a text, the second enlarges them
// four times (Saharia et al. 2022, arXiv:2205.11487, as deep-floyd/IF has it).
const DeepFloyd = "deepfloyd_if"

var deepFloyd = &Family{
	Name: DeepFloyd,
	Looks: []Look{
		{"DeepFloyd IF", []string{"*encoder_pooling.1.positional_embedding", "*input_blocks.0.0.weight"}},
		{"DeepFloyd IF in the diffusers library's layout", []string{"add_embedding.pool.positional_embedding", "conv_in.weight", "down_blocks.0.resnets.0.time_emb_proj.weight"}},
	},
	Runs:     true,
	Rewrite:  rewriteDeepFloyd,
	Says:     deepFloydSays,
	Settings: deepFloydSettings,
	Read:     readDeepFloyd,
	Metadata: func(m *model.Model, add func(key string, value any)) {
		if c, ok := m.Config.(*DeepFloydModel); ok {
			c.describe(m, c.own(), add)
			describeTokenizers(m, add)
		}
	},
	T5Tokenizer: "tokenizer",
	Complete:    completeT5,
	Properties: func(d *Describer) {
		d.Property("width", max(d.Dim("input_blocks.0.0.weight", 0), d.Dim("conv_in.weight", 0)))
		if d.Has("aug_proj.0.weight") || d.Has("class_embedding.linear_1.weight") {
			d.Say("stage II: enlarges pictures")
		} else {
			d.Say("stage I")
		}
	},
	Groups: transformerGroups,
	Role:   Denoiser,
	Slots:  func(Given) Slots { return Slots{Denoiser: model.UNetPrefix, T5: model.T5Prefix} },
}

// DeepFloydModel is the configuration of a stage of DeepFloyd IF. Layers of T5 are 0 where the file has none.
type DeepFloydModel struct {
	Pixel
	T5 T5Config

	// What is predicted of the clean picture is clipped at the quantile Quantile of its absolute values, which is kept
	// within 1 and Largest, and divided by it (Saharia et al. 2022, section 2.3).
	Quantile, Largest float64
}

// Traits of the published models that no shape tells.
const (
	deepFloydQuantile     = 0.95
	deepFloydFirstLargest = 1.5
	deepFloydNextLargest  = 1
	deepFloydFirstSide    = 64
	deepFloydNextSide     = 256
	deepFloydSkipScale    = 0.7071 // of stage II, as its authors round it
)

// own are the numbers that no shape tells, beside those of models on pixels.
func (c *DeepFloydModel) own() []number {
	return append(c.UNet.numbers(), whole("text_pool_heads", 1, 1<<10, &c.UNet.Text.PoolHeads),
		fraction("threshold_quantile", 0, 1, &c.Quantile), fraction("threshold_largest", 1, 1e6, &c.Largest))
}

// Carry keeps what is read off a whole file when one of its networks is replaced.
func (c *DeepFloydModel) Carry(map[string]string) {}

// Networks lists the networks, for people and programs to read.
func (c *DeepFloydModel) Networks() []model.Network {
	return withTexts(c.Pixel.Networks(), c.T5, VAEConfig{})
}

func rewriteDeepFloyd(all []model.Stored) ([]model.Stored, error) {
	if layout.Contains(all, "input_blocks.") {
		return all, nil
	}
	return layout.DeepFloyd(all)
}

// deepFloydSays is what the names of the diffusers library's layout say: layers of queries, keys and values are in
// pieces there.
func deepFloydSays(all []model.Stored) map[string]string {
	if layout.Contains(all, "add_embedding.pool.") {
		return map[string]string{pixelKey + "qkv_by_head": "0"}
	}
	return nil
}

func readDeepFloyd(r *Reader) any {
	prefix := ""
	if r.Has(model.UNetPrefix + "input_blocks.0.0.weight") {
		prefix = model.UNetPrefix
	}
	tokenizers(r)
	u := r.PixelUNet(prefix)
	if r.err == nil && u.Text == nil {
		r.Fail("tensor %q is missing: %w", prefix+"encoder_pooling.0.weight", model.ErrUnrecognized)
	}
	if r.err != nil {
		return nil
	}
	u.HeadDim, u.QKVByHead = deepFloydHead, true
	c := &DeepFloydModel{Quantile: deepFloydQuantile, Largest: deepFloydFirstLargest, T5: t5Of(r, model.T5Prefix), Pixel: Pixel{
		Name: DeepFloyd, Net: "pixel_unet", Prefix: prefix, UNet: u, NullClass: -1, Multiple: 1 << (len(u.Channels) - 1), Size: deepFloydFirstSide,
		Channels: u.InChannels - u.LowChannels, LowChannels: u.LowChannels, LearnedVariance: u.OutChannels == 2*(u.InChannels-u.LowChannels),
		Process: Process{Kind: ProcessDDPM, Betas: "cosine", Steps: 1000, Prediction: "epsilon", Variance: "learned_range"},
	}}
	if u.Text.NoiseLevel {
		c.Largest, c.Size, u.SkipScale = deepFloydNextLargest, deepFloydNextSide, deepFloydSkipScale
	}
	c.apply(r, c.own())
	c.finish(r)
	knownPixel(r, prefix, deepFloydName, model.T5Prefix)
	r.betas()
	r.alphas()
	c.check(r)
	return c
}

// check fails for what does not go together.
func (c *DeepFloydModel) check(r *Reader) {
	u, p := c.UNet, &c.Process
	switch {
	case r.err != nil:
	case u.Text.NoiseLevel != (c.LowChannels > 0):
		r.Fail("a UNet with %d input and %d output channels: a small picture must have a noise level (aug_proj), and no other picture: %w",
			u.InChannels+c.LowChannels, u.OutChannels, model.ErrUnrecognized)
	case c.Channels != 3:
		r.Fail("a UNet for pictures of %d channels, which must be 3: %w", c.Channels, model.ErrUnrecognized)
	case p.Kind != ProcessDDPM || p.Prediction != "epsilon":
		r.Fail("%sprocess and %sprediction must be ddpm and epsilon, got %.20s and %.20s", pixelKey, pixelKey, p.Kind, p.Prediction)
	case c.T5.Layers > 0 && c.T5.Width != u.Text.Width:
		r.Fail("a T5 text encoder of width %d does not fit a UNet that needs %d", c.T5.Width, u.Text.Width)
	}
}

// deepFloydName is what tensors of such a UNet are called, as pixelName is of others.
var deepFloydName = regexp.MustCompile(`^((time_embed|aug_proj)\.[02]\.(weight|bias)|encoder_proj\.(weight|bias)|` +
	`encoder_pooling\.([023]\.(weight|bias)|1\.(positional_embedding|[qkv]_proj\.(weight|bias)))|` +
	`(input_blocks\.\d+|middle_block|output_blocks\.\d+)\.\d+\.((in_layers\.[02]|emb_layers\.1|out_layers\.[03]|skip_connection|norm|norm_encoder|qkv|encoder_kv|proj_out)\.)?(weight|bias)|` +
	`out\.[02]\.(weight|bias))$`)

const inNoising place = "image_noising_scheduler/scheduler_config.json"

// deepFloydSettings reads the configuration files of a folder.
func deepFloydSettings(json func(path string, to any) error) (said map[string]string, warnings []string, err error) {
	return readEach(map[place]func(c *config) []string{
		inUNet: deepFloydUNet, inFirstText: t5File,
		inScheduler: func(c *config) []string {
			c.sayPixel("threshold_quantile", c.orNumber("dynamic_thresholding_ratio", 0, 1, 0.995))
			c.sayPixel("threshold_largest", c.orNumber("sample_max_value", 1, 1e6, 1))
			return c.pixelScheduler(deepFloydSchedulerMarks)
		},
		inNoising: func(c *config) []string {
			return expected(c, []mark{
				{name: "beta_schedule", values: []any{"squaredcos_cap_v2"}, why: "all published models have this"},
				{name: "num_train_timesteps", values: []any{1000.0}, why: "all published models have this"},
			})
		},
	})(json)
}

// deepFloydUNet reads the fields of the UNet.
func deepFloydUNet(c *config) []string {
	c.marks = slices.Concat(deepFloydMarks, marks)
	unknown := c.check("UNet2DConditionModel", "UNet2DConditionModel")
	if n, ok := c.number("sample_size", 1, largestSide); ok {
		c.sayPixel("size", n)
	}
	c.sayPixel("heads", 0)
	c.sayPixel("head_dim", c.orNumber("attention_head_dim", 1, 1<<13, 8)) // the width of a head, in these blocks
	c.sayPixel("text_pool_heads", c.orNumber("addition_embed_type_num_heads", 1, 1<<10, 64))
	c.sayPixel("norm_groups", c.orNumber("norm_num_groups", 1, 1<<10, 32))
	eps := c.orNumber("norm_eps", 1e-12, 1, 1e-5)
	c.sayPixel("norm_eps", eps)
	scale := c.orNumber("resnet_out_scale_factor", 1, 1e3, 1)
	if c.orNumber("mid_block_scale_factor", 1, 1e3, 1) != scale {
		c.fail("mid_block_scale_factor", "must be resnet_out_scale_factor, %g", scale)
	}
	c.sayPixel("skip_scale", math.Round(1e12/scale)/1e12)
	return unknown
}

// deepFloydMarks come before those of marks.
var deepFloydMarks = func() (all []mark) {
	fixed := map[string][]any{
		"act_fn": {"gelu"}, "down_block_types": {"ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"},
		"up_block_types": {"SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"}, "mid_block_type": {"UNetMidBlock2DSimpleCrossAttn"},
		"resnet_time_scale_shift": {"scale_shift"}, "cross_attention_norm": {"group_norm"}, "addition_embed_type": {"text"},
		"class_embed_type": {nil, "timestep"}, "time_embedding_act_fn": {nil, "gelu"}, "encoder_hid_dim_type": {nil, "text_proj"},
		"flip_sin_to_cos": {true}, "freq_shift": {0.0}, "time_embedding_type": {"positional"}, "center_input_sample": {false}, "num_attention_heads": {nil},
	}
	for _, name := range slices.Sorted(maps.Keys(fixed)) {
		all = append(all, mark{in: inUNet, name: name, verdict: only, values: fixed[name], why: "DeepFloyd IF's UNets have this"})
	}
	for _, name := range []string{"sample_size", "attention_head_dim", "addition_embed_type_num_heads", "norm_num_groups", "norm_eps", "resnet_out_scale_factor", "mid_block_scale_factor"} {
		all = append(all, mark{in: inUNet, name: name, verdict: followed})
	}
	for _, name := range []string{"only_cross_attention", "mid_block_only_cross_attention", "encoder_hid_dim", "layers_per_block", "cross_attention_dim", "time_embedding_dim"} {
		all = append(all, mark{in: inUNet, name: name, verdict: shaped})
	}
	return append(all, mark{in: inUNet, name: "resnet_skip_time_act", verdict: harmless, why: "the embedding goes through the activation once or in each block, which is the same"})
}()

// deepFloydSchedulerMarks come before those of models on pixels.
var deepFloydSchedulerMarks = []mark{
	{in: inScheduler, name: "thresholding", verdict: only, values: []any{true}, why: "DeepFloyd IF's predictions are clipped by their quantiles"},
	{in: inScheduler, name: "dynamic_thresholding_ratio", verdict: followed},
	{in: inScheduler, name: "sample_max_value", verdict: followed},
	{in: inScheduler, name: "clip_sample", verdict: harmless, why: "thresholding is in its place"},
	{in: inScheduler, name: "variance_type", verdict: only, values: []any{"learned_range"}, why: "the networks predict a variance"},
}

// Usual is what the library's pipelines of these models take.
func (c *DeepFloydModel) Usual() (sampler, schedule string, steps int, guidance float64) {
	schedule = cmp.Or(c.Schedule, "leading_zero")
	if c.LowChannels > 0 {
		return "ddpm", schedule, 50, 4
	}
	return "ddpm", schedule, 100, 7
}
