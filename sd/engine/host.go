// Package engine runs networks on devices: it finds devices, divides their memory,
// binds a file's weights to networks, brings them to GPUs, and frees all of it. What a
// network is for it does not know.
package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/guard"
)

// Options says how networks are computed. The zero value is fast and exact for the
// file's own types.
type Options struct {
	// Threads is the number of CPU threads; 0, and more than there are processors,
	// mean one for each physical core that the process may use: its affinity, its
	// control group's share of time and its limit of threads count. Fewer are used
	// where the system makes no more.
	Threads int

	// Backend is the device to compute on, as `sdgo devices` lists them: "cpu",
	// "cuda0", "vulkan0", "metal"; or one for each role, as in
	// "unet=cuda0,text=cpu,vae=cuda0" (upscale is the role of upscalers). Empty
	// or "auto", and roles that are left out, take the best GPU that the model
	// fits on, else the CPU.
	Backend string

	// Type converts the weights while loading: f32, f16, bf16, q8_0, q4_0 or
	// another that ggml quantizes to. Empty uses them as they are in the file,
	// without a copy.
	Type string

	// Kernels chooses the CPU operators: empty for the fastest of this library's
	// kernels, or the name of one instruction set's: "generic", "avx2",
	// "avx-vnni", "avx512", "avx512-vnni" or "amx"; or "ggml" for ggml's own
	// operators, which are slow and simple. [Kernels] says which a machine has. The
	// environment variable SDGO_KERNELS is its default.
	Kernels string

	// MaxMemory bounds the memory that a model takes, in bytes: on the CPU that
	// of decoding a picture, beside the weights; on a GPU all of it. Larger
	// pictures are decoded in tiles; where a GPU's memory is not enough for the
	// denoiser's weights, they come to it in groups while it computes. 0 means what
	// the device has free.
	MaxMemory uint64

	// Warn, if not nil, receives messages for the user that are no errors, one
	// sentence each, from any goroutine. If it panics, that is the error of the
	// call.
	Warn func(text string)

	// Offload keeps the weights of text encoders and autoencoder in the host's
	// memory and brings them to the GPU when they are needed, for as long.
	Offload bool
}

func (o Options) check() error {
	if o.Threads < 1 || o.Threads > 512 {
		return fmt.Errorf("threads must be 1 to 512, got %d", o.Threads)
	}
	if o.Type != "" {
		if _, err := dtype.Parse(o.Type); err != nil {
			return err
		}
	}
	return nil
}

// Kernels says which CPU operators a model computes with whose [Options] name
// those: the name itself, or, for an empty one, that of the environment variable
// SDGO_KERNELS, else the fastest kernels that this machine can run. It is an error
// where the name is unknown, or the processor lacks the instructions.
func Kernels(name string) (string, error) {
	from := ""
	if name == "" {
		name, from = os.Getenv(kernelsVariable), kernelsVariable+": "
	}
	found, err := cgo.FindKernels(name)
	if err != nil {
		return "", fmt.Errorf("%s%w", from, err)
	}
	return found, nil
}

// kernelsVariable is the environment's default of [Options.Kernels].
const kernelsVariable = "SDGO_KERNELS"

// Host is what the networks of one file compute with: the file's weights, devices,
// threads and memory. It may be used by several goroutines after [Host.Place].
type Host struct {
	Name    string // of the model: the file's, without folder and ending
	Weights *convert.Model

	options  Options
	wanted   backend                   // what Options.Backend says
	devices  map[string]cgo.DeviceInfo // role → device
	reserved map[int]uint64            // GPU's index → bytes that weights and the denoiser's graph take there
	networks []*Network
	demands  []Demand
	lifetime
}

// Open opens a file; networks, and devices for them, come later ([Host.Place]). read
// opens the weights, after the options are checked.
func Open(name string, o Options, read func() (*convert.Model, error)) (*Host, error) {
	// More threads than processors only wait for one another.
	if o.Threads == 0 || o.Threads > runtime.NumCPU() {
		o.Threads = cgo.Threads()
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	var err error
	if o.Kernels, err = Kernels(o.Kernels); err != nil {
		return nil, err
	}
	wanted, err := parseBackend(o.Backend)
	if err != nil {
		return nil, err
	}
	weights, err := read()
	if err != nil {
		return nil, err
	}
	h := &Host{Name: name, Weights: weights, options: o, wanted: wanted, devices: map[string]cgo.DeviceInfo{}}
	// A host that is dropped without Close gives its file back, too. Its networks
	// free themselves, and what runs keeps the host (Use).
	runtime.AddCleanup(h, func(w *convert.Model) { w.Close() }, weights)
	return h, nil
}

// NameOf is a model's name: its file's, without folder and ending.
func NameOf(path string) string {
	name := filepath.Base(path)
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// Threads is the number of CPU threads that networks compute with.
func (h *Host) Threads() int { return h.options.Threads }

// Device is the device of a role.
func (h *Host) Device(role string) cgo.DeviceInfo { return h.devices[role] }

// Networks are all of the host's, in the order in which they were made.
func (h *Host) Networks() []*Network { return h.networks }

// Warn tells the user of something odd. Its error is that of the caller's code.
func (h *Host) Warn(format string, args ...any) error {
	if h.options.Warn == nil {
		return nil
	}
	return guard.Call("Warn", func() error {
		h.options.Warn(fmt.Sprintf(format, args...))
		return nil
	})
}

// Close frees the networks and unmaps the file, after the calls in progress ([Use]).
// Further calls return [ErrClosed]; to close again does nothing.
func (h *Host) Close() error {
	return h.close(func() error {
		h.drop()
		return h.Weights.Close()
	})
}

// Abandon frees a host that nobody has used, after a failure to set it up.
func (h *Host) Abandon() {
	h.drop()
	h.Weights.Close()
}

// drop frees the networks.
func (h *Host) drop() {
	for _, n := range h.networks {
		n.close()
	}
	h.networks = nil
}

// notFinite explains NaN or infinity in what a network computed: a damaged weight
// if there is one. It is looked for only now, because it takes reading the whole
// file.
func (h *Host) notFinite(n *Network) error {
	if err := convert.CheckFinite(context.Background(), h.Weights, n.prefix); err != nil {
		return err
	}
	return &NotFiniteError{Network: n.title}
}
