package lora

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/train/random"
)

// Names of the weights that are changed, of the UNet and of text encoders, by
// Options.Layers.
var (
	unetLayers = map[string]*regexp.Regexp{
		Attention:   regexp.MustCompile(`\.transformer_blocks\.\d+\.attn[12]\.(to_q|to_k|to_v|to_out\.0)\.weight$`),
		Transformer: regexp.MustCompile(`\.transformer_blocks\.\d+\.(attn[12]\.(to_q|to_k|to_v|to_out\.0)|ff\.net\.(0\.proj|2))\.weight$`),
	}
	textLayers = map[string]*regexp.Regexp{
		Attention:   regexp.MustCompile(`\.layers\.\d+\.self_attn\.(q|k|v|out)_proj\.weight$`),
		Transformer: regexp.MustCompile(`\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])\.weight$`),
	}
)

// part is a network with the layers that are changed.
type part struct {
	title   string // in kohya's names
	network *engine.Network
	prefix  string // of the names of its weights in the model
	depth   int    // layers that count from 0 to below it alone are changed; 0: all
	layers  []layer
	first   int // index of its first weights in Task.weights
	factors *engine.Factors
}

// layer is a layer that is changed.
type layer struct {
	weight  string // the network's name of its weight
	key     string // kohya's name of the layer
	in, out int64
	points  bool // the file has a 1x1 convolution
}

// find finds the layers that are changed, by the names of the model's weights.
func (t *Task) find() error {
	t.parts = []*part{{title: "lora_unet_", network: t.m.Pipeline.Denoiser.Network(), prefix: convert.UNetPrefix}}
	if t.o.Text {
		for i, e := range t.m.Texts {
			p := &part{title: "lora_te_", network: e.Network(), prefix: e.Config.Prefix}
			if len(t.m.Texts) > 1 {
				p.title = fmt.Sprintf("lora_te%d_", i+1)
			}
			if !e.Pools { // else all layers run
				var err error
				if p.depth, err = e.Layers(0); err != nil {
					return err
				}
			}
			t.parts = append(t.parts, p)
		}
	}
	for i, p := range t.parts {
		pattern := unetLayers[t.o.Layers]
		if i > 0 {
			pattern = textLayers[t.o.Layers]
		}
		if err := p.find(t.m.Host.Weights, pattern); err != nil {
			return err
		}
	}
	return nil
}

var layerNumber = regexp.MustCompile(`\.layers\.(\d+)\.`)

func (p *part) find(source *convert.Model, pattern *regexp.Regexp) error {
	theirs := convert.DiffusersNames(source)
	for _, x := range source.Tensors {
		name, ok := strings.CutPrefix(x.Name, p.prefix)
		if !ok || !pattern.MatchString(name) || !p.runs(name) {
			continue
		}
		known := name // text encoders' names are the transformers library's already
		if p.prefix == convert.UNetPrefix {
			if _, known, ok = theirs(x.Name); !ok {
				return fmt.Errorf("tensor %q has no name of the diffusers library's", x.Name)
			}
		}
		if len(x.Shape) < 2 {
			return fmt.Errorf("tensor %q must be a matrix, got the shape %v", x.Name, x.Shape)
		}
		key := p.title + strings.ReplaceAll(strings.TrimSuffix(known, ".weight"), ".", "_")
		p.layers = append(p.layers, layer{name, key, x.Shape[1], x.Shape[0], len(x.Shape) == 4})
	}
	if len(p.layers) == 0 {
		return errors.New("the model has no transformers that a LoRA could change")
	}
	slices.SortFunc(p.layers, func(a, b layer) int { return strings.Compare(a.key, b.key) })
	return nil
}

// runs reports whether a layer is computed: the last ones of text encoders may not be.
func (p *part) runs(name string) bool {
	m := layerNumber.FindStringSubmatch(name)
	if p.depth == 0 || m == nil {
		return true
	}
	for n := range p.depth {
		if m[1] == fmt.Sprint(n) {
			return true
		}
	}
	return false
}

// begin makes the first numbers: the product of each layer is zero, and its first factor
// uniform within 1/sqrt(in), as PEFT and kohya's scripts have it.
func (t *Task) begin(ctx context.Context) error {
	for _, p := range t.parts {
		p.first = len(t.weights)
		var all []engine.Factor
		for _, l := range p.layers {
			down, up := make([]float32, int64(t.o.Rank)*l.in), make([]float32, l.out*int64(t.o.Rank))
			limit := 1 / math.Sqrt(float64(l.in))
			random.New(t.o.Seed, uint64(len(t.weights)/2), firstStream).Uniform(down, -limit, limit)
			all = append(all, engine.Factor{Weight: l.weight, Rank: t.o.Rank, Scale: t.o.Alpha / float64(t.o.Rank), Down: down, Up: up})
			t.names = append(t.names, l.key+".lora_down.weight", l.key+".lora_up.weight")
			t.weights = append(t.weights, down, up)
			t.scratch = append(t.scratch, make([]float32, len(down)), make([]float32, len(up)))
		}
		var err error
		if p.factors, err = engine.NewFactors(ctx, p.network, all); err != nil {
			return err
		}
	}
	return nil
}

// outputs are the gradients by a part's factors.
func (t *Task) outputs(p *part) (all []cgo.Output) {
	for i, l := range p.layers {
		all = append(all, cgo.Output{Name: "d:adapter:" + l.weight + ".down", Data: t.scratch[p.first+2*i]},
			cgo.Output{Name: "d:adapter:" + l.weight + ".up", Data: t.scratch[p.first+2*i+1]})
	}
	return all
}

// add adds the gradients of a run.
func (t *Task) add(p *part, sum [][]float32) {
	for i := p.first; i < p.first+2*len(p.layers); i++ {
		for k, v := range t.scratch[i] {
			sum[i][k] += v
		}
	}
}
