package adapter

import (
	"context"
	"fmt"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
)

// Baked is a file of changes with its strengths, to be made a part of a model.
type Baked struct {
	File           *File
	Text, Denoiser float64
}

// Bake makes changes a part of a model's weights, which keep their types: f32, f16, bf16
// or f64, which becomes f32. Quantized weights are an error: what a LoRA adds is smaller
// than the steps of their numbers. It is for code that has opened the model, before
// anything else uses it. unmatched are the layers, as in the files, that the model does
// not have.
func Bake(ctx context.Context, m *model.Model, all []Baked) (unmatched []string, err error) {
	targets, err := NewTargets(m)
	if err != nil {
		return nil, err
	}
	byWeight := map[string][]Use{}
	for _, b := range all {
		changes, missing, err := b.File.Match(targets)
		if err != nil {
			return nil, err
		}
		unmatched = append(unmatched, missing...)
		for _, c := range changes {
			strength := b.Denoiser
			if c.Part.IsText() {
				strength = b.Text
			}
			if strength != 0 {
				byWeight[c.Weight] = append(byWeight[c.Weight], Use{c, strength})
			}
		}
	}
	for i, t := range m.Tensors {
		uses := byWeight[t.Name]
		if uses == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if m.Tensors[i], err = baked(t, uses); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Path, err)
		}
	}
	for _, b := range all {
		if err := b.File.Intact(); err != nil {
			return nil, err
		}
	}
	return unmatched, nil
}

// baked is a tensor with changes.
func baked(t model.Tensor, uses []Use) (model.Tensor, error) {
	typ := t.Native()
	if typ != dtype.F32 && typ != dtype.F16 && typ != dtype.BF16 || t.Type != typ && t.Type != dtype.F64 {
		return t, fmt.Errorf("tensor %q is of type %s: adapters can be made a part of weights of f32, f16 or bf16 alone; take the file that it was converted from", t.Name, t.Type)
	}
	base, err := floats(t)
	if err != nil {
		return t, err
	}
	sum, err := Patch(base, uses)
	if err != nil {
		return t, err
	}
	size, _ := typ.Size(int64(len(sum)), int64(len(sum)))
	bytes := make([]byte, size)
	if err := dtype.Encode(typ, bytes, sum); err != nil {
		return t, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return model.Tensor{Name: t.Name, Type: typ, Shape: t.Shape, Bytes: bytes}, nil
}
