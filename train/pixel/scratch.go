package pixel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/train/network"
	"github.com/sdgo/sdgo/train/random"
)

// Architecture is that of a new model: improved diffusion's UNet (Nichol and Dhariwal
// 2021, arXiv:2102.09672), or the way down of guided diffusion's (Dhariwal and Nichol
// 2021, arXiv:2105.05233) with attention pooling, which tells classes apart.
type Architecture struct {
	Size      int   // side of the pictures, a multiple of 2 for each level but the first
	Channels  []int // of each level, multiples of Groups
	Blocks    int   // residual blocks of each level
	Attention []int // levels with attention, from 0
	Heads     int
	Groups    int // of each normalisation

	// Classes are the names of classes; nil without. With Free a UNet can draw without a
	// class, too, which guidance needs.
	Classes []string
	Free    bool

	// Process is "ddpm", a chain of 1000 steps with Betas "cosine" or "linear" and Prediction
	// "epsilon", "v" or "sample"; or "edm" (Karras et al. 2022), without these.
	Process, Betas, Prediction string

	Classifier bool // instead of a UNet
}

// Default is a UNet of 1.3 million weights for pictures of 32x32 pixels.
func Default() Architecture {
	return Architecture{Size: 32, Channels: []int{24, 48, 80}, Blocks: 1, Attention: []int{2}, Heads: 4, Groups: 8,
		Process: convert.ProcessDDPM, Betas: "cosine", Prediction: "v"}
}

// Limits of new models: what two processor cores can train in a life.
const (
	maxLevels  = 6
	maxWidth   = 1024
	maxPicture = 256
)

func (a Architecture) check() error {
	switch {
	case len(a.Channels) < 1 || len(a.Channels) > maxLevels:
		return fmt.Errorf("channels must be of 1 to %d levels, got %d", maxLevels, len(a.Channels))
	case a.Groups < 1 || a.Groups > maxWidth:
		return fmt.Errorf("groups must be 1 to %d, got %d", maxWidth, a.Groups)
	case a.Blocks < 1 || a.Blocks > 8:
		return fmt.Errorf("blocks must be 1 to 8, got %d", a.Blocks)
	case a.Heads < 1 || a.Heads > 64:
		return fmt.Errorf("heads must be 1 to 64, got %d", a.Heads)
	}
	for _, c := range a.Channels {
		if c < 4 || c > maxWidth || c%a.Groups != 0 || c%a.Heads != 0 || c%2 != 0 {
			return fmt.Errorf("channels must be 4 to %d, even, and divide by %d groups and %d heads, got %d", maxWidth, a.Groups, a.Heads, c)
		}
	}
	if multiple := 1 << (len(a.Channels) - 1); a.Size < multiple || a.Size > maxPicture || a.Size%multiple != 0 {
		return fmt.Errorf("the size must be a multiple of %d, at most %d, got %d", multiple, maxPicture, a.Size)
	}
	for _, level := range a.Attention {
		if level < 0 || level >= len(a.Channels) {
			return fmt.Errorf("levels with attention must be 0 to %d, got %d", len(a.Channels)-1, level)
		}
	}
	if a.Classifier && (len(a.Classes) < 2 || !slices.Contains(a.Attention, len(a.Channels)-1)) {
		return fmt.Errorf("a classifier must have 2 classes or more, and attention at its last level, %d", len(a.Channels)-1)
	}
	return a.checkProcess()
}

func (a Architecture) checkProcess() error {
	for _, w := range []struct {
		name, got string
		known     []string
	}{
		{"the process", a.Process, []string{convert.ProcessDDPM, convert.ProcessEDM}},
		{"betas", a.Betas, []string{"cosine", "linear"}}, {"the prediction", a.Prediction, []string{"epsilon", "v", "sample"}},
	} {
		if !slices.Contains(w.known, w.got) {
			return fmt.Errorf("%s must be %s, got %.40q", w.name, strings.Join(w.known, " or "), w.got)
		}
	}
	if a.Classifier && a.Process != convert.ProcessDDPM {
		return fmt.Errorf("a classifier's process must be %s", convert.ProcessDDPM)
	}
	return nil
}

// config has the hyperparameters.
func (a Architecture) config() *convert.PixelUNetConfig {
	first := a.Channels[0]
	c := &convert.PixelUNetConfig{
		InChannels: 3, OutChannels: 3, Channels: a.Channels, FirstChannels: first, NumResBlocks: a.Blocks, Attention: make([]bool, len(a.Channels)),
		MiddleAttention: true, Heads: a.Heads, TimeChannels: first, EmbedChannels: 4 * first, TimeMLP: 2, ScaleShift: true, SkipScale: 1,
		NormGroups: a.Groups, NormMinChannels: 1, NormEps: 1e-5, AttentionNormEps: 1e-5,
	}
	for _, level := range a.Attention {
		c.Attention[level] = true
	}
	if a.Classifier {
		side := a.Size >> (len(a.Channels) - 1)
		c.ResampleBlocks, c.OutChannels, c.Positions, c.PoolHeads = len(a.Channels) > 1, len(a.Classes), side*side, a.Heads
	} else if len(a.Classes) > 0 {
		c.Classes = len(a.Classes)
		if a.Free {
			c.Classes++
		}
	}
	return c
}

