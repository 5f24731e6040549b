package family

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// The autoencoder of Wan 2.1, which Qwen-Image shares, is one of videos: its convolutions see a frame and the two before
// it. Before the first frame there are zeros, so that for a picture alone only the last of a kernel's three slices in
// time counts, and the convolutions in time between levels never run. What is left is an autoencoder of pictures, with
// latent diffusion's structure, whose names it gets here: files that are written have these, and no video.

// frameVAELooks are the layouts of its files.
var frameVAELooks = []Look{
	{"Wan 2.1's or Qwen-Image's autoencoder", []string{"*decoder.middle.0.residual.0.gamma", "*decoder.upsamples.0.residual.2.weight"}},
	{"Wan 2.1's or Qwen-Image's autoencoder in the diffusers library's layout", []string{"*decoder.mid_block.resnets.0.norm1.gamma", "*decoder.up_blocks.0.resnets.0.conv1.weight"}},
	{"Wan 2.1's or Qwen-Image's autoencoder of pictures", []string{"*decoder.up.0.block.0.conv1.weight", "*decoder.up.0.block.0.norm1.weight", "!*decoder.up.0.block.0.norm1.bias"}},
}

// isFrameVAE reports whether tensors are of such an autoencoder in its own or the diffusers library's layout.
func isFrameVAE(all []model.Stored) bool {
	return layout.Contains(all, "norm_out.gamma") || layout.Contains(all, ".head.0.gamma")
}

// frameNames are names of both layouts, and what becomes of them.
var frameNames = strings.NewReplacer(
	"middle.0.", "mid.block_1.", "middle.1.", "mid.attn_1.", "middle.2.", "mid.block_2.",
	"mid_block.resnets.0.", "mid.block_1.", "mid_block.attentions.0.", "mid.attn_1.", "mid_block.resnets.1.", "mid.block_2.",
	"residual.0.gamma", "norm1.weight", "residual.2.", "conv1.", "residual.3.gamma", "norm2.weight", "residual.6.", "conv2.",
	"conv_shortcut.", "nin_shortcut.", "shortcut.", "nin_shortcut.", "proj.", "proj_out.",
	"coder.conv1.", "coder.conv_in.", "head.0.gamma", "norm_out.weight", "head.2.", "conv_out.", "gamma", "weight")

var (
	frameFlat   = regexp.MustCompile(`^(encoder\.(?:downsamples|down_blocks)|decoder\.upsamples)\.(\d{1,3})\.(.+)$`)
	frameNested = regexp.MustCompile(`^decoder\.up_blocks\.(\d{1,3})\.(?:resnets\.(\d{1,3})|upsamplers\.0)\.(.+)$`)
)

// frameVAE gives the tensors of such an autoencoder, without a prefix, the names and shapes of one of pictures.
func frameVAE(all []model.Stored) ([]model.Stored, error) {
	samplers, levels := map[string][]int{}, 0 // places of layers that change the size, of each list; levels of the decoder
	outputs := map[string]int64{}
	for _, t := range all {
		if m := frameFlat.FindStringSubmatch(t.Name); m != nil && m[3] == "resample.1.weight" {
			n, _ := strconv.Atoi(m[2])
			samplers[m[1]] = append(samplers[m[1]], n)
		}
		if m := frameNested.FindStringSubmatch(t.Name); m != nil {
			n, _ := strconv.Atoi(m[1])
			levels = max(levels, n+1)
		}
		if name, ok := strings.CutSuffix(t.Name, ".bias"); ok {
			outputs[name] = t.Elements()
		}
	}
	levels = max(levels, len(samplers["decoder.upsamples"])+1)
	for _, list := range samplers {
		slices.Sort(list)
	}
	var out []model.Stored
	for _, t := range all {
		if strings.Contains(t.Name, "time_conv.") {
			continue
		}
		weightOf, _ := strings.CutSuffix(t.Name, ".weight")
		if err := lastFrame(&t, outputs[weightOf]); err != nil {
			return nil, err
		}
		t.Name = frameName(t.Name, samplers, levels)
		if strings.Contains(t.Name, ".to_qkv.") {
			parts, err := threeParts(t)
			if err != nil {
				return nil, err
			}
			out = append(out, parts...)
			continue
		}
		out = append(out, t)
	}
	return out, nil
}

