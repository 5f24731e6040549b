package family

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// What is the same in the vision tower of all published Qwen2.5-VL, and no shape tells.
const (
	visionHead  = 80 // channels of a head
	visionWhole = 8  // every so-th block's patches attend to all
)

// The squares of pixels that become tokens of Qwen2.5-VL: patches of VisionPatch, of which VisionMerged on a side are one token, in
// windows of VisionWindow tokens on a side. A picture is two frames of a video that are the same.
const (
	VisionPatch  = 14
	VisionFrames = 2
	VisionMerged = 2
	VisionWindow = 4
)

// Pixels of a picture that the published processors take (preprocessor_config.json); others are scaled. Files that have other bounds say
// them.
const (
	leastPixels = 56 * 56
	mostPixels  = 12845056

	keyLeastPixels = "sdgo.qwen_vision.min_pixels"
	keyMostPixels  = "sdgo.qwen_vision.max_pixels"
)

// towerPrefix is what the names of the vision tower's tensors begin with, beside "model." of the text stack's.
const towerPrefix = "visual."

// hasTower reports whether tensors, with any prefix, have the vision tower of Qwen2.5-VL. Those of Qwen2-VL and Qwen3-VL have other
// layers.
func hasTower(all []model.Stored) bool {
	return slices.ContainsFunc(all, func(t model.Stored) bool {
		return strings.HasSuffix(t.Name, towerPrefix+"blocks.0.mlp.gate_proj.weight")
	})
}

// towerName is what a tensor of the vision tower is called in a file of one part; ok is false of others.
func towerName(name string) (to string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(name, "model."), towerPrefix)
	return towerPrefix + rest, ok
}

// QwenVisionConfig describes the vision tower of Qwen2.5-VL.
type QwenVisionConfig struct {
	Width, Heads, Blocks, FFN, Out int
	LeastPixels, MostPixels        int // of pictures
}

// Numbers are those of a patch of a picture: colours, frames, rows, columns.
func (c QwenVisionConfig) Numbers() int { return 3 * VisionFrames * VisionPatch * VisionPatch }

// Params are the hyperparameters of the network "qwen_vision".
func (c QwenVisionConfig) Params() map[string][]float64 {
	return map[string][]float64{
		"numbers": one(c.Numbers()), "width": one(c.Width), "heads": one(c.Heads), "blocks": one(c.Blocks), "ffn": one(c.FFN), "out": one(c.Out),
		"whole": one(visionWhole), "merged": one(VisionMerged * VisionMerged),
	}
}

func (c QwenVisionConfig) summary() string {
	return fmt.Sprintf("Qwen2.5-VL's, %d blocks of width %d, %d heads", c.Blocks, c.Width, c.Heads)
}

// readQwenVision reads the vision tower whose tensors' names begin so; nil if there is none. Its tokens must have the width of
// the text stack.
func readQwenVision(r *Reader, prefix string, text int) *QwenVisionConfig {
	if !r.Has(prefix+"blocks.0.mlp.gate_proj.weight") && !r.Has(prefix+"patch_embed.proj.weight") {
		return nil
	}
	patch := r.Shape(prefix+"patch_embed.proj.weight", 2)
	c := &QwenVisionConfig{
		Width: patch[0], FFN: r.Shape(prefix+"blocks.0.mlp.gate_proj.weight", 2)[0], Out: r.Shape(prefix+"merger.mlp.2.weight", 2)[0],
		Blocks: r.Count(escaped(prefix) + "blocks.%d.attn.qkv.weight"), Heads: patch[0] / visionHead, LeastPixels: leastPixels, MostPixels: mostPixels,
	}
	checkMMProj(r)
	r.Number(keyLeastPixels, 1, mostPixels, func(v float64) { c.LeastPixels = int(v) })
	r.Number(keyMostPixels, leastPixels, mostPixels, func(v float64) { c.MostPixels = int(v) })
	switch {
	case r.err != nil:
	case patch[1] != c.Numbers():
		r.Fail("%spatch_embed.proj.weight must have the shape [%d, 3, %d, %d, %d], whose rows have %d numbers, got %d: %w", prefix, c.Width, VisionFrames, VisionPatch, VisionPatch, c.Numbers(), patch[1], model.ErrUnrecognized)
	case c.Heads < 1 || c.Width%visionHead != 0:
		r.Fail("the vision tower's width must be a multiple of %d, the channels of a head, got %d: %w", visionHead, c.Width, model.ErrUnrecognized)
	case c.LeastPixels > c.MostPixels/4:
		r.Fail("%s must be at most a quarter of %s, got %d and %d", keyLeastPixels, keyMostPixels, c.LeastPixels, c.MostPixels)
	case c.Out != text:
		r.Fail("the vision tower's tokens must have the text encoder's width %d, got %d: %w", text, c.Out, model.ErrUnrecognized)
	}
	return c
}