// metadata is what no shape tells.
func (a Architecture) metadata() (map[string]string, error) {
	m := map[string]string{
		"size": strconv.Itoa(a.Size), "heads": strconv.Itoa(a.Heads), "qkv_by_head": "0", "norm_groups": strconv.Itoa(a.Groups), "process": a.Process,
		"low_channels": "0", "learned_variance": "0", // which numbers of classes could be taken for
	}
	if a.Process == convert.ProcessDDPM {
		m["betas"], m["steps"] = a.Betas, "1000"
		if a.Betas == "linear" {
			m["beta_start"], m["beta_end"] = "0.0001", "0.02"
		}
	}
	if !a.Classifier {
		m["clip"], m["variance"] = "1", "fixed_small"
		if a.Process == convert.ProcessDDPM {
			m["prediction"] = a.Prediction
		}
		if n := len(a.Classes); n > 0 && a.Free {
			m["classes"], m["null_class"] = strconv.Itoa(n), strconv.Itoa(n)
		}
	}
	if a.Classes != nil {
		names, err := json.Marshal(a.Classes)
		if err != nil {
			return nil, err
		}
		m["labels"] = string(names)
	}
	all := map[string]string{"format": "pt"}
	for k, v := range m {
		all["sdgo.pixel."+k] = v
	}
	return all, nil
}

// New makes a model with random weights, which follow from the seed.
func New(name string, a Architecture, seed uint64) (*convert.Model, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	metadata, err := a.metadata()
	if err != nil {
		return nil, err
	}
	arch := "pixel_unet"
	if a.Classifier {
		arch = "pixel_classifier"
	}
	weights, err := network.Names(arch, a.config().Params())
	if err != nil {
		return nil, err
	}
	tensors := make([]safetensors.Tensor, len(weights))
	slices.SortFunc(weights, func(a, b cgo.Weight) int { return strings.Compare(a.Name, b.Name) })
	for i, w := range weights {
		values := initial(weights, i, seed)
		data := make([]byte, 4*len(values))
		if err := dtype.Encode(dtype.F32, data, values); err != nil {
			return nil, err
		}
		tensors[i] = safetensors.Tensor{Name: w.Name, DType: "F32", Shape: stored(w), Data: data}
	}
	var file bytes.Buffer
	if err := safetensors.Write(&file, metadata, tensors); err != nil {
		return nil, err
	}
	return convert.OpenBytes(name, file.Bytes())
}

// stored is a weight's shape in files: guided diffusion's attention is made of
// one-dimensional convolutions.
func stored(w cgo.Weight) []int64 {
	for _, end := range []string{".qkv.weight", ".proj_out.weight", ".qkv_proj.weight", ".c_proj.weight"} {
		if strings.HasSuffix(w.Name, end) {
			return append(slices.Clone(w.Shape), 1)
		}
	}
	return w.Shape
}

// initStream is that of the weights' random numbers.
const initStream = 100

// initial makes the values of a weight as PyTorch and guided diffusion do: layers that end
// a residual branch, and the last one, begin with zeros; others are uniform within
// 1/sqrt(inputs).
func initial(all []cgo.Weight, i int, seed uint64) []float32 {
	w := all[i]
	n := int64(1)
	for _, d := range w.Shape {
		n *= d
	}
	values, r := make([]float32, n), random.New(seed, uint64(i), initStream)
	layer := strings.TrimSuffix(strings.TrimSuffix(w.Name, ".weight"), ".bias")
	switch {
	case strings.HasSuffix(layer, ".out_layers.3") || strings.HasSuffix(layer, ".proj_out") || layer == "out.2":
	case w.Name == "label_emb.weight":
		r.Normal(values)
	case w.Name == "out.2.positional_embedding":
		r.Normal(values)
		for k := range values {
			values[k] /= float32(math.Sqrt(float64(w.Shape[0])))
		}
	case len(w.Shape) == 1 && strings.HasSuffix(w.Name, ".weight"): // of a normalisation
		for k := range values {
			values[k] = 1
		}
	default:
		if inputs := inputsOf(all, layer+".weight"); inputs > 0 { // else a normalisation's bias
			limit := 1 / math.Sqrt(float64(inputs))
			r.Uniform(values, -limit, limit)
		}
	}
	return values
}

// inputsOf is how many inputs each output of a layer has; 0 of a normalisation.
func inputsOf(all []cgo.Weight, name string) int64 {
	for _, w := range all {
		if w.Name == name && len(w.Shape) > 1 {
			n := int64(1)
			for _, d := range w.Shape[1:] {
				n *= d
			}
			return n
		}
	}
	return 0
}