// frameName is what latent diffusion calls a tensor.
func frameName(name string, samplers map[string][]int, levels int) string {
	part := func(half, rest string, level, block int) string {
		list := half + ".down"
		if half == "decoder" {
			list, level = "decoder.up", levels-1-level // which count from full resolution
		}
		if rest, ok := strings.CutPrefix(rest, "resample.1."); ok {
			return fmt.Sprintf("%s.%d.%ssample.conv.%s", list, level, list[len("decoder."):], rest)
		}
		return fmt.Sprintf("%s.%d.block.%d.%s", list, level, block, frameNames.Replace(rest))
	}
	if m := frameFlat.FindStringSubmatch(name); m != nil {
		n, _ := strconv.Atoi(m[2])
		level, first := 0, 0
		for _, at := range samplers[m[1]] {
			if at < n {
				level, first = level+1, at+1
			}
		}
		return part(m[1][:len("encoder")], m[3], level, n-first)
	}
	if m := frameNested.FindStringSubmatch(name); m != nil {
		level, _ := strconv.Atoi(m[1])
		block, _ := strconv.Atoi(m[2])
		return part("decoder", m[3], level, block)
	}
	for from, to := range map[string]string{"conv1.": "quant_conv.", "conv2.": "post_quant_conv."} {
		if rest, ok := strings.CutPrefix(name, from); ok {
			return to + rest
		}
	}
	return frameNames.Replace(name)
}

// lastFrame makes a convolution of videos one of pictures, with the last slice in time of its kernel, and the factors of a
// norm a vector. outputs are the convolution's channels, 0 of what is none.
func lastFrame(t *model.Stored, outputs int64) error {
	if strings.HasSuffix(t.Name, "gamma") {
		t.Shape = []int64{t.Elements()}
		return nil
	}
	s := t.Shape
	if len(s) == 4 && outputs > 0 && s[0] != outputs && s[0]%outputs == 0 { // stable-diffusion.cpp's GGUF files have four dimensions at most
		s = []int64{outputs, s[0] / outputs, s[1], s[2], s[3]}
	}
	if len(s) != 5 {
		return nil
	}
	if s[0] < 1 || s[1] < 1 || s[2] < 1 || s[3] < 1 || s[4] < 1 {
		return fmt.Errorf("tensor %q must have dimensions of at least 1, got the shape %v", t.Name, t.Shape)
	}
	shape := []int64{s[0], s[1], s[3], s[4]}
	if s[2] == 1 {
		t.Shape = shape
		return nil
	}
	if !t.Type.Float() || t.Type.Quantized() || t.Parts != nil {
		return fmt.Errorf("tensor %q must be floating-point numbers, of which a slice can be taken, got %s", t.Name, t.DType)
	}
	t.Tensor = t.InOrder()
	square := s[3] * s[4]
	if size := s[0] * s[1] * s[2] * square * t.Type.BlockBytes(); size != int64(len(t.Bytes)) {
		return fmt.Errorf("tensor %q has %d bytes for the shape %v", t.Name, len(t.Bytes), t.Shape)
	}
	t.Tensor = t.View(shape, []int64{s[1] * s[2] * square, s[2] * square, s[4], 1}, (s[2]-1)*square)
	return nil
}

