package pixel

import (
	"context"
	"errors"
	"fmt"
	"image"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/train"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/loss"
	"github.com/sdgo/sdgo/train/network"
	"github.com/sdgo/sdgo/train/random"
)

// Streams of random numbers of a sample.
const (
	pictureStream = 10 + iota
	noiseStream
	classStream
)

// UNetOptions say how a UNet is trained.
type UNetOptions struct {
	Seed  uint64
	Batch int

	// ClassDrop is the share of samples that are trained without their class, for
	// classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598).
	ClassDrop float64

	Draw  data.Draw
	Noise loss.Options // Process and Prediction are the model's
}

// UNet is the task of training a UNet: a [train.Task].
type UNet struct {
	*Model
	o      UNetOptions
	set    *data.Set
	pixels *data.Pixels
	order  *data.Order
	noise  *loss.Noiser

	draw func(n uint64, k int, x0, eps, mask []float32) (sigma float64, class int, err error) // sample k of batch n
	b    *buffers
}

// buffers are those of a batch.
type buffers struct {
	x0, eps, mask                   []float32 // of a sample
	x, target, out, factors, masked []float32
	times                           []float32
	classes                         []int32
	weights                         []float64
}

// NewUNet makes the task of a model and a set, whose pictures must be of the model's size.
func NewUNet(m *Model, set *data.Set, pixels *data.Pixels, o UNetOptions) (*UNet, error) {
	if m.config.Classifier {
		return nil, errors.New("the model is a classifier, not a UNet")
	}
	if err := m.checkSet(set, pixels, o.Batch); err != nil {
		return nil, err
	}
	switch {
	case m.config.ClassInput != "" && set.Classes == nil:
		return nil, fmt.Errorf("the model has %d classes, and the pictures have none", m.Classes())
	case !(o.ClassDrop >= 0 && o.ClassDrop < 1):
		return nil, fmt.Errorf("the share of samples without a class must be 0 to below 1, got %g", o.ClassDrop)
	case o.ClassDrop > 0 && m.config.NullClass < 0:
		return nil, errors.New("the model cannot draw without a class: the share of samples without one must be 0")
	}
	u := &UNet{Model: m, o: o, set: set, pixels: pixels}
	u.o.Noise.Process, u.o.Noise.Prediction = m.process, m.prediction
	var err error
	if u.noise, err = loss.NewNoiser(u.o.Noise); err != nil {
		return nil, err
	}
	u.order, err = data.NewOrder(o.Seed, o.Batch, pixels.Bucket)
	u.draw = u.sample
	u.b = newBuffers(m, o.Batch)
	return u, errors.Join(err, o.Draw.Check())
}

// maxBatch bounds batches.
const maxBatch = 1 << 14

func (m *Model) checkSet(set *data.Set, pixels *data.Pixels, batch int) error {
	size := image.Pt(m.Size(), m.Size())
	switch {
	case len(pixels.Buckets) != 1 || pixels.Buckets[0] != size:
		return fmt.Errorf("the pictures must be of the model's size, %v", size)
	case batch < 1 || batch > maxBatch:
		return fmt.Errorf("a batch must be 1 to %d, got %d", maxBatch, batch)
	case set.Classes != nil && m.Classes() != 0 && len(set.Classes) != m.Classes():
		return fmt.Errorf("the model has %d classes, the pictures have %d", m.Classes(), len(set.Classes))
	}
	return nil
}

func newBuffers(m *Model, batch int) *buffers {
	pixels := m.Size() * m.Size()
	n := 3 * pixels
	slice := func(n int) []float32 { return make([]float32, n) }
	return &buffers{
		x0: slice(n), eps: slice(n), mask: slice(pixels), x: slice(n * batch), target: slice(n * batch), out: slice(n * batch), factors: slice(n * batch), masked: slice(n * batch),
		times: slice(batch), classes: make([]int32, batch), weights: make([]float64, batch),
	}
}

// sample draws sample k of batch n.
func (u *UNet) sample(n uint64, k int, x0, eps, mask []float32) (sigma float64, class int, err error) {
	item, number := u.order.Batch(n)[k], n*uint64(u.o.Batch)+uint64(k)
	if !u.pixels.Masks {
		mask = nil
	}
	u.pixels.Picture(x0, mask, item, u.o.Draw, random.New(u.o.Seed, number, pictureStream))
	r := random.New(u.o.Seed, number, noiseStream)
	sigma = u.noise.Sigma(r)
	u.noise.Noise(eps, 3, r)
	class = u.set.Items[item].Class
	if u.o.ClassDrop > 0 && random.New(u.o.Seed, number, classStream).Float64() < u.o.ClassDrop {
		class = u.config.NullClass
	}
	return sigma, class, nil
}

// inputs are the network's.
func (m *Model) inputs(x, times []float32, classes []int32) []cgo.Input {
	n, side := int64(len(times)), int64(m.Size())
	in := []cgo.Input{{Name: "x", Shape: []int64{n, 3, side, side}, F32: x}, {Name: "timesteps", Shape: []int64{n}, F32: times}}
	if m.config.ClassInput != "" {
		in = append(in, cgo.Input{Name: "class", Shape: []int64{n, 1}, I32: classes})
	}
	return in
}

// Gradients implements [train.Task].
func (u *UNet) Gradients(ctx context.Context, batch uint64, sum [][]float32) (train.Loss, error) {
	b, size := u.b, len(u.b.x0)
	for k := range u.o.Batch {
		sigma, class, err := u.draw(batch, k, b.x0, b.eps, b.mask)
		if err != nil {
			return train.Loss{}, err
		}
		at := k * size
		if err := u.noise.Mix(b.x[at:at+size], b.target[at:at+size], b.x0, b.eps, sigma); err != nil {
			return train.Loss{}, err
		}
		b.times[k], b.classes[k], b.weights[k] = float32(u.noise.Time(sigma)), int32(class), u.noise.Weight(sigma)
		for c := range 3 {
			copy(b.masked[at+c*len(b.mask):], b.mask)
		}
	}
	masks := b.masked
	if !u.pixels.Masks {
		masks = nil
	}
	if err := loss.Factors(b.factors, masks, b.weights); err != nil {
		return train.Loss{}, err
	}
	if err := u.Step(ctx, u.stepInputs(), "sample", b.out, sum); err != nil {
		return train.Loss{}, err
	}
	value, err := loss.Squared(b.out, b.target, masks, b.weights)
	return train.Loss{Value: value}, err
}

// stepInputs are the network's and the loss's.
func (u *UNet) stepInputs() []cgo.Input {
	in := u.inputs(u.b.x, u.b.times, u.b.classes)
	return append(in, network.Squared("sample", in[0].Shape, u.b.target, u.b.factors)...)
}

// Memory is what a step takes beside the weights, with a number of states for each, in bytes.
func (u *UNet) Memory(ctx context.Context, states int) (uint64, error) {
	return u.Network.Memory(ctx, u.stepInputs(), "sample", states)
}
