package pipeline

import (
	"context"
	"slices"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/engine"
)

// innerCache makes the passes of one denoiser's batches, some of them without the inner
// blocks. What ControlNets add to the inner blocks is part of what it keeps of these.
type innerCache interface {
	run(ctx context.Context, p *Pipeline, in evaluation, inputs []cgo.Input, dst []float32) error
}

// keptOf is which batch something is kept of.
type keptOf struct {
	conditions []Condition
	controls   []*control.ControlNet
	adapters   int
	tokens     int
}

func keptOfBatch(in evaluation) keptOf {
	return keptOf{slices.Clone(in.c), in.controls, in.adapters, in.tokens}
}

func (k keptOf) is(in evaluation) bool {
	return slices.EqualFunc(k.conditions, in.c, equal) && slices.Equal(k.controls, in.controls) && k.adapters == in.adapters && k.tokens == in.tokens
}

// innerBlocks is what the inner blocks gave when a batch last went through the whole
// network, for the passes that reuse it (Ma et al. 2024, DeepCache,
// arXiv:2312.00858).
type innerBlocks struct {
	keptOf
	left int // passes until the next one in full
	deep *cgo.Value
}

// deepCache keeps the inner blocks of one denoiser's batches: with guidance there
// is one, or two where the conditions have different shapes.
type deepCache struct {
	every int // one pass of a batch in so many is in full
	kept  []*innerBlocks
}

const maxInnerBlocks = 3

// run runs the network in full, or with what is kept of an earlier pass.
func (c *deepCache) run(ctx context.Context, p *Pipeline, in evaluation, inputs []cgo.Input, dst []float32) error {
	i := slices.IndexFunc(c.kept, func(b *innerBlocks) bool { return b.is(in) })
	if i >= 0 && c.kept[i].left > 0 {
		b := c.kept[i]
		b.left--
		_, err := runShallow(ctx, p, in, inputs, cgo.Input{Name: "deep", Shape: b.deep.Shape(), Value: b.deep}, dst)
		return err
	}
	outputs, err := runWhole(ctx, p, in, inputs, dst, "deep")
	if err != nil {
		return err
	}
	if i < 0 && len(c.kept) == maxInnerBlocks {
		i = 0 // of a prompt that has changed since
	}
	if i >= 0 {
		c.kept[i].deep.Close()
		c.kept = slices.Delete(c.kept, i, i+1)
	}
	c.kept = append(c.kept, &innerBlocks{keptOfBatch(in), c.every - 1, outputs[1].Value})
	return nil
}

// runWhole runs the network in full: its output goes to dst, further ones come as values
// after it.
func runWhole(ctx context.Context, p *Pipeline, in evaluation, inputs []cgo.Input, dst []float32, more ...string) ([]cgo.Output, error) {
	added, release, err := runControls(ctx, p, in, inputs, false)
	if err != nil {
		return nil, err
	}
	defer release()
	outputs := outputsFor(dst, more)
	return outputs, p.Denoiser.Network().Run(ctx, append(inputs, added...), outputs, in.adapt)
}

// runShallow runs the network without its inner blocks, for which an input stands.
func runShallow(ctx context.Context, p *Pipeline, in evaluation, inputs []cgo.Input, inner cgo.Input, dst []float32, more ...string) ([]cgo.Output, error) {
	added, release, err := runControls(ctx, p, in, inputs, true)
	if err != nil {
		return nil, err
	}
	defer release()
	outputs := outputsFor(dst, more)
	return outputs, p.Denoiser.Network().Run(ctx, append(append(inputs, added...), inner), outputs, in.adapt)
}

func outputsFor(dst []float32, more []string) []cgo.Output {
	outputs := []cgo.Output{{Name: "out", Data: dst}}
	for _, name := range more {
		outputs = append(outputs, cgo.Output{Name: name})
	}
	return outputs
}

// equal reports whether two conditions have the same values.
func equal(a, b Condition) bool {
	return sameShapes(a, b) && slices.EqualFunc(a.Inputs, b.Inputs, func(x, y engine.Named) bool { return slices.Equal(x.Data, y.Data) })
}
