package convert

import (
	"errors"

	"github.com/sdgo/sdgo/convert/checkpoint"
)

// strided are the elements of a checkpoint's tensor that lie in another order
// than its shape's, such as convolutions that were trained with channels last.
// They are put in order piece by piece while they are converted.
type strided struct{ checkpoint.Tensor }

// gather writes elements from the first one on, in the shape's order.
func (t Tensor) gather(dst []byte, first int64) {
	t.strided.Gather(dst, t.Type.BlockBytes(), first)
}

// flat is the tensor with its elements in order, in memory of its own if they
// were not.
func (t Tensor) flat() Tensor {
	if t.strided != nil {
		bytes := make([]byte, t.size())
		t.gather(bytes, 0)
		t.Bytes, t.strided = bytes, nil
	}
	return t
}

// flatten puts all of a model's tensors in order, which takes no more memory
// than the file.
func (m *Model) flatten() error {
	var copies uint64
	for _, t := range m.Tensors {
		if t.strided != nil {
			copies += uint64(t.size())
		}
	}
	release, err := take("tensors in other than their natural order", copies)
	if err != nil {
		return err
	}
	defer release()
	budget := int64(0)
	for _, f := range m.maps {
		budget += int64(len(f.Data))
	}
	for i, t := range m.Tensors {
		if t.strided == nil {
			continue
		}
		if budget -= t.size(); budget < 0 {
			return errors.New("tensors in other than their natural order take more than the file itself; converting it puts them in order")
		}
		m.Tensors[i] = t.flat()
	}
	return nil
}
