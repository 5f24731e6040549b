package latent

import (
	"context"
	"fmt"
	"image"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/loss"
	"github.com/sdgo/sdgo/train/random"
)

// Options say how pictures are drawn.
type Options struct {
	Seed  uint64
	Batch int
	Draw  data.Draw
	Noise loss.Options // Process and Prediction are the model's
}

// Streams of random numbers of a sample. Trainings may have more, from 100 on.
const (
	pictureStream = 10 + iota
	noiseStream
	latentStream
)

// Pictures are a set's pictures as latents, in memory.
type Pictures struct {
	o      Options
	pixels *data.Pixels
	order  *data.Order
	noise  *loss.Noiser
	all    [][2]autoencoder.Encoding // of each item, as it is and mirrored
}

// Check returns an error for options out of range.
func (o Options) Check() error {
	if o.Batch < 1 || o.Batch > 1<<10 {
		return fmt.Errorf("a batch must be 1 to %d, got %d", 1<<10, o.Batch)
	}
	return o.Draw.Check()
}

// NewPictures encodes all pictures; progress is called after each of them. What a network
// predicts may have to be found out by a trial run.
func NewPictures(ctx context.Context, m *Model, set *data.Set, pixels *data.Pixels, o Options, progress func(done, of int)) (*Pictures, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	p := &Pictures{o: o, pixels: pixels}
	var err error
	p.o.Noise.Process = m.Pipeline.Denoiser.Process()
	if p.o.Noise.Prediction, err = m.Pipeline.Denoiser.Prediction(ctx); err != nil {
		return nil, err
	}
	if p.noise, err = loss.NewNoiser(p.o.Noise); err != nil {
		return nil, err
	}
	if p.order, err = data.NewOrder(o.Seed, o.Batch, pixels.Bucket); err != nil {
		return nil, err
	}
	return p, p.encode(ctx, m, set, progress)
}

// Largest is the size of the largest pictures.
func (p *Pictures) Largest() (largest image.Point) {
	for _, i := range p.pixels.Bucket {
		if s := p.pixels.Buckets[i]; s.X*s.Y > largest.X*largest.Y {
			largest = s
		}
	}
	return largest
}

// encode makes the latents of all pictures.
func (p *Pictures) encode(ctx context.Context, m *Model, set *data.Set, progress func(done, of int)) error {
	for i := range set.Items {
		size := p.pixels.Buckets[p.pixels.Bucket[i]]
		x := tensor.New(3, size.Y, size.X)
		p.pixels.Picture(x.Data, nil, i, data.Draw{Background: p.o.Draw.Background}, random.New(p.o.Seed, uint64(i), pictureStream))
		var both [2]autoencoder.Encoding
		for mirrored := range both {
			if mirrored == 1 && !p.o.Draw.Flip {
				break
			}
			if mirrored == 1 {
				mirror(x)
			}
			var err error
			if both[mirrored], err = m.Pipeline.Autoencoder.Encode(ctx, x); err != nil {
				return fmt.Errorf("%s: %w", set.Items[i].Path, err)
			}
		}
		p.all = append(p.all, both)
		progress(i+1, len(set.Items))
	}
	return nil
}

func mirror(x tensor.Tensor) {
	w := x.Width()
	for at := 0; at < len(x.Data); at += w {
		row := x.Data[at : at+w]
		for i := range w / 2 {
			row[i], row[w-1-i] = row[w-1-i], row[i]
		}
	}
}

// Batch is noisy latents of one shape, with what the network should predict.
type Batch struct {
	X, Target []float32
	Times     []float32
	Weights   []float64
	Shape     []int    // of each, [C, H, W]
	Items     []int    // of the set
	Numbers   []uint64 // of the samples, over the whole training

	factors []float32 // of the loss's gradient
}

// NewBatch completes a batch that is given.
func NewBatch(b Batch) (*Batch, error) {
	b.factors = make([]float32, len(b.X))
	return &b, loss.Factors(b.factors, nil, b.Weights)
}

// Loss is that of the network's prediction.
func (b *Batch) Loss(prediction []float32) (float64, error) {
	return loss.Squared(prediction, b.Target, nil, b.Weights)
}

// Batch draws batch n.
func (p *Pictures) Batch(n uint64) (*Batch, error) {
	b := Batch{Items: p.order.Batch(n)}
	for k, item := range b.Items {
		number := n*uint64(p.o.Batch) + uint64(k)
		mirrored := 0
		if p.o.Draw.Flip {
			mirrored = random.New(p.o.Seed, number, pictureStream).IntN(2)
		}
		var noise sampler.Noise = random.New(p.o.Seed, number, latentStream)
		x0 := p.all[item][mirrored].Sample(noise)
		r := random.New(p.o.Seed, number, noiseStream)
		sigma := p.noise.Sigma(r)
		eps, x, target := x0.Like(), x0.Like(), x0.Like()
		p.noise.Noise(eps.Data, x0.Shape[0], r)
		if err := p.noise.Mix(x.Data, target.Data, x0.Data, eps.Data, sigma); err != nil {
			return nil, err
		}
		b.X, b.Target, b.Shape = append(b.X, x.Data...), append(b.Target, target.Data...), x0.Shape
		b.Times, b.Weights = append(b.Times, float32(p.noise.Time(sigma))), append(b.Weights, p.noise.Weight(sigma))
		b.Numbers = append(b.Numbers, number)
	}
	return NewBatch(b)
}
