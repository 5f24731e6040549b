package write

import (
	"context"
	"fmt"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/internal/guard"
)

// recodeElements is how many elements are converted between two checks of the
// context: some milliseconds' work with the slowest quantizers.
const recodeElements = 1 << 16

// Recode returns a tensor's bytes in another type, whose blocks its rows must
// divide into. quantize is needed for quantized types. It stops when ctx is done.
// Numbers that the type can't hold are an error.
func Recode(ctx context.Context, t model.Tensor, to dtype.Type, quantize Quantizer) ([]byte, error) {
	row := int64(1)
	if n := len(t.Shape); n > 0 {
		row = t.Shape[n-1]
	}
	size, ok := to.Size(t.Elements(), row)
	if !ok {
		return nil, fmt.Errorf("tensor %q: rows of %d elements do not divide into blocks of %s", t.Name, row, to)
	}
	t = t.InOrder()
	run := row // of whole rows and whole blocks
	if size := t.Type.BlockSize(); row%size != 0 {
		run *= size
	}
	step := max(1, recodeElements/run) * run
	dst, floats := make([]byte, size), make([]float32, min(step, t.Elements()))
	for begin := int64(0); begin < t.Elements(); begin += step {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		part := floats[:min(step, t.Elements()-begin)]
		if err := t.Float32From(begin, part); err != nil {
			return nil, err
		}
		if !finite(part) {
			return nil, &model.NotFiniteError{Tensor: t.Name}
		}
		from, _ := to.Size(begin, to.BlockSize())
		until, _ := to.Size(begin+int64(len(part)), to.BlockSize())
		if err := encode(to, dst[from:until], part, int(row), quantize, nil); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return dst, nil
}

func finite(floats []float32) bool {
	var sum float32
	for _, v := range floats {
		sum += v * 0 // NaN where v is NaN or infinite
	}
	return sum == 0
}

// encodeAll is encode, some rows at a time, until ctx is done.
func encodeAll(ctx context.Context, to dtype.Type, dst []byte, src []float32, row int, quantize Quantizer, importance []float32) error {
	step := max(1, recodeElements/row) * row
	for len(src) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(step, len(src))
		size, ok := to.Size(int64(n), to.BlockSize())
		if !ok {
			return fmt.Errorf("rows of %d elements do not divide into blocks of %s", row, to)
		}
		if err := encode(to, dst[:size], src[:n], row, quantize, importance); err != nil {
			return err
		}
		src, dst = src[n:], dst[size:]
	}
	return nil
}

// encode converts floats, in rows of a length, to a type, and checks that the type
// could hold them.
func encode(to dtype.Type, dst []byte, src []float32, row int, quantize Quantizer, importance []float32) error {
	var err error
	if to.Quantized() {
		err = guard.Call("Quantize", func() error { return quantize(uint32(to), dst, src, row, importance) })
	} else {
		err = dtype.Encode(to, dst, src)
	}
	if err == nil && !dtype.Finite(to, dst) {
		err = fmt.Errorf("it has numbers that are too large for %s; bf16 and f32 hold them", to)
	}
	return err
}