// threeParts are queries, keys and values of a fused layer.
func threeParts(t model.Stored) ([]model.Stored, error) {
	t.Tensor = t.Joined()
	if len(t.Shape) == 0 || t.Shape[0] < 3 || t.Shape[0]%3 != 0 || len(t.Bytes)%3 != 0 {
		return nil, fmt.Errorf("tensor %q must have a multiple of three rows, got the shape %v", t.Name, t.Shape)
	}
	rows, n := t.Shape[0]/3, len(t.Bytes)/3
	out := make([]model.Stored, 3)
	for i, to := range []string{".q.", ".k.", ".v."} {
		out[i] = t
		out[i].Name = strings.Replace(t.Name, ".to_qkv.", to, 1)
		out[i].Shape = append([]int64{rows}, t.Shape[1:]...)
		out[i].Bytes = t.Bytes[i*n : (i+1)*n]
		if len(t.Scale) > 1 {
			out[i].Scale = t.Scale[int64(i)*rows : int64(i+1)*rows]
		}
	}
	return out, nil
}

// Mean and deviation of the channels of its latents (the diffusers library's AutoencoderKLQwenImage, ComfyUI's Wan21).
var (
	frameMean = []float32{-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921}
	frameStd  = []float32{2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160}
)

// frameVAEOf reads such an autoencoder, if the file has one.
func frameVAEOf(r *Reader, channels int) *VAEConfig {
	if !r.Has(model.VAEPrefix + "decoder.conv_in.weight") {
		return nil
	}
	c := r.VAE()
	c.ScaleFactor = 1
	c.applyMetadata(r)
	if c.Mean == nil && c.EmbedDim == len(frameMean) {
		c.Mean, c.Std = frameMean, frameStd
	}
	switch {
	case r.err != nil:
	case !c.PixelNorm:
		r.Fail("the autoencoder must be Qwen-Image's, which is Wan 2.1's, got one of latent diffusion: %w", model.ErrUnrecognized)
	case c.EmbedDim != channels:
		r.Fail("the autoencoder's latents must have the transformer's %d channels, got %d: %w", channels, c.EmbedDim, model.ErrUnrecognized)
	case c.ImageChannels != 3:
		r.Fail("the autoencoder must be one of pictures of 3 channels, got %d (Qwen-Image-Layered draws layers, which is not supported): %w", c.ImageChannels, model.ErrUnrecognized)
	case c.Mean == nil:
		r.Fail("the mean and deviation of latents of %d channels must be in the file (%s, %s): %w", c.EmbedDim, keyLatentsMean, keyLatentsStd, model.ErrUnrecognized)
	}
	return &c
}

// frameVAEFile reads the configuration of AutoencoderKLQwenImage, or AutoencoderKLWan.
func frameVAEFile(c *config) []string {
	defer c.vae()
	c.marks = []mark{
		{in: inVAE, name: "base_dim", verdict: shaped},
		{in: inVAE, name: "decoder_base_dim", verdict: only, values: []any{nil}, why: "both halves have the same channels"},
		{in: inVAE, name: "z_dim", verdict: shaped},
		{in: inVAE, name: "dim_mult", verdict: shaped},
		{in: inVAE, name: "num_res_blocks", verdict: shaped},
		{in: inVAE, name: "input_channels", verdict: shaped},
		{in: inVAE, name: "in_channels", verdict: shaped},
		{in: inVAE, name: "out_channels", verdict: shaped},
		{in: inVAE, name: "temperal_downsample", verdict: harmless, why: "there is one frame"},
		{in: inVAE, name: "dropout", verdict: harmless, why: "of training"},
		{in: inVAE, name: "attn_scales", verdict: only, values: []any{}, why: "there is attention in the middle alone"},
		{in: inVAE, name: "is_residual", verdict: only, values: []any{false}, why: "that is Wan 2.2's autoencoder"},
		{in: inVAE, name: "patch_size", verdict: only, values: []any{nil}, why: "that is Wan 2.2's autoencoder"},
		{in: inVAE, name: "clip_output", verdict: harmless, why: "pixels are clipped anyway"},
		{in: inVAE, name: "scale_factor_temporal", verdict: harmless, why: "there is one frame"},
		{in: inVAE, name: "scale_factor_spatial", verdict: shaped},
		{in: inVAE, name: "latents_mean", verdict: followed},
		{in: inVAE, name: "latents_std", verdict: followed},
	}
	return c.check("AutoencoderKLQwenImage", "AutoencoderKLQwenImage", "AutoencoderKLWan")
}
