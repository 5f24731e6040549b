package family

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sdgo/sdgo/convert/model"
)

// PixelUNetConfig describes a UNet without text: the network "pixel_unet" of the C++
// core, or "pixel_classifier" if Positions is not 0.
type PixelUNetConfig struct {
	InChannels, OutChannels int // InChannels without those of a low picture
	LowChannels             int

	Channels        []int  // of each level
	FirstChannels   int    // of the first convolution
	NumResBlocks    int    // of each level on the way down; one more on the way up
	ResBlocks       []int  `json:",omitempty"` // those of each level where they differ; then NumResBlocks is the most
	Attention       []bool // by level: after each residual block
	AttentionLast   bool   // on the way up only after a level's last block
	MiddleAttention bool

	// Heads at every level, or with Heads = 0 the width of one. QKVByHead says that the
	// rows of queries, keys and values are those of a head, then those of the next;
	// else all queries come first.
	Heads, HeadDim int
	QKVByHead      bool

	TimeChannels   int // sinusoids
	EmbedChannels  int
	TimeFourier    bool // learned frequencies
	TimeSinesFirst bool
	TimeShift      int // 1: the last frequency is 1/10000 itself
	TimeMLP        int // layers

	Classes     int  // rows of the table
	ClassValues bool // a class is a number
	ClassFirst  bool // it is added to the sinusoids

	ScaleShift     bool // the embedding scales and shifts
	ResampleBlocks bool // residual blocks change the size
	FIR            bool // by the filter [1, 3, 3, 1]
	ResampleSkip   bool // with a convolution in their skip
	PadEnd         bool // convolutions that halve pad on the right and bottom
	SkipScale      float64

	NormGroups, NormMinChannels int
	NormEps, AttentionNormEps   float64

	InputPyramid  int // 0, 1: input_skip, 2: residual
	OutputPyramid bool

	Positions, PoolHeads int // of a classifier

	Text *PixelTextConfig `json:",omitempty"` // nil of those that see no text
}

// PixelTextConfig is what a UNet on pixels has for a text (DeepFloyd IF).
type PixelTextConfig struct {
	Width, Channels int // of a token's state, and of what attention sees of it
	Projection      bool
	PoolHeads       int // of the attention that makes a vector of all states

	Only       []bool // by level: attention sees the text alone
	MiddleOnly bool

	GELU       bool // in place of SiLU, everywhere
	NoiseLevel bool // how much noise a small picture has is an input
}

// blocks is the number of residual blocks of a level on the way down.
func (c *PixelUNetConfig) blocks(level int) int {
	if c.ResBlocks != nil {
		return c.ResBlocks[level]
	}
	return c.NumResBlocks
}

// firstInput is the number of a level's first input block; that of the level after the last one is one more than there are.
func (c *PixelUNetConfig) firstInput(level int) int {
	n := 1
	for k := range level {
		n += c.blocks(k) + 1
	}
	return n
}

// Params are the hyperparameters of the network.
func (c *PixelUNetConfig) Params() map[string][]float64 {
	is := func(b bool) []float64 {
		if b {
			return []float64{1}
		}
		return []float64{0}
	}
	flags := func(list []bool) []float64 {
		all := make([]float64, len(list))
		for i, b := range list {
			all[i] = is(b)[0]
		}
		return all
	}
	blocks := one(c.NumResBlocks)
	if c.ResBlocks != nil {
		blocks = each(c.ResBlocks)
	}
	all := map[string][]float64{
		"in_channels": one(c.InChannels), "out_channels": one(c.OutChannels), "channels": each(c.Channels),
		"first_channels": one(c.FirstChannels), "num_res_blocks": blocks, "attention": flags(c.Attention),
		"middle_attention": is(c.MiddleAttention), "heads": one(c.Heads), "head_dim": one(c.HeadDim), "qkv_by_head": is(c.QKVByHead),
		"time_channels": one(c.TimeChannels), "embed_channels": one(c.EmbedChannels), "time_fourier": is(c.TimeFourier),
		"time_sines_first": is(c.TimeSinesFirst), "time_shift": one(c.TimeShift), "time_mlp": one(c.TimeMLP),
		"scale_shift": is(c.ScaleShift), "resample_blocks": is(c.ResampleBlocks), "fir": is(c.FIR), "resample_skip": is(c.ResampleSkip),
		"pad_end": is(c.PadEnd), "skip_scale": {c.SkipScale}, "norm_groups": one(c.NormGroups), "norm_min_channels": one(c.NormMinChannels),
		"norm_eps": {c.NormEps}, "attention_norm_eps": {c.AttentionNormEps},
	}
	if c.Positions > 0 {
		maps.Copy(all, map[string][]float64{"positions": one(c.Positions), "pool_heads": one(c.PoolHeads)})
		return all
	}
	maps.Copy(all, map[string][]float64{
		"low_channels": one(c.LowChannels), "attention_last": is(c.AttentionLast), "classes": one(c.Classes), "class_values": is(c.ClassValues),
		"class_first": is(c.ClassFirst), "input_pyramid": one(c.InputPyramid), "output_pyramid": is(c.OutputPyramid),
	})
	if t := c.Text; t != nil {
		maps.Copy(all, map[string][]float64{
			"text_width": one(t.Width), "text_channels": one(t.Channels), "text_projection": is(t.Projection), "text_pool_heads": one(t.PoolHeads),
			"text_only": flags(t.Only), "middle_text_only": is(t.MiddleOnly), "gelu": is(t.GELU), "noise_level": is(t.NoiseLevel),
		})
	}
	return all
}

