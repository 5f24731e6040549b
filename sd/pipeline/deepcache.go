package pipeline

import (
	"context"
	"slices"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/engine"
)

// innerBlocks is what the inner blocks gave when a batch last went through the whole
// network, for the passes that reuse it (Ma et al. 2024, DeepCache,
// arXiv:2312.00858).
type innerBlocks struct {
	conditions []Condition // of the batch
	controls   []*control.ControlNet
	adapters   int
	tokens     int
	left       int // passes until the next one in full
	deep       *cgo.Value
}

// deepCache keeps the inner blocks of one denoiser's batches: with guidance there
// is one, or two where the conditions have different shapes.
type deepCache struct {
	every int // one pass of a batch in so many is in full
	kept  []*innerBlocks
}

const maxInnerBlocks = 3

// run runs the network in full, or with what is kept of an earlier pass.
// What ControlNets add to the inner blocks is part of what is kept.
func (c *deepCache) run(ctx context.Context, p *Pipeline, in evaluation, inputs []cgo.Input, dst []float32) error {
	net, out := p.Denoiser.Network(), cgo.Output{Name: "out", Data: dst}
	i := slices.IndexFunc(c.kept, func(b *innerBlocks) bool {
		return slices.EqualFunc(b.conditions, in.c, equal) && slices.Equal(b.controls, in.controls) && b.adapters == in.adapters && b.tokens == in.tokens
	})
	shallow := i >= 0 && c.kept[i].left > 0
	added, release, err := runControls(ctx, p, in, inputs, shallow)
	if err != nil {
		return err
	}
	defer release()
	inputs = append(inputs, added...)
	if shallow {
		b := c.kept[i]
		b.left--
		inputs = append(inputs, cgo.Input{Name: "deep", Shape: b.deep.Shape(), Value: b.deep})
		return net.Run(ctx, inputs, []cgo.Output{out}, in.adapt)
	}
	outputs := []cgo.Output{out, {Name: "deep"}}
	if err := net.Run(ctx, inputs, outputs, in.adapt); err != nil {
		return err
	}
	if i < 0 && len(c.kept) == maxInnerBlocks {
		i = 0 // of a prompt that has changed since
	}
	if i >= 0 {
		c.kept[i].deep.Close()
		c.kept = slices.Delete(c.kept, i, i+1)
	}
	c.kept = append(c.kept, &innerBlocks{slices.Clone(in.c), in.controls, in.adapters, in.tokens, c.every - 1, outputs[1].Value})
	return nil
}

// equal reports whether two conditions have the same values.
func equal(a, b Condition) bool {
	return sameShapes(a, b) && slices.EqualFunc(a.Inputs, b.Inputs, func(x, y engine.Named) bool { return slices.Equal(x.Data, y.Data) })
}
