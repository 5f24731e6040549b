package family

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// QwenVision is the vision tower of Qwen2.5-VL in a file of its own, which llama.cpp calls mmproj.
const QwenVision = "qwen_vision"

var qwenVision = &Family{
	Name: QwenVision,
	Looks: []Look{
		{"a vision tower of Qwen2.5-VL with llama.cpp's names", []string{"v.blk.0.ffn_gate.weight", "v.blk.0.ln1.weight", "!v.blk.0.ln1.bias", "v.patch_embd.weight.1", "v.post_ln.weight", "mm.2.weight"}},
		{"a vision tower of Qwen2.5-VL", []string{"*visual.blocks.0.mlp.gate_proj.weight", "*visual.merger.ln_q.weight", "!*layers.0.self_attn.q_proj.weight", "!*transformer_blocks.0.img_mod.1.weight"}},
	},
	Rewrite: rewriteTower,
	Role:    LLMVision,
	Properties: func(d *Describer) {
		d.Property("width", d.Dim("visual.patch_embed.proj.weight", 0))
		d.Property("blocks", d.Blocks("visual.blocks."))
		d.Property("out", d.Dim("visual.merger.mlp.2.weight", 0))
	},
}

// What llama.cpp's files say of the tower, and what that must be.
var mmprojKeys = map[string]string{
	"clip.vision.n_wa_pattern": fmt.Sprint(visionWhole),
	"clip.vision.patch_size":   fmt.Sprint(VisionPatch),
}

var (
	mmprojBlock = regexp.MustCompile(`^v\.blk\.(\d+)\.([a-z0-9_]+)\.(weight|bias)$`)

	// llama.cpp's names of a block's tensors, and the authors'.
	mmprojLayers = map[string]string{
		"ln1": "norm1", "ln2": "norm2", "attn_qkv": "attn.qkv", "attn_q": "attn.q", "attn_k": "attn.k", "attn_v": "attn.v", "attn_out": "attn.proj",
		"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
	}
	mmprojOthers = map[string]string{
		"v.post_ln.weight": "merger.ln_q.weight", "mm.0.weight": "merger.mlp.0.weight", "mm.0.bias": "merger.mlp.0.bias",
		"mm.2.weight": "merger.mlp.2.weight", "mm.2.bias": "merger.mlp.2.bias",
	}

	// mmprojFused are the layers that it has in pieces.
	mmprojFused = []layout.Fusion{{LDM: "blocks.#.attn.qkv", Diffusers: []string{"blocks.#.attn.q", "blocks.#.attn.k", "blocks.#.attn.v"}}}
)

// The convolution of patches, which llama.cpp has frame by frame.
const mmprojPatch = "v.patch_embd.weight"

// rewriteTower gives the tensors of a file of the tower the authors' names and forms.
func rewriteTower(all []model.Stored) ([]model.Stored, error) {
	if !layout.Contains(all, mmprojPatch) {
		return flatPatches(all)
	}
	all, err := joinedFrames(all)
	if err != nil {
		return nil, err
	}
	for i, t := range all {
		if m := mmprojBlock.FindStringSubmatch(t.Name); m != nil && mmprojLayers[m[2]] != "" {
			all[i].Name = "blocks." + m[1] + "." + mmprojLayers[m[2]] + "." + m[3]
		} else if to, ok := mmprojOthers[t.Name]; ok {
			all[i].Name = to
		}
	}
	if all, err = layout.Fuse(all, mmprojFused); err != nil {
		return nil, err
	}
	for i := range all {
		all[i].Name = towerPrefix + all[i].Name
	}
	return all, nil
}

// joinedFrames makes the convolutions of the frames of a patch, [width, 3, side, side] each, one layer of patches, whose rows have for
// each colour both frames.
func joinedFrames(all []model.Stored) ([]model.Stored, error) {
	var frames [VisionFrames]model.Stored
	rest := make([]model.Stored, 0, len(all))
	for _, t := range all {
		switch t.Name {
		case mmprojPatch:
			frames[0] = t
		case mmprojPatch + ".1":
			frames[1] = t
		default:
			rest = append(rest, t)
		}
	}
	const square = VisionPatch * VisionPatch
	first := frames[0]
	for i, t := range frames {
		if len(t.Shape) != 4 || t.Shape[0] < 1 || t.Shape[0] > 1<<14 || t.Shape[1] != 3 || t.Shape[2] != VisionPatch || t.Shape[3] != VisionPatch || !slices.Equal(t.Shape, first.Shape) {
			return nil, fmt.Errorf("tensor %q must have the shape [width, 3, %d, %d], as %q, got %v", t.Name, VisionPatch, VisionPatch, mmprojPatch, t.Shape)
		}
		if !t.Type.Float() || t.Type.Quantized() || t.Type != first.Type {
			return nil, fmt.Errorf("tensor %q must be floating-point numbers of the type of %q, got %s", t.Name, mmprojPatch, t.DType)
		}
		frames[i].Tensor = t.Joined()
		if size := t.Elements() * t.Type.BlockBytes(); size != int64(len(frames[i].Bytes)) {
			return nil, fmt.Errorf("tensor %q has %d bytes for the shape %v", t.Name, len(frames[i].Bytes), t.Shape)
		}
	}
	n := square * int(first.Type.BlockBytes())
	joined := frames[0]
	joined.Name, joined.Shape = "patch_embed.proj.weight", []int64{first.Shape[0], 3 * VisionFrames * square}
	joined.Bytes = make([]byte, 0, VisionFrames*len(frames[0].Bytes))
	for at := 0; at < len(frames[0].Bytes); at += n {
		for _, t := range frames {
			joined.Bytes = append(joined.Bytes, t.Bytes[at:at+n]...)
		}
	}
	return append(rest, joined), nil
}

// checkMMProj refuses what llama.cpp's metadata say of a tower that is another one.
func checkMMProj(r *Reader) {
	for key, want := range mmprojKeys {
		if got, ok := r.Model.Metadata[key]; ok && got != want {
			r.Fail("%s must be %s, as in all published Qwen2.5-VL, got %.20q: %w", key, want, got, model.ErrUnrecognized)
		}
	}
}

// ofTower reports whether a key of metadata is about the tower.
func ofTower(key string) bool {
	return key == keyLeastPixels || key == keyMostPixels || strings.HasPrefix(key, "clip.vision.")
}