// describe adds what no shape tells, where it is not as published.
func (c QwenVisionConfig) describe(add func(key string, value any)) {
	if c.LeastPixels != leastPixels {
		add(keyLeastPixels, uint32(c.LeastPixels))
	}
	if c.MostPixels != mostPixels {
		add(keyMostPixels, uint32(c.MostPixels))
	}
}

// inProcessor is the configuration of what is done to pictures before the tower sees them.
const inProcessor place = "processor/preprocessor_config.json"

// processorFile reads it.
func processorFile(c *config) []string {
	expected(c, []mark{
		{name: "patch_size", values: []any{float64(VisionPatch)}, why: "the tower has these patches"},
		{name: "temporal_patch_size", values: []any{float64(VisionFrames)}, why: "the tower has these patches"},
		{name: "merge_size", values: []any{float64(VisionMerged)}, why: "the tower has these tokens"},
		{name: "resample", values: []any{3.0}, why: "pictures are resized by cubic interpolation"},
		{name: "do_resize", values: []any{true}, why: "pictures are resized to whole tokens"},
		{name: "do_rescale", values: []any{true}, why: "colours are numbers from 0 to 1"},
		{name: "do_normalize", values: []any{true}, why: "colours are normalised"},
	})
	for name, published := range map[string][3]float64{"image_mean": {0.48145466, 0.4578275, 0.40821073}, "image_std": {0.26862954, 0.26130258, 0.27577711}} {
		if list, ok := c.numbers(name); ok && !slices.Equal(list, published[:]) {
			c.fail(name, "must be CLIP's %v, got %v", published, list)
		}
	}
	size := &config{in: c.in, said: c.said}
	if c.has("size") && json.Unmarshal(c.fields["size"], &size.fields) != nil {
		c.fail("size", "must be an object")
	}
	for key, names := range map[string][2]string{keyLeastPixels: {"min_pixels", "shortest_edge"}, keyMostPixels: {"max_pixels", "longest_edge"}} {
		if v, ok := size.number(names[1], 1, 1e9); ok {
			c.say(key, min(v, mostPixels))
		}
		if v, ok := c.number(names[0], 1, 1e9); ok {
			c.say(key, min(v, mostPixels))
		}
	}
	if c.err == nil {
		c.err = size.err
	}
	return nil
}

// visionFile checks the part of Qwen2.5-VL's configuration that is about pictures.
func visionFile(c *config) {
	if !c.has("vision_config") {
		return
	}
	var fields Object
	if json.Unmarshal(c.fields["vision_config"], &fields) != nil {
		c.fail("vision_config", "must be an object")
		return
	}
	v := &config{in: c.in, fields: fields, said: c.said}
	expected(v, []mark{
		{name: "hidden_act", values: []any{"silu"}, why: "the layers have this activation"},
		{name: "patch_size", values: []any{float64(VisionPatch)}, why: "all published models have this"},
		{name: "temporal_patch_size", values: []any{float64(VisionFrames)}, why: "all published models have this"},
		{name: "spatial_merge_size", values: []any{float64(VisionMerged)}, why: "all published models have this"},
		{name: "window_size", values: []any{float64(VisionPatch * VisionMerged * VisionWindow)}, why: "all published models have this"},
	})
	if width, ok := v.number("hidden_size", 1, 1<<14); ok {
		if heads, has := v.number("num_heads", 1, 1<<10); has && heads*visionHead != width {
			v.fail("num_heads", "must be hidden_size / %d, as in all published models", visionHead)
		}
	}
	if depth, ok := v.number("depth", 1, 256); ok {
		if list, has := v.numbers("fullatt_block_indexes"); has {
			var every []float64
			for i := visionWhole - 1; i < int(depth); i += visionWhole {
				every = append(every, float64(i))
			}
			if !slices.Equal(list, every) {
				v.fail("fullatt_block_indexes", "must be every %dth block, as in all published models", visionWhole)
			}
		}
	}
	if c.err == nil {
		c.err = v.err
	}
}
