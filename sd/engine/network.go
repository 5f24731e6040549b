package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
)

// Spec describes a network.
type Spec struct {
	Role   string     // selects the device: RoleText …
	Title  string     // in errors: "the UNet"
	Arch   string     // the C++ core's name: "unet", "clip_text" …
	Prefix string     // of its tensors' names in the file
	Params cgo.Params // hyperparameters
	Lazy   bool       // its weights are uploaded to a GPU by the first run
}

// Network is a network with a file's weights. [Host.NewNetwork] checks that the file
// has all of them; the first run binds them. Its methods may be called from any
// goroutine; runs of one network queue up.
type Network struct {
	host          *Host
	prefix, title string
	role          string
	lazy          bool
	device        cgo.DeviceInfo
	net           *cgo.Net
	typ           string // Options.Type

	create  func() (*cgo.Net, error) // makes a network like net
	offload bool                     // an idle network frees its device memory
	stream  uint64                   // bytes of device memory for streamed weights; 0: weights are not streamed

	mutex   sync.Mutex
	ops     cgo.OpChoice
	bound   bool
	loaded  bool
	float32 *Network // the network in float32, if needed (float32_fallback.go)
}

// NewNetwork creates a network on the device of its role. It is an error if a weight
// is missing in the file or has another shape.
func (h *Host) NewNetwork(s Spec) (*Network, error) {
	device := h.devices[s.Role]
	create := func() (*cgo.Net, error) {
		return cgo.NewNet(s.Arch, s.Params, cgo.Config{
			Device: device.Index, Threads: h.options.Threads, Kernels: h.options.Kernels,
			Intact: h.Weights.Intact, MakeRoom: h.MakeRoom, Keep: h.keepFor(s.Role), Mapped: h.Weights.Mapped,
		})
	}
	net, err := create()
	if err != nil {
		return nil, err
	}
	n := &Network{host: h, prefix: s.Prefix, title: s.Title, role: s.Role, device: device, net: net, create: create, typ: h.options.Type, lazy: s.Lazy,
		ops: cgo.OpChoice{DirectConv: true}, offload: h.options.Offload && s.Role != RoleDenoiser && device.Kind != cgo.CPU}
	for _, w := range net.Weights() {
		if _, err := n.find(w); err != nil {
			net.Close()
			return nil, err
		}
	}
	h.networks = append(h.networks, n)
	return n, nil
}

// Role is the network's: RoleText …
func (n *Network) Role() string { return n.role }

// Streams is the device memory for streamed weights, in bytes; 0 if the weights are
// not streamed.
func (n *Network) Streams() uint64 { return n.stream }

// IsLazy reports whether the first run uploads the weights, because there may be none.
func (n *Network) IsLazy() bool { return n.lazy }

// Device is the device that the network computes on.
func (n *Network) Device() cgo.DeviceInfo { return n.device }

// find returns the tensor of a weight, and checks its shape.
func (n *Network) find(w cgo.Weight) (convert.Tensor, error) {
	t, ok := n.host.Weights.Tensor(n.prefix + w.Name)
	if !ok {
		return t, fmt.Errorf("tensor %q is missing: its shape would be %v", n.prefix+w.Name, w.Shape)
	}
	// A 1x1 convolution and a matrix have the same numbers.
	if !slices.Equal(withoutOnes(t.Shape), withoutOnes(w.Shape)) {
		return t, fmt.Errorf("tensor %q must have the shape %v, got %v", t.Name, w.Shape, t.Shape)
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

// Run runs the network, with one adaptation or none (also nil).
func (n *Network) Run(ctx context.Context, in []cgo.Input, out []cgo.Output, with ...*Adaptation) error {
	net, err := n.get(ctx)
	if err != nil {
		return err
	}
	uses, err := n.adapt(ctx, net, with)
	if err != nil {
		return err
	}
	return inMemory(net.Run(ctx, in, out, uses...), n.device)
}

// Estimate is the memory of a run's graph, in bytes. It uses only the shapes of in.
func (n *Network) Estimate(ctx context.Context, in []cgo.Input, out []cgo.Output, with ...*Adaptation) (uint64, error) {
	net, err := n.get(ctx)
	if err != nil {
		return 0, err
	}
	uses, err := n.adapt(ctx, net, with)
	if err != nil {
		return 0, err
	}
	return net.Estimate(ctx, in, out, uses...)
}

// NotFinite returns the error for NaN or infinity in the network's output: that of a
// damaged weight if there is one, else a [NotFiniteError].
func (n *Network) NotFinite() error { return n.host.notFinite(n) }

// Profile returns the network's work since the last call of Profile.
func (n *Network) Profile() []cgo.Work { return n.net.Profile() }

// get returns the net with its weights bound. A cancelled context stops the binding;
// the next call starts it again.
func (n *Network) get(ctx context.Context) (*cgo.Net, error) { return n.load(ctx, nil) }

// load is get; onProgress receives the number of bytes that have been uploaded so far.
func (n *Network) load(ctx context.Context, onProgress func(bytes uint64)) (*cgo.Net, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.float32 != nil {
		return n.float32.load(ctx, onProgress)
	}
	if n.loaded {
		return n.net, nil
	}
	if !n.bound {
		if err := n.bind(ctx); err != nil {
			return nil, err
		}
		n.bound = true
	}
	ops := n.ops
	ops.GradientSegments = n.host.options.GradientSegments
	ops.Fast = n.host.options.Precision == Fast && n.role == RoleDenoiser
	n.net.Choose(ops)
	err := n.net.LoadWith(ctx, cgo.Loading{Memory: n.stream, Keep: true, OnProgress: onProgress})
	if err != nil {
		return nil, inMemory(err, n.device)
	}
	n.loaded = true
	return n.net, nil
}

// Idle frees the network's device memory if [Options.Offload] is set. The next run
// uploads the weights again. The network may be nil.
func (n *Network) Idle() {
	if n == nil || !n.offload {
		return
	}
	n.net.Unload()
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.float32.Idle()
}

// Rest is Idle of a network that a picture needs once: on the CPU, where its weights take much memory, it also frees the
// memory of its graphs, and gives the pages of the mapped file back to the system, which reads them again when the network
// runs next. The network may be nil.
func (n *Network) Rest() {
	const much = 64 << 20 // bytes
	n.Idle()
	if n == nil || n.device.Kind != cgo.CPU {
		return
	}
	if bytes, err := n.Bytes(); err == nil && bytes < much {
		return
	}
	n.net.TryTrim()
	for _, w := range n.net.Weights() {
		if t, err := n.find(w); err == nil {
			for _, run := range t.Runs() {
				n.host.Weights.Release(run)
			}
		}
	}
}

func (n *Network) close() {
	if n != nil {
		n.net.Close()
		n.float32.close()
	}
}