func (c *PixelUNetConfig) summary() string {
	heads := fmt.Sprintf("%d heads", c.Heads)
	if c.Heads == 0 {
		heads = fmt.Sprintf("heads of %d", c.HeadDim)
	}
	blocks := fmt.Sprintf("%d", c.NumResBlocks)
	if c.ResBlocks != nil {
		blocks = fmt.Sprint(c.ResBlocks)
	}
	return fmt.Sprintf("channels %v, %s blocks a level, attention %v, %s", c.Channels, blocks, c.Attention, heads)
}

// numbers are those that no shape tells.
func (c *PixelUNetConfig) numbers() []number {
	return []number{
		whole("heads", 0, 1<<10, &c.Heads), whole("head_dim", 0, 1<<13, &c.HeadDim), truth("qkv_by_head", &c.QKVByHead),
		truth("time_sines_first", &c.TimeSinesFirst), whole("time_shift", 0, 1, &c.TimeShift),
		truth("fir", &c.FIR), truth("pad_end", &c.PadEnd), fraction("skip_scale", 1e-3, 1, &c.SkipScale),
		whole("norm_groups", 1, 1<<10, &c.NormGroups), whole("norm_min_channels", 1, 1<<10, &c.NormMinChannels),
		fraction("norm_eps", 1e-12, 1, &c.NormEps), fraction("attention_norm_eps", 1e-12, 1, &c.AttentionNormEps),
		whole("low_channels", 0, 256, &c.LowChannels),
	}
}

// pixelReader reads a UNet's sizes off its tensors' shapes, under guided diffusion's
// names.
type pixelReader struct {
	*Reader
	prefix string
	c      *PixelUNetConfig
}

// has reports whether the network has a tensor, whose name is made of the arguments.
func (r pixelReader) has(format string, args ...any) bool {
	return r.Has(r.prefix + fmt.Sprintf(format, args...))
}

func (r pixelReader) shape(dims int, format string, args ...any) []int {
	return r.Shape(r.prefix+fmt.Sprintf(format, args...), dims)
}

// PixelUNet reads the sizes of a UNet whose tensors' names begin with a prefix, but
// for what no shape tells.
func (r *Reader) PixelUNet(prefix string) *PixelUNetConfig {
	c := &PixelUNetConfig{SkipScale: 1, NormGroups: 32, NormMinChannels: 1, NormEps: 1e-5, AttentionNormEps: 1e-5, TimeMLP: 2}
	p := pixelReader{r, prefix, c}
	for _, step := range []func(){p.ends, p.counts, p.levels, p.embeddings, p.switches, p.text} {
		if step(); r.err != nil {
			return c
		}
	}
	return c
}

// ends reads the first and last layers.
func (r pixelReader) ends() {
	c := r.c
	first := r.shape(4, "input_blocks.0.0.weight")
	c.FirstChannels, c.InChannels = first[0], first[1]
	switch {
	case r.has("out.2.positional_embedding"):
		c.Positions = r.shape(2, "out.2.positional_embedding")[1] - 1
		c.OutChannels = r.shape(3, "out.2.c_proj.weight")[0]
	case r.has("output_pyramid.0.2.weight"):
		c.OutputPyramid = true
		c.OutChannels = r.shape(4, "output_pyramid.0.2.weight")[0]
	default:
		c.OutChannels = r.shape(4, "out.2.weight")[0]
	}
	if r.err == nil && (c.Positions < 0 || c.Positions > 1<<16) {
		r.Fail("a classifier must have 1 to %d positions, got %d", 1<<16, c.Positions)
	}
}

// maxPixelBlocks bounds the elements of the way down; guided diffusion's largest has 21.
const maxPixelBlocks = 256

// counts finds the number of levels, and of blocks in each: from where the way up
// gets larger; of a classifier, which has no such way, from a run of blocks with attention.
func (r pixelReader) counts() {
	c, inputs, blocks := r.c, 1, 0
	for inputs < maxPixelBlocks && (r.has("input_blocks.%d.0.in_layers.2.weight", inputs) || r.has("input_blocks.%d.0.op.weight", inputs)) {
		inputs++
	}
	if c.Positions > 0 {
		for n := 1; n < inputs; n++ {
			if r.has("input_blocks.%d.1.norm.weight", n) {
				blocks++
			} else if blocks > 0 {
				break
			}
		}
	} else if r.has("encoder_pooling.0.weight") {
		r.countsByLevel(inputs)
		return
	} else {
		for n := 0; n < inputs && blocks == 0; n++ {
			if r.enlarges(n) {
				blocks = n
			}
		}
		if blocks == 0 { // one level
			blocks = inputs - 1
		}
	}
	if blocks < 1 || inputs%(blocks+1) != 0 || inputs/(blocks+1) > maxLevels {
		r.Fail("a UNet with %d input blocks, which do not divide into levels of %d: %w", inputs, blocks, model.ErrUnrecognized)
		return
	}
	c.NumResBlocks = blocks
	c.Channels = make([]int, inputs/(blocks+1))
	c.Attention = make([]bool, len(c.Channels))
}

