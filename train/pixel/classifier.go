package pixel

import (
	"context"
	"errors"
	"fmt"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/train"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/loss"
	"github.com/sdgo/sdgo/train/network"
	"github.com/sdgo/sdgo/train/random"
)

// ClassifierOptions say how a classifier is trained.
type ClassifierOptions struct {
	Seed      uint64
	Batch     int
	Smoothing float64 // share of each label that is spread over all classes, 0 to below 1

	// Clean is the share of samples without noise, at time 0, so that it judges finished
	// pictures, too.
	Clean float64

	Draw data.Draw
}

// Classifier is the task of training a classifier of noisy pictures: a [train.Task].
type Classifier struct {
	*Model
	o      ClassifierOptions
	set    *data.Set
	pixels *data.Pixels
	order  *data.Order
	noise  *loss.Noiser

	draw            func(n uint64, k int, x0, eps []float32) (sigma float64, label int, err error)
	x0, eps, unused []float32 // of a sample
	x, times, out   []float32
	probabilities   []float32 // that the labels ask for
	factors         []float32
	labels          []int
}

// NewClassifier makes the task of a model and a set, whose pictures must be of the model's
// size and have its classes.
func NewClassifier(m *Model, set *data.Set, pixels *data.Pixels, o ClassifierOptions) (*Classifier, error) {
	if !m.config.Classifier {
		return nil, errors.New("the model is a UNet, not a classifier")
	}
	if err := m.checkSet(set, pixels, o.Batch); err != nil {
		return nil, err
	}
	for _, share := range []struct {
		name string
		v    float64
	}{{"smoothed labels", o.Smoothing}, {"samples without noise", o.Clean}} {
		if !(share.v >= 0 && share.v < 1) {
			return nil, fmt.Errorf("the share of %s must be 0 to below 1, got %g", share.name, share.v)
		}
	}
	if set.Classes == nil {
		return nil, errors.New("the pictures have no classes")
	}
	c := &Classifier{Model: m, o: o, set: set, pixels: pixels}
	c.draw = c.sample
	var err error
	if c.noise, err = loss.NewNoiser(loss.Options{Process: m.process, Prediction: m.prediction}); err != nil {
		return nil, err
	}
	n := 3 * m.Size() * m.Size()
	slice := func(n int) []float32 { return make([]float32, n) }
	c.x0, c.eps, c.unused = slice(n), slice(n), slice(n)
	c.x, c.times, c.labels = slice(n*o.Batch), slice(o.Batch), make([]int, o.Batch)
	c.out, c.probabilities, c.factors = slice(m.Classes()*o.Batch), slice(m.Classes()*o.Batch), slice(m.Classes()*o.Batch)
	c.order, err = data.NewOrder(o.Seed, o.Batch, pixels.Bucket)
	return c, errors.Join(err, o.Draw.Check())
}

// sample draws sample k of batch n; without noise sigma is 0.
func (c *Classifier) sample(n uint64, k int, x0, eps []float32) (sigma float64, label int, err error) {
	item, number := c.order.Batch(n)[k], n*uint64(c.o.Batch)+uint64(k)
	c.pixels.Picture(x0, nil, item, c.o.Draw, random.New(c.o.Seed, number, pictureStream))
	r := random.New(c.o.Seed, number, noiseStream)
	if r.Float64() >= c.o.Clean {
		sigma = c.noise.Sigma(r)
		c.noise.Noise(eps, 3, r)
	}
	return sigma, c.set.Items[item].Class, nil
}

// Gradients implements [train.Task].
func (c *Classifier) Gradients(ctx context.Context, batch uint64, sum [][]float32) (train.Loss, error) {
	size := len(c.x0)
	for k := range c.o.Batch {
		sigma, label, err := c.draw(batch, k, c.x0, c.eps)
		if err != nil {
			return train.Loss{}, err
		}
		x := c.x[k*size : (k+1)*size]
		copy(x, c.x0)
		c.times[k], c.labels[k] = 0, label
		if sigma == 0 {
			continue
		}
		if err := c.noise.Mix(x, c.unused, c.x0, c.eps, sigma); err != nil {
			return train.Loss{}, err
		}
		c.times[k] = float32(c.noise.Time(sigma))
	}
	if err := loss.Labels(c.probabilities, c.factors, c.labels, c.o.Smoothing); err != nil {
		return train.Loss{}, err
	}
	if err := c.Step(ctx, c.stepInputs(), "logits", c.out, sum); err != nil {
		return train.Loss{}, err
	}
	value, right, err := loss.CrossEntropy(c.out, c.labels, c.o.Smoothing)
	return train.Loss{Value: value, Right: right, Of: c.o.Batch}, err
}

// stepInputs are the network's and the loss's.
func (c *Classifier) stepInputs() []cgo.Input {
	shape := []int64{int64(c.o.Batch), int64(c.Classes())}
	return append(c.inputs(c.x, c.times, nil), network.Entropy("logits", shape, c.probabilities, c.factors)...)
}

// Memory is what a step takes beside the weights, with a number of states for each, in bytes.
func (c *Classifier) Memory(ctx context.Context, states int) (uint64, error) {
	return c.Network.Memory(ctx, c.stepInputs(), "logits", states)
}
