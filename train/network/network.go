// Package network has networks whose weights are in memory, in float32, and change between
// runs: what training and fine-tuning need of package cgo's.
package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unsafe"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/train/optim"
)

// Options say where a network runs.
type Options struct {
	Threads  int    // of the CPU; 0: one for each physical core
	Backend  string // a device's name as `sdgo devices` lists it; "" the CPU
	Kernels  string // the CPU's operators; "" those of SDGO_KERNELS, else the fastest
	Segments int    // parts whose tensors are computed twice: less memory, more time; 0: none
}

// Network is a network with its weights. Its methods must not be called by two goroutines
// at once.
type Network struct {
	net     *cgo.Net
	all     [][]float32 // in the order of the core's
	index   []int       // of trained weights
	names   []string    // of trained weights
	weights [][]float32 // trained ones
	scratch [][]float32 // their gradients of one run
}

// Names lists the weights of a network, with their shapes.
func Names(arch string, params cgo.Params) ([]cgo.Weight, error) {
	net, err := cgo.NewNet(arch, params, cgo.Config{Threads: 1})
	if err != nil {
		return nil, err
	}
	defer net.Close()
	return net.Weights(), nil
}

// New makes a network. values gives each weight's elements, which become the network's
// own; trained says which ones are trained.
func New(ctx context.Context, arch string, params cgo.Params, o Options, values func(cgo.Weight) ([]float32, error), trained func(name string) bool) (*Network, error) {
	config := cgo.Config{Threads: o.Threads}
	if config.Threads == 0 {
		config.Threads = cgo.Threads()
	}
	var err error
	if config.Device, err = device(o.Backend); err != nil {
		return nil, err
	}
	if config.Kernels, err = engine.Kernels(o.Kernels); err != nil {
		return nil, err
	}
	net, err := cgo.NewNet(arch, params, config)
	if err != nil {
		return nil, err
	}
	n := &Network{net: net}
	if err := n.bind(ctx, values, trained); err != nil {
		net.Close()
		return nil, err
	}
	net.Choose(cgo.OpChoice{DirectConv: true, Float32: true, GradientSegments: o.Segments})
	if err := net.LoadWith(ctx, cgo.Loading{Keep: true}); err != nil {
		net.Close()
		return nil, err
	}
	return n, nil
}

// device is the index of a device by its name.
func device(name string) (int, error) {
	if name == "" || strings.EqualFold(name, "cpu") {
		return 0, nil
	}
	var names []string
	for _, d := range cgo.Devices() {
		if strings.EqualFold(d.Name, name) {
			return d.Index, nil
		}
		names = append(names, strings.ToLower(d.Name))
	}
	return 0, fmt.Errorf("the backend must be one of %s, got %.40q", strings.Join(names, ", "), name)
}

func (n *Network) bind(ctx context.Context, values func(cgo.Weight) ([]float32, error), trained func(string) bool) error {
	for i, w := range n.net.Weights() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		elements := int64(1)
		for _, d := range w.Shape {
			elements *= d
		}
		v, err := values(w)
		if err != nil {
			return err
		}
		if int64(len(v)) != elements {
			return fmt.Errorf("tensor %q must have %d elements, got %d", w.Name, elements, len(v))
		}
		if err := n.net.Bind(i, 0, bytesOf(v)); err != nil {
			return err
		}
		n.all = append(n.all, v)
		if trained(w.Name) {
			n.index, n.names, n.weights = append(n.index, i), append(n.names, w.Name), append(n.weights, v)
			n.scratch = append(n.scratch, make([]float32, len(v)))
		}
	}
	return nil
}

// Close frees the network, after the run in progress.
func (n *Network) Close() { n.net.Close() }

// Names are those of the weights that are trained.
func (n *Network) Names() []string { return n.names }

// Weights are the values of the weights that are trained. They change only within Change.
func (n *Network) Weights() [][]float32 { return n.weights }

// Elements is the number of weights: of all, and of those that are trained.
func (n *Network) Elements() (all, trained int) {
	for _, w := range n.all {
		all += len(w)
	}
	for _, w := range n.weights {
		trained += len(w)
	}
	return all, trained
}

// Hash is a hash of the weights that are trained.
func (n *Network) Hash() string {
	h := sha256.New()
	for _, w := range n.weights {
		h.Write(bytesOf(w))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// bytesOf are the bytes of numbers, not a copy.
func bytesOf(v []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

// Change calls change, which may write to the weights.
func (n *Network) Change(ctx context.Context, change func()) error {
	return n.net.Change(ctx, n.index, change)
}

// Forward computes outputs.
func (n *Network) Forward(ctx context.Context, in []cgo.Input, out ...cgo.Output) error {
	return n.net.Run(ctx, in, out)
}

// Backward adds to sum the gradients by the trained weights of a scalar, whose gradients by
// outputs, inputs "d_OUTPUT", are among in. It computes the outputs again.
func (n *Network) Backward(ctx context.Context, in []cgo.Input, sum [][]float32) error {
	if err := n.net.Run(ctx, in, n.outputs("", nil)); err != nil {
		return err
	}
	optim.Add(sum, n.scratch)
	return nil
}

// Squared are inputs that make a run compute gradients of squared differences of an output
// of a shape from target: factors are [loss.Factors].
func Squared(output string, shape []int64, target, factors []float32) []cgo.Input {
	return []cgo.Input{{Name: "mse_" + output, Shape: shape, F32: target}, {Name: "factor_" + output, Shape: shape, F32: factors}}
}

// Entropy are inputs that make a run compute gradients of the cross-entropy of an output,
// logits of a shape, with probabilities: these and factors are [loss.Labels].
func Entropy(output string, shape []int64, probabilities, factors []float32) []cgo.Input {
	return []cgo.Input{{Name: "entropy_" + output, Shape: shape, F32: probabilities}, {Name: "factor_" + output, Shape: shape, F32: factors}}
}

// Step computes an output and adds to sum the gradients by the trained weights of a loss of
// it, which inputs of [Squared] or [Entropy] among in say.
func (n *Network) Step(ctx context.Context, in []cgo.Input, name string, out []float32, sum [][]float32) error {
	if err := n.net.Run(ctx, in, n.outputs(name, out)); err != nil {
		return err
	}
	optim.Add(sum, n.scratch)
	return nil
}

// outputs are those of a step; without a name the gradients alone.
func (n *Network) outputs(name string, out []float32) (all []cgo.Output) {
	if name != "" {
		all = append(all, cgo.Output{Name: name, Data: out})
	}
	for i, w := range n.names {
		all = append(all, cgo.Output{Name: "d:weight:" + w, Data: n.scratch[i]})
	}
	return all
}

// Memory is what a step takes in addition to the weights, in bytes: the graph, the
// gradients and their sum. states is how many numbers are kept for each weight: those of
// the optimizer, and the average. Only the shapes of in are used.
func (n *Network) Memory(ctx context.Context, in []cgo.Input, name string, states int) (uint64, error) {
	graph, err := n.net.Estimate(ctx, in, n.outputs(name, nil))
	_, trained := n.Elements()
	return graph + 4*uint64(trained)*uint64(2+states), err
}
