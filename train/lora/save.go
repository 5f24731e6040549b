package lora

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/replace"
)

// Save writes the LoRA under kohya's names, which every program reads. The type is f16, f32
// or bf16.
func (t *Task) Save(_ context.Context, path string, weights [][]float32, typ dtype.Type) error {
	names := map[dtype.Type]string{dtype.F16: "F16", dtype.F32: "F32", dtype.BF16: "BF16"}
	if names[typ] == "" {
		return fmt.Errorf("the type of a LoRA must be f16, f32 or bf16, got %v", typ)
	}
	var tensors []safetensors.Tensor
	add := func(name string, shape []int64, values []float32) error {
		size := 2
		if typ == dtype.F32 {
			size = 4
		}
		x := safetensors.Tensor{Name: name, DType: names[typ], Shape: shape, Data: make([]byte, size*len(values))}
		tensors = append(tensors, x)
		return dtype.Encode(typ, x.Data, values)
	}
	rank := int64(t.o.Rank)
	for _, p := range t.parts {
		for i, l := range p.layers {
			down, up := []int64{rank, l.in}, []int64{l.out, rank}
			if l.points {
				down, up = append(down, 1, 1), append(up, 1, 1)
			}
			at := p.first + 2*i
			if err := errors.Join(add(l.key+".alpha", nil, []float32{float32(t.o.Alpha)}), add(t.names[at], down, weights[at]), add(t.names[at+1], up, weights[at+1])); err != nil {
				return err
			}
		}
	}
	metadata := map[string]string{"format": "pt", "ss_network_module": "networks.lora", "ss_network_dim": strconv.Itoa(t.o.Rank),
		"ss_network_alpha": strconv.FormatFloat(t.o.Alpha, 'g', -1, 64)}
	f, err := replace.Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	var w io.Writer = f
	if err := safetensors.Write(w, metadata, tensors); err != nil {
		return err
	}
	return f.Commit()
}
