package layout

import (
	"encoding/binary"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// edmModule is a part of EDM's networks: direction, side in pixels, and what it is.
var edmModule = regexp.MustCompile(`^(enc|dec)\.(\d{1,5})x\d{1,5}_(block(\d{1,3})|[a-z_0-9]+)\.`)

// EDMSide is the side in pixels of the pictures that a network of EDM draws, which its
// names tell; 0 of others.
func EDMSide(all []model.Stored) (side int) {
	prefix := EDMPrefix(all)
	for _, t := range all {
		if m := edmModule.FindStringSubmatch(strings.TrimPrefix(t.Name, prefix)); m != nil {
			n, _ := strconv.Atoi(m[2])
			side = max(side, n)
		}
	}
	return side
}

// EDMPrefix is what the names of EDM's network begin with: nothing, or "model." in what
// wraps it.
func EDMPrefix(all []model.Stored) string {
	for _, t := range all {
		if before, ok := strings.CutSuffix(t.Name, "map_layer0.weight"); ok {
			return before
		}
	}
	return ""
}

var edmResidual = map[string]string{"in_layers.0": "norm0", "in_layers.2": "conv0", "emb_layers.1": "affine",
	"out_layers.0": "norm1", "out_layers.3": "conv1", "skip_connection": "skip"}

// edmStages are the sizes of a network of EDM, and its sides from full resolution on; kept
// are its tensors but for buffers, and what has no input when pictures are drawn.
func edmStages(all []model.Stored) (s PixelStages, sides []int, kept []model.Stored, err error) {
	prefix := EDMPrefix(all)
	s.Attention = map[int]bool{}
	for _, t := range all {
		name, ok := strings.CutPrefix(t.Name, prefix)
		if !ok || strings.HasSuffix(name, ".resample_filter") || strings.HasPrefix(name, "map_augment.") {
			continue
		}
		t.Name = name
		kept = append(kept, t)
		m := edmModule.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		side, _ := strconv.Atoi(m[2])
		if !slices.Contains(sides, side) {
			sides = append(sides, side)
		}
		if m[1] == "enc" && m[4] != "" {
			block, _ := strconv.Atoi(m[4])
			s.Blocks = max(s.Blocks, block+1)
		}
	}
	slices.Sort(sides)
	slices.Reverse(sides)
	s.Levels = len(sides)
	if s.Levels == 0 || s.Levels > 16 || s.Blocks > 64 {
		return s, nil, nil, fmt.Errorf("a network of EDM with %d sizes of %d blocks: %w", s.Levels, s.Blocks, model.ErrUnrecognized)
	}
	for level, side := range sides {
		last := fmt.Sprintf("dec.%dx%d_block%d.qkv.", side, side, s.Blocks)
		s.Attention[level] = slices.ContainsFunc(kept, func(t model.Stored) bool { return strings.HasPrefix(t.Name, last) })
	}
	return s, sides, kept, nil
}

// EDMPixel gives tensors of EDM's networks (Karras et al. 2022) guided diffusion's names
// and forms.
func EDMPixel(all []model.Stored) ([]model.Stored, error) {
	s, sides, kept, err := edmStages(all)
	if err != nil {
		return nil, err
	}
	out, err := Fuse(kept, edmTable(s, sides, kept))
	if err != nil {
		return nil, err
	}
	for i, t := range out {
		if strings.Contains(t.Name, ".qkv.") {
			if out[i], err = byPart(t); err != nil {
				return nil, err
			}
		}
	}
	return edmLabels(out)
}

// edmTable lists the layers of a network of EDM, as Fuse takes them.
func edmTable(s PixelStages, sides []int, kept []model.Stored) []Fusion {
	at := func(format string, level int) string { return fmt.Sprintf(format, sides[level], sides[level]) }
	block := func(format string) func(level, block int) string {
		return func(level, block int) string { return fmt.Sprintf(format, sides[level], sides[level], block) }
	}
	lowest := s.Levels - 1
	p := pixelLayout{
		others:   map[string]string{"input_blocks.0.0": at("enc.%dx%d_conv", 0), "time_embed.0": "map_layer0", "time_embed.2": "map_layer1", "time_embed.frequencies": "map_noise.freqs"},
		residual: edmResidual, attention: map[string]string{"norm": "norm2", "qkv": "qkv", "proj_out": "proj"},
		middle: [3]string{at("dec.%dx%d_in0", lowest), at("dec.%dx%d_in0", lowest), at("dec.%dx%d_in1", lowest)},
		down:   block("enc.%dx%d_block%d"), downAttention: block("enc.%dx%d_block%d"), up: block("dec.%dx%d_block%d"), upAttention: block("dec.%dx%d_block%d"),
		halveBlock:   func(level int) string { return at("enc.%dx%d_down", level+1) }, // a level begins with it
		enlargeBlock: func(level int) string { return at("dec.%dx%d_up", level-1) },
	}
	switch {
	case Contains(kept, "_aux_skip."):
		p.inputPyramid = func(level int) string { return at("enc.%dx%d_aux_skip", level) }
	case Contains(kept, "_aux_residual."):
		p.inputPyramid = func(level int) string { return at("enc.%dx%d_aux_residual", level) }
	}
	switch {
	case s.Levels > 1 && Contains(kept, at("dec.%dx%d_aux_norm.", lowest)):
		p.outputPyramid = func(level int) (norm, conv string) {
			return at("dec.%dx%d_aux_norm", level), at("dec.%dx%d_aux_conv", level)
		}
	case Contains(kept, "out_norm."):
		p.others["out.0"], p.others["out.2"] = "out_norm", "out_conv"
	default:
		p.others["out.0"], p.others["out.2"] = at("dec.%dx%d_aux_norm", 0), at("dec.%dx%d_aux_conv", 0)
	}
	return p.table(s)
}

// byPart puts the rows of a layer of queries, keys and values, which EDM has next to each
// other for each channel, in the order of all queries, all keys, all values.
func byPart(t model.Stored) (model.Stored, error) {
	t.Tensor = t.InOrder()
	if len(t.Shape) == 0 || t.Shape[0] < 1 || t.Shape[0]%3 != 0 || t.Parts != nil || t.Scale != nil || len(t.Bytes)%int(t.Shape[0]) != 0 {
		return t, fmt.Errorf("tensor %q has the shape %v; rows of queries, keys and values are expected", t.Name, t.Shape)
	}
	channels, row := int(t.Shape[0])/3, len(t.Bytes)/int(t.Shape[0])
	out := make([]byte, 0, len(t.Bytes))
	for part := range 3 {
		for i := range channels {
			at := (3*i + part) * row
			out = append(out, t.Bytes[at:at+row]...)
		}
	}
	t.Bytes = out
	return t, nil
}

// edmLabels makes a table of classes of the layer that EDM's networks have: a row is the
// layer's column, and its bias, and the last row stands for no class. Inputs of SongUNet's
// layer, which has a bias, are multiplied by the root of their number.
func edmLabels(all []model.Stored) ([]model.Stored, error) {
	var weight, bias model.Stored
	out := all[:0]
	for _, t := range all {
		switch t.Name {
		case "map_label.weight":
			weight = t
		case "map_label.bias":
			bias = t
		default:
			out = append(out, t)
		}
	}
	if weight.Name == "" {
		return out, nil
	}
	if len(weight.Shape) != 2 || !weight.Type.Float() || weight.Elements() < 1 || bias.Name != "" && (bias.Elements() != weight.Shape[0] || !bias.Type.Float()) {
		return nil, fmt.Errorf("tensor %q of %s and shape %v with a bias of %v; a layer of classes is expected", weight.Name, weight.DType, weight.Shape, bias.Shape)
	}
	width, classes := int(weight.Shape[0]), int(weight.Shape[1])
	columns, shift := make([]float32, width*classes), make([]float32, width)
	if err := weight.Float32(columns); err != nil {
		return nil, err
	}
	scale := float32(1)
	if bias.Name != "" {
		if err := bias.Float32(shift); err != nil {
			return nil, err
		}
		scale = float32(math.Sqrt(float64(classes)))
	}
	table := make([]float32, 0, (classes+1)*width)
	for class := range classes {
		for i := range width {
			table = append(table, columns[i*classes+class]*scale+shift[i])
		}
	}
	table = append(table, shift...)
	data := make([]byte, 0, 4*len(table))
	for _, v := range table {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	float32s, _ := model.TypeOf("F32")
	return append(out, model.Stored{Tensor: model.Tensor{Name: "label_emb.weight", Type: float32s, Shape: []int64{int64(classes + 1), int64(width)}, Bytes: data}, DType: "F32"}), nil
}
