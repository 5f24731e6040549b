// Package classifier runs classifiers of noisy pictures, whose gradients guide other models
// (Dhariwal and Nichol 2021, arXiv:2105.05233).
package classifier

import (
	"context"
	"fmt"
	"image"
	"math"
	"strconv"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/classes"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Classifier is an open classifier. Its methods may be called from any goroutine.
type Classifier struct {
	host    *engine.Host
	net     *engine.Network
	config  *convert.Pixel
	process *sampler.Process
	names   classes.Names
}

// ProcessOf makes the process that a file describes.
type ProcessOf func(c convert.PixelProcess, bars []float64) (*sampler.Process, sampler.Prediction, error)

// Open opens a classifier's file.
func Open(path string, o engine.Options, process ProcessOf) (*Classifier, error) {
	h, err := engine.Open(engine.NameOf(path), o, func() (*convert.Model, error) { return convert.Open(path) })
	if err != nil {
		return nil, err
	}
	c := &Classifier{host: h}
	if err := c.open(process); err != nil {
		h.Abandon()
		return nil, fmt.Errorf("%s: %w", h.Weights.Path, err)
	}
	return c, nil
}

func (c *Classifier) open(process ProcessOf) (err error) {
	weights := c.host.Weights
	if c.config, err = convert.ConfigAs[*convert.Pixel](weights, "a classifier of noisy pictures"); err != nil {
		return err
	}
	if !c.config.Classifier {
		return fmt.Errorf("%s: must be a classifier of noisy pictures, which sdgo train-classifier makes, not a model that draws", weights.Description)
	}
	own, err := classes.Labels(weights.Metadata[convert.PixelLabels], c.config.Classes)
	if err != nil {
		return fmt.Errorf("%s %w", convert.PixelLabels, err)
	}
	c.names = classes.Of(c.config.Classes, own)
	if c.process, _, err = process(c.config.Process, weights.AlphasCumprod); err != nil {
		return err
	}
	return c.host.Place(func() (err error) {
		c.net, err = c.host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the classifier", Arch: c.config.Net, Prefix: c.config.Prefix, Params: c.config.Params()})
		return err
	}, func() ([]engine.Demand, error) {
		d, ok, err := engine.DemandOf(c.net, output, c.inputs(1, nil, make([]float32, 1))...)
		if !ok {
			return nil, err
		}
		return []engine.Demand{d}, err
	})
}

// output is the network's.
const output = "logits"

// Host is the network's host; nil for a zero value, which was never opened.
func (c *Classifier) Host() *engine.Host {
	if c == nil {
		return nil
	}
	return c.host
}

// Name is the classifier's name: its file's name without folder and extension.
func (c *Classifier) Name() string {
	if c.Host() == nil {
		return ""
	}
	return c.host.Name
}

// Close waits for the calls in progress, frees the network and unmaps the file. Closing
// again does nothing.
func (c *Classifier) Close() error {
	if c.Host() == nil {
		return nil
	}
	return c.host.Close()
}

// Classes is the number of classes, and what they are called, where they have names.
func (c *Classifier) Classes() (n int, names []string) { return c.config.Classes, c.names }

// Size is the side of the samples that it was made for.
func (c *Classifier) Size() int { return c.config.Side() }

// Class finds a class by its number or its name.
func (c *Classifier) Class(text string) (int, error) { return c.names.Find(text, c.config.Classes) }

// Fits returns an error if samples of a shape, [channels, H, W], are not those that it was
// made for.
func (c *Classifier) Fits(shape []int) error {
	if side := c.Size(); shape[0] != c.config.Channels || shape[1] != side || shape[2] != side {
		return fmt.Errorf("classifier %s is for samples of %d channels and %dx%d, these have %d and %dx%d", c.Name(), c.config.Channels, side, side, shape[0], shape[2], shape[1])
	}
	return nil
}

// inputs are those of the network for n samples.
func (c *Classifier) inputs(n int, x, t []float32) []cgo.Input {
	side := c.Size()
	return []cgo.Input{{Name: "x", Shape: tensor.Batch(n, []int{c.config.Channels, side, side}), F32: x}, {Name: "timesteps", Shape: []int64{int64(n)}, F32: t}}
}

// use keeps the classifier open.
func (c *Classifier) use() (release func(), err error) {
	if c.Host() == nil {
		return nil, engine.ErrClosed
	}
	return engine.Use(c.host)
}

// Probabilities are those of the classes, given a sample at noise level sigma, 0 or more: x
// is x0 + sigma·eps, [channels, H, W].
func (c *Classifier) Probabilities(ctx context.Context, x []float32, sigma float64) ([]float64, error) {
	release, err := c.use()
	if err != nil {
		return nil, err
	}
	defer release()
	in, err := c.scaled(x, sigma)
	if err != nil {
		return nil, err
	}
	return c.probabilities(ctx, in)
}

// scaled are the network's inputs for a sample.
func (c *Classifier) scaled(x []float32, sigma float64) ([]cgo.Input, error) {
	side := c.Size()
	if want := c.config.Channels * side * side; len(x) != want {
		return nil, &sampler.LengthError{What: "a sample of classifier " + c.Name(), Got: len(x), Want: want}
	}
	scale, t := 1.0, 0.0
	if sigma > 0 {
		scale, t = c.process.Scale(sigma), c.process.NetTime(sigma)
	}
	z := make([]float32, len(x))
	for i, v := range x {
		z[i] = float32(scale * float64(v))
	}
	return c.inputs(1, z, []float32{float32(t)}), nil
}

func (c *Classifier) probabilities(ctx context.Context, in []cgo.Input) ([]float64, error) {
	logits := make([]float32, c.config.Classes)
	if err := c.net.RunFinite(ctx, in, []cgo.Output{{Name: output, Data: logits}}); err != nil {
		return nil, err
	}
	most, sum := math.Inf(-1), 0.0
	for _, v := range logits {
		most = max(most, float64(v))
	}
	all := make([]float64, len(logits))
	for i, v := range logits {
		all[i] = math.Exp(float64(v) - most)
		sum += all[i]
	}
	for i := range all {
		all[i] /= sum
	}
	return all, nil
}

// LogProbability is log p(class | x), whose gradient by x it writes to grad.
func (c *Classifier) LogProbability(ctx context.Context, grad, x []float32, sigma float64, class int) (float64, error) {
	release, err := c.use()
	if err != nil {
		return 0, err
	}
	defer release()
	if class < 0 || class >= c.config.Classes {
		return 0, fmt.Errorf("class must be 0 to %d, got %d", c.config.Classes-1, class)
	}
	in, err := c.scaled(x, sigma)
	if err != nil {
		return 0, err
	}
	p, err := c.probabilities(ctx, in)
	if err != nil {
		return 0, err
	}
	seed := make([]float32, len(p)) // the gradient by the logits
	for i, v := range p {
		seed[i] = float32(-v)
	}
	seed[class]++
	in = append(in, cgo.Input{Name: "d_" + output, Shape: []int64{1, int64(len(p))}, F32: seed})
	if err := c.net.Run(ctx, in, []cgo.Output{{Name: "d:x", Data: grad}}); err != nil {
		return 0, fmt.Errorf("the classifier's gradient: %w", err)
	}
	if sigma > 0 {
		scale := float32(c.process.Scale(sigma))
		for i := range grad {
			grad[i] *= scale
		}
	}
	return math.Log(max(p[class], math.SmallestNonzeroFloat64)), nil
}

// Gradient is that of log p(class | x) for [sampler.Classifier], which takes it at the noisy
// sample and at the noise level's time of the classifier's own process.
func (c *Classifier) Gradient(class int) sampler.Gradient {
	return func(ctx context.Context, dst, x, _ []float32, sigma float64) error {
		_, err := c.LogProbability(ctx, dst, x, sigma, class)
		return err
	}
}

// Loss is -log p(class | x0) of clean samples, for guidance by losses.
func (c *Classifier) Loss(class int) sampler.LossFunc {
	return func(ctx context.Context, grad, x0 []float32) (float64, error) {
		value, err := c.LogProbability(ctx, grad, x0, 0, class)
		for i := range grad {
			grad[i] = -grad[i]
		}
		return -value, err
	}
}

// Judge are the probabilities of the classes, given a finished picture of the size that the
// classifier was made for.
func (c *Classifier) Judge(ctx context.Context, img *image.NRGBA) ([]float64, error) {
	if c.Host() == nil {
		return nil, engine.ErrClosed
	}
	pixels := tensor.FromImage(img)
	if err := c.Fits(pixels.Shape); err != nil {
		return nil, err
	}
	return c.Probabilities(ctx, pixels.Data, 0)
}

// ClassName is what a class is called: its name, or its number.
func (c *Classifier) ClassName(class int) string {
	if name := c.names.Name(class); name != "" {
		return name
	}
	return strconv.Itoa(class)
}
