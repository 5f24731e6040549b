// Package control trains T2I-Adapters (Mou et al. 2023, arXiv:2302.08453): small networks
// that make a model of Stable Diffusion follow a control picture, such as edges. The model's
// own weights stay as they are, mapped from the file and quantized.
package control

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"strings"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/replace"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/train"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/latent"
	"github.com/sdgo/sdgo/train/network"
	"github.com/sdgo/sdgo/train/random"
)

// Options say how a T2I-Adapter is trained. Pictures are not mirrored.
type Options struct {
	Blocks      int     // residual blocks of each feature, 1 to 8
	Caption     string  // of pictures without one
	CaptionDrop float64 // share of samples that are trained with an empty prompt

	// Control makes the control picture of a picture, of its size.
	Control func(image.Image) (*image.NRGBA, error)

	Device network.Options
	latent.Options
}

// Check returns an error for options out of range.
func (o Options) Check() error {
	switch {
	case o.Blocks < 1 || o.Blocks > 8:
		return fmt.Errorf("the blocks of each feature must be 1 to 8, got %d", o.Blocks)
	case o.Control == nil:
		return errors.New("there must be a function that makes control pictures")
	case o.Draw.Flip:
		return errors.New("pictures with control pictures are not mirrored")
	}
	return o.Options.Check()
}

// firstStream is that of the first numbers.
const firstStream = 101

// Task is the task of training a T2I-Adapter: a [train.Task].
type Task struct {
	*network.Network
	m        *latent.Model
	o        Options
	config   *convert.T2IAdapterConfig
	pictures *latent.Pictures
	captions *latent.Captions
	controls []tensor.Tensor // of each item, as the network takes it
}

// New makes the task of a model and a set, whose pictures and captions are encoded at once;
// progress is called after each picture.
func New(ctx context.Context, m *latent.Model, set *data.Set, pixels *data.Pixels, o Options, progress func(done, of int)) (*Task, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if n := m.Pipeline.Autoencoder.Factor(); n != control.Factor {
		return nil, fmt.Errorf("T2I-Adapters are for latents of 1/%d of the picture's sides, the model's are 1/%d", control.Factor, n)
	}
	t := &Task{m: m, o: o}
	var err error
	if t.config, err = convert.NewT2IAdapterConfig(m.Config.UNet, o.Blocks); err != nil {
		return nil, err
	}
	if t.captions, err = latent.NewCaptions(ctx, m, set, latent.CaptionOptions{Seed: o.Seed, Caption: o.Caption, Drop: o.CaptionDrop}); err != nil {
		return nil, err
	}
	if err := t.control(set, pixels); err != nil {
		return nil, err
	}
	if t.pictures, err = latent.NewPictures(ctx, m, set, pixels, o.Options, progress); err != nil {
		return nil, err
	}
	t.Network, err = network.New(ctx, "t2i_adapter", t.config.Params(), o.Device, t.begin(), func(string) bool { return true })
	return t, err
}

// control makes the control pictures.
func (t *Task) control(set *data.Set, pixels *data.Pixels) error {
	multiple := t.config.Multiple()
	for i, item := range set.Items {
		size := pixels.Buckets[pixels.Bucket[i]]
		if size.X%multiple != 0 || size.Y%multiple != 0 {
			return fmt.Errorf("%s: the sides of pictures must be multiples of %d, got %dx%d", item.Path, multiple, size.X, size.Y)
		}
		x := tensor.New(3, size.Y, size.X)
		pixels.Picture(x.Data, nil, i, t.o.Draw, random.New(t.o.Seed, uint64(i), 0))
		img := image.NewNRGBA(image.Rectangle{Max: size})
		for k := range size.X * size.Y {
			for c := range 3 {
				img.Pix[4*k+c] = uint8(min(max((x.Data[c*size.X*size.Y+k]+1)*127.5+0.5, 0), 255))
			}
			img.Pix[4*k+3] = 255
		}
		made, err := t.o.Control(img)
		if err == nil && made.Rect.Size() != size {
			err = fmt.Errorf("its control picture must be as large, %v, got %v", size, made.Rect.Size())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", item.Path, err)
		}
		for k := range size.X * size.Y {
			for c := range 3 {
				x.Data[c*size.X*size.Y+k] = float32(made.Pix[4*k+c]) / 255
			}
		}
		t.controls = append(t.controls, control.Grey(x).PixelUnshuffle(t.config.Fold))
	}
	return nil
}

// begin gives the first numbers as PyTorch does: uniform within 1/sqrt(inputs).
func (t *Task) begin() func(cgo.Weight) ([]float32, error) {
	inputs, next := int64(0), uint64(0)
	return func(w cgo.Weight) ([]float32, error) {
		n := int64(1)
		for _, d := range w.Shape {
			n *= d
		}
		if strings.HasSuffix(w.Name, ".weight") { // its bias follows
			inputs = n / w.Shape[0]
		}
		values, limit := make([]float32, n), 1/math.Sqrt(float64(max(inputs, 1)))
		random.New(t.o.Seed, next, firstStream).Uniform(values, -limit, limit)
		next++
		return values, nil
	}
}

