package sd

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

// part is one network of a model. Its net is created with the model, to check
// that the file has all of its weights; they are bound when it is first used.
type part struct {
	prefix  string
	device  cgo.DeviceInfo
	net     *cgo.Net
	weights *convert.Model
	typ     string // Options.Type

	take    func(what string, bytes uint64) (release func(), err error) // of the host's memory
	create  func() (*cgo.Net, error)                                    // makes a network like net
	offload bool                                                        // the device's memory is given back when the part is idle
	stream  uint64                                                      // bytes that the weights may take on the device while they come in groups; 0: all at once

	mutex  sync.Mutex
	ways   cgo.Ways
	bound  bool
	loaded bool
	wide   *part // the network in float32, once it is needed (overflow.go)
}

// newPart makes a network on the device of one of partNames.
func (m *Model) newPart(name, arch, prefix string, params cgo.Params) (*part, error) {
	device := m.devices[name]
	create := func() (*cgo.Net, error) {
		return cgo.NewNet(arch, params, cgo.Config{
			Device: device.Index, Threads: m.options.Threads, Kernels: m.options.Kernels,
			Intact: m.weights.Intact, MakeRoom: m.makeRoom,
		})
	}
	net, err := create()
	if err != nil {
		return nil, err
	}
	p := &part{prefix: prefix, device: device, net: net, create: create, weights: m.weights, typ: m.options.Type, take: m.take,
		ways: cgo.Ways{Direct: true}, offload: m.options.Offload && name != partUNet && device.Kind != cgo.CPU}
	for _, w := range net.Weights() {
		if _, err := p.find(w); err != nil {
			net.Close()
			return nil, err
		}
	}
	return p, nil
}

// find returns the tensor for a weight, its shape known to be right.
func (p *part) find(w cgo.Weight) (convert.Tensor, error) {
	t, ok := p.weights.Tensor(p.prefix + w.Name)
	if !ok {
		return t, fmt.Errorf("tensor %q is missing: shape %v is wanted", p.prefix+w.Name, w.Shape)
	}
	// A 1x1 convolution and a matrix hold the same numbers.
	if !slices.Equal(withoutOnes(t.Shape), withoutOnes(w.Shape)) {
		return t, fmt.Errorf("tensor %q has the shape %v, %v wanted", t.Name, t.Shape, w.Shape)
	}
	return t, nil
}

func withoutOnes(shape []int64) []int64 {
	n := len(shape)
	for n > 1 && shape[n-1] == 1 {
		n--
	}
	return shape[:n]
}

// get returns the net with its weights bound. If ctx ends before, the next call
// begins anew.
func (p *part) get(ctx context.Context) (*cgo.Net, error) { return p.load(ctx, nil) }

// load is get, which tells how many bytes have come to the device so far.
func (p *part) load(ctx context.Context, onProgress func(bytes uint64)) (*cgo.Net, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.wide != nil {
		return p.wide.load(ctx, onProgress)
	}
	if p.loaded {
		return p.net, nil
	}
	if !p.bound {
		if err := p.bind(ctx); err != nil {
			return nil, err
		}
		p.bound = true
	}
	p.net.Choose(p.ways)
	err := p.net.LoadWith(ctx, cgo.Loading{Memory: p.stream, Keep: true, OnProgress: onProgress})
	if err != nil {
		return nil, inMemory(err, p.device)
	}
	p.loaded = true
	return p.net, nil
}

// bind gives the net its weights.
func (p *part) bind(ctx context.Context) error {
	tensors := make([]convert.Tensor, 0, 1024)
	for _, w := range p.net.Weights() {
		t, err := p.find(w)
		if err != nil {
			return err
		}
		tensors = append(tensors, t)
	}
	release, err := p.takeWeights(tensors)
	if err != nil {
		return err
	}
	defer release()
	if err := p.convertAll(ctx, tensors); err != nil {
		return err
	}
	for i, t := range tensors {
		if err := p.net.Bind(i, uint32(t.Type), t.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// takeWeights asks for the memory of copies of weights: those that get another
// type, and those that the core makes float32.
func (p *part) takeWeights(tensors []convert.Tensor) (release func(), err error) {
	var copies uint64
	for _, t := range tensors {
		want, err := p.typeOf(t)
		if err != nil {
			return nil, err
		}
		row := t.Shape[len(t.Shape)-1]
		size, ok := want.Size(t.Elements(), row)
		if want != t.Type || t.Scale != nil {
			copies += uint64(size)
		}
		if want != dtype.F32 && (len(t.Shape) == 1 || !ok) {
			copies += 4 * uint64(t.Elements())
		}
	}
	return p.take("a network's weights in their new type", copies)
}

// idle gives the device's memory back where the caller wants that. The next
// run takes it again.
func (p *part) idle() {
	if p == nil || !p.offload {
		return
	}
	p.net.Unload()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.wide.idle()
}

func (p *part) close() {
	if p != nil {
		p.net.Close()
		p.wide.close()
	}
}

// convertAll replaces the tensors that need another type by copies of it, on
// all processors.
func (p *part) convertAll(ctx context.Context, tensors []convert.Tensor) error {
	next := make(chan int)
	errs := make(chan error, 1)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := range next {
				if err := p.convert(ctx, &tensors[i]); err != nil {
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

// convert gives a tensor the type it is to be computed with.
func (p *part) convert(ctx context.Context, t *convert.Tensor) error {
	want, err := p.typeOf(*t)
	if err != nil {
		return err
	}
	if want == t.Type && t.Scale == nil {
		return nil
	}
	bytes, err := t.Recode(ctx, want, cgo.Quantize)
	if err != nil {
		return err
	}
	t.Type, t.Bytes, t.Scale = want, bytes, nil
	return nil
}
