package engine

import (
	"context"
	"runtime"
	"sync"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

// bind gives the net its weights.
func (n *Network) bind(ctx context.Context) error {
	tensors := make([]convert.Tensor, 0, 1024)
	for _, w := range n.net.Weights() {
		t, err := n.find(w)
		if err != nil {
			return err
		}
		tensors = append(tensors, t)
	}
	release, err := n.takeWeights(tensors)
	if err != nil {
		return err
	}
	defer release()
	if err := n.recodeAll(ctx, tensors); err != nil {
		return err
	}
	for i, t := range tensors {
		if err := n.net.Bind(i, uint32(t.Type), t.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// takeWeights reserves memory for copies of weights: those that are converted, and
// those that the core converts to float32.
func (n *Network) takeWeights(tensors []convert.Tensor) (release func(), err error) {
	var copies uint64
	for _, t := range tensors {
		typ, err := n.typeOf(t)
		if err != nil {
			return nil, err
		}
		row := t.Shape[len(t.Shape)-1]
		size, ok := typ.Size(t.Elements(), row)
		if typ != t.Type || t.Scale != nil {
			copies += uint64(size)
		}
		if typ != dtype.F32 && (len(t.Shape) == 1 || !ok) {
			copies += 4 * uint64(t.Elements())
		}
	}
	return n.host.Take("a network's weights in their new type", copies)
}

// Bytes is the size of the network's weights in the types that it computes with.
func (n *Network) Bytes() (uint64, error) {
	var sum uint64
	for _, w := range n.net.Weights() {
		t, err := n.find(w)
		if err != nil {
			return 0, err
		}
		typ, err := n.typeOf(t)
		if err != nil {
			return 0, err
		}
		size, ok := typ.Size(t.Elements(), t.Shape[len(t.Shape)-1])
		if !ok {
			size = 4 * t.Elements() // it is converted to float32
		}
		sum += uint64(size)
	}
	return sum, nil
}

// typeOf is the type that the network uses for a tensor.
func (n *Network) typeOf(t convert.Tensor) (dtype.Type, error) {
	if n.typ == "" {
		return t.Native(), nil
	}
	typ, err := dtype.Parse(n.typ)
	return convert.TypeFor(t, typ), err
}

// recodeAll replaces tensors that need another type by converted copies, on all
// processors.
func (n *Network) recodeAll(ctx context.Context, tensors []convert.Tensor) error {
	next := make(chan int)
	errs := make(chan error, 1)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := range next {
				if err := n.recode(ctx, &tensors[i]); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	for i := range tensors {
		next <- i
	}
	close(next)
	all.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// recode converts a tensor to the type that the network uses.
func (n *Network) recode(ctx context.Context, t *convert.Tensor) error {
	typ, err := n.typeOf(*t)
	if err != nil {
		return err
	}
	if typ == t.Type && t.Scale == nil {
		return nil
	}
	bytes, err := convert.Recode(ctx, *t, typ, cgo.Quantize)
	if err != nil {
		return err
	}
	for _, run := range t.Runs() {
		n.host.Weights.Release(run) // the copy is in their place
	}
	t.Type, t.Bytes, t.Scale = typ, bytes, nil
	return nil
}