// Gradients implements [train.Task].
func (t *Task) Gradients(ctx context.Context, n uint64, sum [][]float32) (train.Loss, error) {
	b, err := t.pictures.Batch(n)
	if err != nil {
		return train.Loss{}, err
	}
	var c []pipeline.Condition
	for k, item := range b.Items {
		c = append(c, t.m.Condition(t.captions.Encoded(t.captions.Text(item, b.Numbers[k])), b.Shape))
	}
	own := t.inputs(b.Items)
	features, seeds := t.features(len(c), b.Shape)
	if err := t.Forward(ctx, own, outputs(features, "")...); err != nil {
		return train.Loss{}, err
	}
	prediction := make([]float32, len(b.X))
	out := append(outputs(seeds, "d:"), cgo.Output{Name: "out", Data: prediction})
	if err := t.m.Pipeline.Denoiser.Network().Run(ctx, append(t.m.Inputs(b, c), features...), out); err != nil {
		return train.Loss{}, err
	}
	for i := range seeds {
		seeds[i].Name = "d_" + seeds[i].Name
	}
	if err := t.Backward(ctx, append(own, seeds...), sum); err != nil {
		return train.Loss{}, err
	}
	value, err := b.Loss(prediction)
	return train.Loss{Value: value}, err
}

// inputs are the network's for some items of one size.
func (t *Task) inputs(items []int) []cgo.Input {
	first := t.controls[items[0]]
	in := cgo.Input{Name: "picture", Shape: tensor.Batch(len(items), first.Shape)}
	for _, item := range items {
		in.F32 = append(in.F32, t.controls[item].Data...)
	}
	return []cgo.Input{in}
}

// features are the network's outputs for n latents of a shape, and as many numbers for their
// gradients.
func (t *Task) features(n int, shape []int) (features, gradients []cgo.Input) {
	h, w := control.Factor*shape[1]/t.config.Fold, control.Factor*shape[2]/t.config.Fold
	for i, channels := range t.config.Channels {
		h, w = h>>t.config.Halves[i], w>>t.config.Halves[i]
		f := cgo.Input{Name: fmt.Sprintf("feature.%d", i), Shape: tensor.Batch(n, []int{channels, h, w})}
		f.F32 = make([]float32, n*channels*h*w)
		features = append(features, f)
		f.F32 = make([]float32, len(f.F32))
		gradients = append(gradients, f)
	}
	return features, gradients
}

func outputs(all []cgo.Input, prefix string) (out []cgo.Output) {
	for _, f := range all {
		out = append(out, cgo.Output{Name: prefix + f.Name, Data: f.F32})
	}
	return out
}

// Memory is what a step takes beside the weights, with a number of states for each, in bytes.
func (t *Task) Memory(ctx context.Context, states int) (uint64, error) {
	size := t.pictures.Largest()
	shape := t.m.Pipeline.Denoiser.Latent(size.X, size.Y)
	features, seeds := t.features(t.o.Batch, shape)
	bytes, err := t.m.Memory(ctx, t.pictures, outputs(seeds, "d:"), nil, features...)
	if err != nil {
		return 0, err
	}
	in := []cgo.Input{{Name: "picture", Shape: tensor.Batch(t.o.Batch, []int{t.config.Fold * t.config.Fold, size.Y / t.config.Fold, size.X / t.config.Fold})}}
	for i := range seeds {
		seeds[i].Name = "d_" + seeds[i].Name
	}
	own, err := t.Network.Memory(ctx, append(in, seeds...), "", states)
	return bytes + own, err
}

// Save writes the network in its authors' layout. The type is f16, f32 or bf16.
func (t *Task) Save(_ context.Context, path string, weights [][]float32, typ dtype.Type) error {
	names := map[dtype.Type]string{dtype.F16: "F16", dtype.F32: "F32", dtype.BF16: "BF16"}
	if names[typ] == "" {
		return fmt.Errorf("the type of a T2I-Adapter must be f16, f32 or bf16, got %v", typ)
	}
	shapes := map[string][]int64{}
	all, err := network.Names("t2i_adapter", t.config.Params())
	if err != nil {
		return err
	}
	for _, w := range all {
		shapes[w.Name] = w.Shape
	}
	var tensors []safetensors.Tensor
	for i, name := range t.Names() {
		size := 2
		if typ == dtype.F32 {
			size = 4
		}
		x := safetensors.Tensor{Name: name, DType: names[typ], Shape: shapes[name], Data: make([]byte, size*len(weights[i]))}
		if err := dtype.Encode(typ, x.Data, weights[i]); err != nil {
			return err
		}
		tensors = append(tensors, x)
	}
	metadata := t.config.Metadata()
	metadata["format"] = "pt"
	f, err := replace.Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := safetensors.Write(f, metadata, tensors); err != nil {
		return err
	}
	return f.Commit()
}
