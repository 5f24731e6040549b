package pipeline

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/sdgo/sdgo/cgo"
)

// firstBlockCache is the first-block cache of ParaAttention, which is TeaCache's idea (Liu et
// al. 2024, arXiv:2411.19108) with the first block itself in place of a fitted polynomial, for
// UNets: each pass computes the first block. While what it adds to its input has changed by
// less than the threshold, on average and relatively, since the last pass in full, the inner
// blocks add to it what they added then; the last block is computed as in DeepCache. A batch
// is of one picture; of several answers the one that has changed most decides.
type firstBlockCache struct {
	threshold float64
	allowed   func() bool // to leave out blocks now
	kept      []*firstBlock
}

// firstBlock is what is kept of a batch's last pass in full.
type firstBlock struct {
	keptOf
	shape  []int64   // of what follows
	change []float32 // what the first block added to its input
	rest   []float32 // and the inner ones to what it returned
}

// run runs the network in full, or with what its inner blocks added last: since that takes
// little, it is tried, and what the first block says of it is looked at afterwards.
func (c *firstBlockCache) run(ctx context.Context, p *Pipeline, in evaluation, inputs []cgo.Input, dst []float32) error {
	inputs = slices.Clip(inputs)
	i := slices.IndexFunc(c.kept, func(b *firstBlock) bool { return b.is(in) })
	if i >= 0 && c.threshold > 0 && c.allowed() {
		b := c.kept[i]
		outputs, err := runShallow(ctx, p, in, inputs, cgo.Input{Name: "rest", Shape: b.shape, F32: b.rest}, dst, "stem", "first")
		if err != nil {
			return err
		}
		_, change, err := readFirst(outputs[1].Value, outputs[2].Value)
		if err != nil || relativeChange(change, b.change, len(in.c)) < c.threshold {
			return err
		}
	}
	outputs, err := runWhole(ctx, p, in, inputs, dst, "deep", "stem", "first")
	if err != nil {
		return err
	}
	shape := outputs[1].Value.Shape()
	rest, err := read(outputs[1].Value)
	first, change, wrong := readFirst(outputs[2].Value, outputs[3].Value)
	if err := cmp.Or(err, wrong); err != nil {
		return err
	}
	for k, v := range first {
		rest[k] -= v
	}
	if i < 0 && len(c.kept) == maxInnerBlocks {
		i = 0 // of a prompt that has changed since
	}
	if i >= 0 {
		c.kept = slices.Delete(c.kept, i, i+1)
	}
	c.kept = append(c.kept, &firstBlock{keptOfBatch(in), shape, change, rest})
	return nil
}

// read reads a value and frees it.
func read(v *cgo.Value) ([]float32, error) {
	defer v.Close()
	n := int64(1)
	for _, side := range v.Shape() {
		n *= side
	}
	out := make([]float32, n)
	return out, v.Read(out)
}

// readFirst reads what the first block returned, and what it added to its input.
func readFirst(stem, block *cgo.Value) (first, change []float32, err error) {
	before, err := read(stem)
	first, wrong := read(block)
	change = slices.Clone(first)
	if len(before) == len(first) { // else the block has other channels than its input
		for k, v := range before {
			change[k] -= v
		}
	}
	return first, change, cmp.Or(err, wrong)
}

// relativeChange is the mean of |now - before| by that of |before|, the largest of n parts.
func relativeChange(now, before []float32, n int) (largest float64) {
	size := len(now) / n
	for i := range n {
		var apart, magnitude float64
		for k := i * size; k < (i+1)*size; k++ {
			apart += math.Abs(float64(now[k]) - float64(before[k]))
			magnitude += math.Abs(float64(before[k]))
		}
		largest = max(largest, apart/magnitude) // NaN stays
	}
	return largest
}
