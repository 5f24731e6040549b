// Package engine runs networks on devices: it finds devices, divides their memory,
// binds a file's weights to networks, uploads them to GPUs, and frees everything. It
// does not know what a network is for.
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

// Options says how networks are computed. The zero value is fast, and exact for the
// file's own types.
type Options struct {
	// Threads is the number of CPU threads, at most 512. 0, or more than there are
	// processors, means one for each physical core that the process may use: its CPU
	// affinity, its control group's quota and its thread limit count. If the system
	// cannot create that many, fewer are used.
	Threads int

	// Backend is the device to compute on, as `sdgo devices` lists them: "cpu",
	// "cuda0", "vulkan0", "metal"; or one for each role, as in
	// "unet=cuda0,text=cpu,vae=cuda0" (upscale is the role of upscalers). Empty or
	// "auto", also for roles that are left out, means the best GPU that the model
	// fits on, else the CPU.
	Backend string

	// Type converts the weights while loading: f32, f16, bf16, q8_0, q4_0 or another
	// type that ggml quantizes to. Empty uses the file's weights without a copy.
	Type string

	// Kernels chooses the CPU operators: empty for the fastest of this library's
	// kernels, or the name of one instruction set's: "generic", "avx2",
	// "avx-vnni", "avx512", "avx512-vnni" or "amx"; or "ggml" for ggml's own
	// operators, which are slow and simple. [Kernels] says which one is used. The
	// environment variable SDGO_KERNELS is the default.
	Kernels string

	// Precision is how precisely the denoiser is computed on the CPU: Exact or Fast; empty
	// is Exact. See [Fast].
	Precision string

	// MaxMemory limits the memory that a model uses, in bytes: on a GPU all of it, on
	// the CPU the memory for decoding a picture, without the weights, and half of it for
	// weights that are kept as the kernels read them. Larger pictures
	// are decoded in tiles. If the denoiser's weights do not fit on a GPU, they are
	// streamed to it in groups during each run. 0 means the device's free memory.
	MaxMemory uint64

	// Warn, if not nil, receives non-fatal messages for the user, one sentence each.
	// It may be called from any goroutine. If it panics, the call in progress returns
	// that as an error.
	Warn func(text string)

	// Offload keeps the weights of the text encoders and the autoencoder in host
	// memory, and uploads them to the GPU only while they are needed.
	Offload bool

	// Lean keeps no weights in the kernels' own forms, whatever memory there is: a run takes a tenth
	// more time, and the host the memory of its weights less.
	Lean bool

	// GradientSegments is the number of parts of each network whose tensors are computed a
	// second time for gradients: less memory, more time. 0 and 1 keep all of them.
	GradientSegments int
}

// Tiers of [Options.Precision].
const (
	// Exact computes with numbers of 16 bits or more.
	Exact = "exact"
	// Fast multiplies numbers of 8 bits, rounded in blocks with a scale each, in linear
	// layers and small convolutions of more than 64 channels, where the processor
	// multiplies those faster (AVX-512 VNNI, AVX-VNNI); else it is Exact.
	Fast = "fast"
)

func (o Options) check() error {
	if o.Precision != "" && o.Precision != Exact && o.Precision != Fast {
		return fmt.Errorf("precision must be %s or %s, got %q", Exact, Fast, o.Precision)
	}
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

// Kernels returns the CPU operators that an [Options.Kernels] selects: name itself, or
// if that is empty the environment variable SDGO_KERNELS, else the fastest kernels
// that this machine can run. It is an error if the name is unknown, or the processor
// lacks the instructions.
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

// Host has what the networks of one file share: the file's weights, devices, threads
// and memory. After [Host.Place] several goroutines may use it.
type Host struct {
	Name    string // of the model: the file's name without folder and extension
	Weights *convert.Model

	options  Options
	backend  backend                   // as Options.Backend says
	devices  map[string]cgo.DeviceInfo // role → device
	reserved map[int]uint64            // GPU's index → bytes that weights and the denoiser's graph take there
	networks []*Network
	demands  []Demand
	lifetime
}

// Open opens a file. [Host.Place] then creates networks and chooses devices. read
// opens the weights; it is called after the options are checked.
func Open(name string, o Options, read func() (*convert.Model, error)) (*Host, error) {
	// More threads than processors only wait for each other.
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
	backend, err := parseBackend(o.Backend)
	if err != nil {
		return nil, err
	}
	weights, err := read()
	if err != nil {
		return nil, err
	}
	h := &Host{Name: name, Weights: weights, options: o, backend: backend, devices: map[string]cgo.DeviceInfo{}}
	// The file of a host that is dropped without Close is closed, too. Networks free
	// themselves, and a running call keeps the host alive (Use).
	runtime.AddCleanup(h, func(w *convert.Model) { w.Close() }, weights)
	for _, text := range weights.Warnings {
		if err := h.Warn("%s: %s", name, text); err != nil {
			weights.Close()
			return nil, err
		}
	}
	return h, nil
}

// NameOf is a model's name: its file's name without folder and extension.
func NameOf(path string) string {
	name := filepath.Base(path)
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// Threads is the number of CPU threads that networks use.
func (h *Host) Threads() int { return h.options.Threads }

// Device is the device of a role.
func (h *Host) Device(role string) cgo.DeviceInfo { return h.devices[role] }

// Networks are the host's networks, in the order in which they were created.
func (h *Host) Networks() []*Network { return h.networks }

// Warn calls [Options.Warn]. It returns an error only if that panics.
func (h *Host) Warn(format string, args ...any) error {
	if h.options.Warn == nil {
		return nil
	}
	return guard.Call("Warn", func() error {
		h.options.Warn(fmt.Sprintf(format, args...))
		return nil
	})
}

// Close waits for the calls in progress ([Use]), frees the networks and unmaps the
// file. Later calls return [ErrClosed]; closing again does nothing.
func (h *Host) Close() error {
	return h.close(func() error {
		h.drop()
		return h.Weights.Close()
	})
}

// Abandon frees a host that nobody has used, after its set-up failed.
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

// notFinite returns the error for NaN or infinity in a network's output: a damaged
// weight, if there is one. The weights are checked only now, because that reads the
// whole file.
func (h *Host) notFinite(n *Network) error {
	if err := convert.CheckFinite(context.Background(), h.Weights, n.prefix); err != nil {
		return err
	}
	return &NotFiniteError{Network: n.title}
}
