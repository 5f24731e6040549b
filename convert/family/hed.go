package family

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/model"
)

// HED is holistically-nested edge detection (Xie and Tu 2015), which makes the pictures that
// ControlNets of soft edges see.
const HED = "hed"

var hed = &Family{
	Name: HED,
	Looks: []Look{
		{"an edge detector (HED)", []string{"norm", "block1.convs.0.weight", "block1.projection.weight"}},
	},
	Runs: true,
	Read: func(r *Reader) any { return readHED(r) },
}

// HEDConfig describes HED under the names of ControlNet's annotator, ControlNetHED_Apache2.
type HEDConfig struct {
	Widths []int // channels of each size: 64 128 256 512 512
	Convs  []int // convolutions of each size: 2 2 3 3 3
}

// Params are the hyperparameters of the network "hed".
func (c HEDConfig) Params() map[string][]float64 {
	return map[string][]float64{"widths": each(c.Widths), "convs": each(c.Convs)}
}

// Weights are those of the network.
func (c HEDConfig) Weights() []Weight {
	w := &weights{}
	w.add("norm", 3)
	in := 3
	for k, width := range c.Widths {
		for i := range c.Convs[k] {
			w.conv(fmt.Sprintf("block%d.convs.%d", k+1, i), width, in, 3)
			in = width
		}
		w.conv(fmt.Sprintf("block%d.projection", k+1), 1, width, 1)
	}
	return w.all
}

// Networks lists the network, for people and programs to read.
func (c *HEDConfig) Networks() []model.Network {
	return []model.Network{{Key: "hed", Name: "edge detector", Config: c, Summary: fmt.Sprintf("%v channels, %v convolutions", c.Widths, c.Convs)}}
}

// Limits of what is read: far above those of the network that there is.
const (
	maxHEDBlocks = 8
	maxHEDConvs  = 16
)

func readHED(r *Reader) *HEDConfig {
	c := &HEDConfig{}
	for k := 1; r.Has(fmt.Sprintf("block%d.projection.weight", k)) && k <= maxHEDBlocks+1; k++ {
		n := r.Count(fmt.Sprintf("block%d.convs.%%d.weight", k))
		if n < 1 || n > maxHEDConvs {
			r.Fail("block%d must have 1 to %d convolutions, got %d", k, maxHEDConvs, n)
			return c
		}
		c.Convs = append(c.Convs, n)
		c.Widths = append(c.Widths, r.Shape(fmt.Sprintf("block%d.convs.0.weight", k), 4)[0])
	}
	if r.err == nil && (len(c.Widths) < 1 || len(c.Widths) > maxHEDBlocks) {
		r.Fail("an edge detector must have 1 to %d sizes: %w", maxHEDBlocks, model.ErrUnrecognized)
	}
	if r.err == nil {
		r.complete(nil, c.Weights())
	}
	return c
}
