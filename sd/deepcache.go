package sd

import (
	"context"
	"slices"

	"github.com/sdgo/sdgo/cgo"
)

// innerBlocks is what the UNet's inner blocks gave when a batch last went
// through all of it, for the passes that reuse it (Ma et al. 2024, DeepCache,
// arXiv:2312.00858).
type innerBlocks struct {
	contexts, about []float32 // of the batch
	left            int       // passes until the next one in full
	deep            *cgo.Value
}

// deepCache keeps the inner blocks of one denoiser's batches: with guidance there
// is one, or two where the texts have different lengths.
type deepCache struct {
	every int // one pass of a batch in so many is in full
	kept  []*innerBlocks
}

const maxInnerBlocks = 3

// run runs the UNet in full, or with what is kept of an earlier pass.
func (c *deepCache) run(ctx context.Context, net *cgo.Net, in unetInput, inputs []cgo.Input, dst []float32) error {
	out := cgo.Output{Name: "out", Data: dst}
	i := slices.IndexFunc(c.kept, func(b *innerBlocks) bool {
		return slices.Equal(b.contexts, in.contexts) && slices.Equal(b.about, in.about)
	})
	if i >= 0 && c.kept[i].left > 0 {
		b := c.kept[i]
		b.left--
		inputs = append(inputs, cgo.Input{Name: "deep", Shape: b.deep.Shape(), Value: b.deep})
		return net.Run(ctx, inputs, []cgo.Output{out})
	}
	outputs := []cgo.Output{out, {Name: "deep"}}
	if err := net.Run(ctx, inputs, outputs); err != nil {
		return err
	}
	if i < 0 && len(c.kept) == maxInnerBlocks {
		i = 0 // of a prompt that has changed since
	}
	if i >= 0 {
		c.kept[i].deep.Close()
		c.kept = slices.Delete(c.kept, i, i+1)
	}
	c.kept = append(c.kept, &innerBlocks{slices.Clone(in.contexts), slices.Clone(in.about), c.every - 1, outputs[1].Value})
	return nil
}
