package family

import (
	"fmt"
	"regexp"

	"github.com/sdgo/sdgo/convert/model"
)

// EDM2Config describes the UNet of EDM2 (Karras et al. 2024): the network "edm2" of the C++
// core.
type EDM2Config struct {
	InChannels    int    // and those of the output
	Channels      []int  // of each level
	NumBlocks     int    // of each level on the way down; one more on the way up
	Attention     []bool // by level: after each block
	HeadDim       int
	NoiseChannels int // cosines of the noise level
	EmbedChannels int
	Classes       int // rows of the table

	// Shares of the second in sums: of residual branches, of attention, of classes, and of
	// what the way up gets from the way down. Clip bounds a block's result.
	ResBalance, AttentionBalance, LabelBalance, ConcatBalance, Clip float64
}

// Params are the hyperparameters of the network.
func (c *EDM2Config) Params() map[string][]float64 {
	attention := make([]float64, len(c.Attention))
	for i, a := range c.Attention {
		if a {
			attention[i] = 1
		}
	}
	return map[string][]float64{
		"in_channels": one(c.InChannels), "channels": each(c.Channels), "num_blocks": one(c.NumBlocks), "attention": attention,
		"head_dim": one(c.HeadDim), "noise_channels": one(c.NoiseChannels), "embed_channels": one(c.EmbedChannels), "classes": one(c.Classes),
		"res_balance": {c.ResBalance}, "attn_balance": {c.AttentionBalance}, "label_balance": {c.LabelBalance}, "concat_balance": {c.ConcatBalance}, "clip": {c.Clip},
	}
}

func (c *EDM2Config) summary() string {
	return fmt.Sprintf("channels %v, %d blocks a level, attention %v, heads of %d", c.Channels, c.NumBlocks, c.Attention, c.HeadDim)
}

// numbers are those that no shape tells.
func (c *EDM2Config) numbers() []number {
	return []number{
		whole("head_dim", 1, 1<<12, &c.HeadDim), fraction("res_balance", 0, 1, &c.ResBalance), fraction("attn_balance", 0, 1, &c.AttentionBalance),
		fraction("label_balance", 0, 1, &c.LabelBalance), fraction("concat_balance", 0, 1, &c.ConcatBalance), fraction("block_clip", 1, 1e6, &c.Clip),
	}
}

// edm2Sizes reads the sizes of such a UNet, whose tensors' names begin with a prefix.
func edm2Sizes(r *Reader, prefix string) *EDM2Config {
	c := &EDM2Config{HeadDim: 64, ResBalance: 0.3, AttentionBalance: 0.3, LabelBalance: 0.5, ConcatBalance: 0.5, Clip: 256}
	c.InChannels = r.Shape(prefix+"out_conv.weight", 4)[0]
	if in := r.Shape(prefix+"conv_in.weight", 4)[1]; r.err == nil && in != c.InChannels+1 { // and a channel of ones
		r.Fail("a UNet of EDM2 with %d input and %d output channels: %w", in, c.InChannels, model.ErrUnrecognized)
	}
	noise := r.Shape(prefix+"emb_noise.weight", 2)
	c.EmbedChannels, c.NoiseChannels = noise[0], noise[1]
	if r.Has(prefix + "label_emb.weight") {
		c.Classes = r.Shape(prefix+"label_emb.weight", 2)[0]
	}
	levels := r.Count(prefix + "enc.%d.block0.conv_res0.weight")
	c.NumBlocks = r.Count(prefix + "enc.0.block%d.conv_res0.weight")
	if levels < 1 || levels > maxLevels || c.NumBlocks < 1 {
		r.Fail("a UNet of EDM2 with %d levels of %d blocks: %w", levels, c.NumBlocks, model.ErrUnrecognized)
		return c
	}
	for level := range levels {
		block := fmt.Sprintf("%senc.%d.block0.", prefix, level)
		c.Channels = append(c.Channels, r.Shape(block+"conv_res0.weight", 4)[0])
		c.Attention = append(c.Attention, r.Has(block+"attn_qkv.weight"))
	}
	return c
}

// edm2Mark tells such a UNet.
const edm2Mark = "emb_fourier.freqs"

// edm2Name is what tensors of such a UNet are called.
var edm2Name = regexp.MustCompile(`^(conv_in|out_conv|emb_noise|label_emb)\.weight$|^emb_fourier\.(freqs|phases)$|` +
	`^(enc|dec)\.\d+\.(down|up|in0|in1|block\d+)\.(conv_res0|conv_res1|conv_skip|emb_linear|attn_qkv|attn_proj)\.weight$`)

// readEDM2 reads a model of EDM2.
func readEDM2(r *Reader) any {
	prefix := ""
	if r.Has(model.UNetPrefix + edm2Mark) { // put together with an autoencoder
		prefix = model.UNetPrefix
	}
	u := edm2Sizes(r, prefix)
	if r.err != nil {
		return nil
	}
	c := &Pixel{Name: PixelUNet, Net: "edm2", Prefix: prefix, EDM2: u, Classes: max(0, u.Classes-1), NullClass: -1, Channels: u.InChannels, Multiple: 1 << (len(u.Channels) - 1),
		Process: Process{Kind: ProcessEDM, Prediction: "sample", SigmaMin: 0.002, SigmaMax: 80, SigmaData: 0.5}}
	if u.Classes > 0 {
		c.ClassInput, c.NullClass = ClassIndex, u.Classes-1
	}
	for level, attention := range u.Attention {
		if attention && c.Size == 0 {
			c.Size = 16 << level
		}
	}
	c.readVAE(r)
	c.apply(r, u.numbers())
	c.finish(r)
	knownPixel(r, prefix, edm2Name, model.VAEPrefix)
	return c
}