// countsByLevel finds the blocks of levels that differ in their numbers, off the way up, where each level but that of full
// resolution ends with what makes its image larger.
func (r pixelReader) countsByLevel(inputs int) {
	c := r.c
	var blocks []int // from the lowest resolution up
	from, all := 0, 0
	for n := range inputs {
		if r.enlarges(n) || n == inputs-1 {
			blocks = append(blocks, n-from)
			all, from = all+n-from+1, n+1
		}
	}
	slices.Reverse(blocks)
	if all != inputs || len(blocks) > maxLevels || slices.Min(blocks) < 1 {
		r.Fail("a UNet with %d input blocks, whose output blocks make levels of %v: %w", inputs, blocks, model.ErrUnrecognized)
		return
	}
	c.NumResBlocks = slices.Max(blocks)
	if slices.Min(blocks) != c.NumResBlocks {
		c.ResBlocks = blocks
	}
	c.Channels, c.Attention = make([]int, len(blocks)), make([]bool, len(blocks))
}

// enlarges reports whether an output block ends with what makes its image larger.
func (r pixelReader) enlarges(n int) bool {
	for _, layer := range []string{"1.conv", "2.conv", "1.in_layers.2", "2.in_layers.2"} {
		if r.has("output_blocks.%d.%s.weight", n, layer) {
			return true
		}
	}
	return false
}

func (r pixelReader) levels() {
	c := r.c
	for level := range c.Channels {
		for block := range c.blocks(level) {
			n := c.firstInput(level) + block
			out := r.shape(4, "input_blocks.%d.0.in_layers.2.weight", n)[0]
			attention := r.has("input_blocks.%d.1.qkv.weight", n)
			if block == 0 {
				c.Channels[level], c.Attention[level] = out, attention
			}
			if r.err == nil && (c.Channels[level] != out || c.Attention[level] != attention) {
				r.Fail("input_blocks.%d: blocks of one level differ: %w", n, model.ErrUnrecognized)
			}
		}
	}
	c.MiddleAttention = r.has("middle_block.1.qkv.weight")
	from := 0 // of a level's output blocks
	for level := len(c.Channels) - 1; level >= 0; level-- {
		if c.Attention[level] && c.Positions == 0 && !r.has("output_blocks.%d.1.qkv.weight", from) {
			c.AttentionLast = true
		}
		from += c.blocks(level) + 1
	}
}

// embeddings reads those of time and class.
func (r pixelReader) embeddings() {
	c := r.c
	first := r.shape(2, "time_embed.0.weight")
	c.EmbedChannels, c.TimeChannels = first[0], first[1]
	if !r.has("time_embed.2.weight") {
		c.TimeMLP = 1
	}
	c.TimeFourier = r.has("time_embed.frequencies")
	switch {
	case r.has("label_emb.weight"):
		table := r.shape(2, "label_emb.weight")
		c.Classes = table[0]
		c.ClassFirst = table[1] == c.TimeChannels && table[1] != c.EmbedChannels
		if r.err == nil && c.Positions > 0 {
			r.Fail("tensor %q is surplus: a classifier has no classes as an input", r.prefix+"label_emb.weight")
		}
	case r.has("label_emb.0.weight"):
		c.ClassValues = true
		if in := r.shape(2, "label_emb.0.weight")[1]; r.err == nil && in != 1 {
			r.Fail("tensor %q must take one number, got %d", r.prefix+"label_emb.0.weight", in)
		}
	}
}

func (r pixelReader) switches() {
	c := r.c
	c.ScaleShift = r.shape(2, "input_blocks.1.0.emb_layers.1.weight")[0] == 2*c.Channels[0]
	if len(c.Channels) > 1 {
		halves := c.firstInput(1) - 1
		c.ResampleBlocks = r.has("input_blocks.%d.0.in_layers.2.weight", halves)
		c.ResampleSkip = c.ResampleBlocks && r.has("input_blocks.%d.0.skip_connection.weight", halves)
	}
	if r.has("input_pyramid.1.weight") {
		c.InputPyramid = 1
		if r.shape(4, "input_pyramid.1.weight")[2] == 3 {
			c.InputPyramid = 2
		}
	}
	// The pictures that a network is trained on, of 8 pixels at its lowest resolution, or
	// that attention begins where it is 32 pixels wide.
	c.LowChannels = lowChannels(c.InChannels, c.OutChannels)
}

// lowChannels are those of a small picture beside what is drawn. Six channels to
// six are a picture's and a small one's, to a picture's with a variance.
func lowChannels(in, out int) int {
	switch {
	case in == 6 && out == 6:
		return 3
	case in > out:
		return in - out
	}
	return 0
}
