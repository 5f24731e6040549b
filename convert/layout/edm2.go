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

// edm2Module is a part of EDM2's network: direction, side in pixels, what it is, and the
// layer in it.
var edm2Module = regexp.MustCompile(`^(enc|dec)\.(\d{1,5})x\d{1,5}_(conv|down|up|in0|in1|block\d{1,3})\.(.+)$`)

// EDM2Pixel gives tensors of EDM2's networks (Karras et al. 2024) the names that they have
// here, with levels counted from full resolution in place of sides, and their weights the
// magnitude that their layers give them: a row w of n numbers is
// w·gain/(√n·(1e-4 + |w|/√n)). The layer of classes becomes a table.
func EDM2Pixel(all []model.Stored) ([]model.Stored, error) {
	prefix := ""
	for _, t := range all {
		if before, ok := strings.CutSuffix(t.Name, "emb_fourier.freqs"); ok {
			prefix = before
		}
	}
	var sides []int
	gains := map[string]float32{}
	for _, t := range all {
		name := strings.TrimPrefix(t.Name, prefix)
		if m := edm2Module.FindStringSubmatch(name); m != nil {
			if side, _ := strconv.Atoi(m[2]); !slices.Contains(sides, side) {
				sides = append(sides, side)
			}
		}
		if before, ok := strings.CutSuffix(name, "_gain"); ok {
			var v [1]float32
			if t.Elements() != 1 || t.Float32(v[:]) != nil {
				return nil, fmt.Errorf("tensor %q must be one number, got %s of shape %v", t.Name, t.DType, t.Shape)
			}
			gains[before] = v[0]
		}
	}
	slices.Sort(sides)
	slices.Reverse(sides)
	var out []model.Stored
	for _, t := range all {
		name, ok := strings.CutPrefix(t.Name, prefix)
		if !ok || strings.HasSuffix(name, "_gain") {
			continue // of training: logvar's layers; gains are in the weights
		}
		t, err := edm2Tensor(t, name, sides, gains)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func edm2Tensor(t model.Stored, name string, sides []int, gains map[string]float32) (model.Stored, error) {
	t.Name = name
	gain := float32(1)
	if m := edm2Module.FindStringSubmatch(name); m != nil {
		side, _ := strconv.Atoi(m[2])
		t.Name = fmt.Sprintf("%s.%d.%s.%s", m[1], slices.Index(sides, side), m[3], m[4])
		if m[3] == "conv" {
			t.Name = "conv_in." + m[4]
		}
	}
	var err error
	before, scaled := strings.CutSuffix(name, "emb_linear.weight")
	if scaled || name == "out_conv.weight" {
		from := before + "emb"
		if !scaled {
			from = "out"
		}
		if gain, scaled = gains[from]; !scaled {
			return t, fmt.Errorf("tensor %q has no gain, %q", name, from+"_gain")
		}
	}
	if strings.HasSuffix(name, ".attn_qkv.weight") {
		if t, err = byPart(t); err != nil {
			return t, err
		}
	}
	if strings.HasSuffix(name, ".weight") {
		if t, err = unitRows(t, gain); err != nil {
			return t, err
		}
	}
	if name == "emb_label.weight" {
		return edm2Labels(t)
	}
	return t, nil
}

// unitRows gives each row of a weight its scale.
func unitRows(t model.Stored, gain float32) (model.Stored, error) {
	t.Tensor = t.InOrder()
	if len(t.Shape) < 2 || t.Shape[0] < 1 || t.Elements()%t.Shape[0] != 0 || t.Elements() < 1 || !t.Type.Float() || t.Type.Quantized() || t.Scale != nil {
		return t, fmt.Errorf("tensor %q must be a matrix of floating-point numbers, got %s of shape %v", t.Name, t.DType, t.Shape)
	}
	n := t.Elements() / t.Shape[0]
	row := make([]float32, n)
	scale := make([]float32, t.Shape[0])
	root := math.Sqrt(float64(n))
	for i := range scale {
		if err := t.Float32From(int64(i)*n, row); err != nil {
			return t, err
		}
		squares := 0.0
		for _, v := range row {
			squares += float64(v) * float64(v)
		}
		scale[i] = float32(float64(gain) / (root * (1e-4 + math.Sqrt(squares)/root)))
	}
	t.Scale = scale
	return t, nil
}

// edm2Labels is the table of the layer of classes, whose inputs are 1, times the root of
// their number, for a class, and 0 for none, which the last row stands for.
func edm2Labels(t model.Stored) (model.Stored, error) {
	width, classes := int(t.Shape[0]), int(t.Shape[1])
	weight := make([]float32, width*classes)
	if err := t.Float32(weight); err != nil {
		return t, err
	}
	scale := float32(math.Sqrt(float64(classes)))
	data := make([]byte, 0, 4*(classes+1)*width)
	for class := range classes {
		for i := range width {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(weight[i*classes+class]*scale))
		}
	}
	float32s, _ := model.TypeOf("F32")
	return model.Stored{Tensor: model.Tensor{Name: "label_emb.weight", Type: float32s, Shape: []int64{int64(classes + 1), int64(width)}, Bytes: data[:cap(data)]}, DType: "F32"}, nil
}
