package sd

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
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/tokenizer"
)

// Options says how a model is opened. The zero value is fast and exact for
// the file's own types.
type Options struct {
	// Threads is the number of CPU threads; 0, and more than there are processors,
	// mean one for each physical core that the process may use: its affinity, its
	// control group's share of time and its limit of threads count. Fewer are used
	// where the system makes no more.
	Threads int

	// Backend is the device to compute on, as `sdgo devices` lists them: "cpu",
	// "cuda0", "vulkan0", "metal"; or one for each part, as in
	// "unet=cuda0,text=cpu,vae=cuda0" (upscale is the part of upscalers). Empty
	// or "auto", and parts that are left out, take the best GPU that the model
	// fits on, else the CPU.
	Backend string

	// Type converts the weights while loading: f32, f16, bf16, q8_0, q4_0 or
	// another that ggml quantizes to. Empty uses them as they are in the file,
	// without a copy.
	Type string

	// Prediction is what the UNet predicts, "epsilon" or "v". Empty takes what
	// the file says; where it says nothing, as SD 2.x files do, a trial run of
	// the UNet tells.
	Prediction string

	// Kernels chooses the CPU operators: empty for the fastest of this library's
	// kernels, or the name of one instruction set's: "generic", "avx2",
	// "avx-vnni", "avx512", "avx512-vnni" or "amx"; or "ggml" for ggml's own
	// operators, which are slow and simple. [Kernels] says which a machine has. The
	// environment variable SDGO_KERNELS is its default.
	Kernels string

	// Batch is how many pictures go through the UNet at once, where memory
	// allows: of one request's and of those that [Model.GenerateAll] is given.
	// The pictures are the same. 0 means 1, which is as fast on a CPU.
	Batch int

	// MaxMemory bounds the memory that a model takes, in bytes: on the CPU that
	// of decoding a picture, beside the weights; on a GPU all of it. Larger
	// pictures are decoded in tiles; where a GPU's memory is not enough for the
	// UNet's weights, they come to it in groups while it computes. 0 means what
	// the device has free.
	MaxMemory uint64

	// Warn, if not nil, is told what a person should know although all goes on,
	// in a sentence, from any goroutine. If it panics, that is the error of the
	// call.
	Warn func(text string)

	// Offload keeps the weights of text encoders and autoencoder in the host's
	// memory and brings them to the GPU when they are needed, for as long.
	Offload bool
}

// Model is an open model. Its methods may be called from any goroutine.
type Model struct {
	options   Options
	name      string
	weights   *convert.Model
	tokenizer *tokenizer.Tokenizer
	wanted    placement                 // what Options.Backend says
	devices   map[string]cgo.DeviceInfo // part → what it computes on
	taken     map[int]uint64            // GPU's index → bytes that weights and the UNet's graph take there
	process   *sampler.Discrete

	texts         []*textEncoder
	unet, decoder *part
	encoder       *part // nil where the file has none
	calls         calls
	prediction    once[sampler.Prediction]
	colours       once[colours] // for previews
}

// Open opens a model: a .safetensors file or a PyTorch checkpoint in the original
// layout, a folder in the diffusers library's layout, or a .gguf file. The weights
// stay in the file, mapped into memory; each network is set up when it is first
// needed.
//
// An empty path opens the model that package builtin brings along, in programs
// that import it.
func Open(path string, o Options) (*Model, error) {
	if path == "" {
		b := registered()
		if b == nil {
			return nil, ErrNoModel
		}
		return open(b.name, o, func() (*convert.Model, error) { return convert.OpenBytes(b.name, b.data) })
	}
	return open(nameOf(path), o, func() (*convert.Model, error) { return convert.Open(path) })
}

func open(name string, o Options, read func() (*convert.Model, error)) (*Model, error) {
	m, err := openHost(name, o, read)
	if err != nil {
		return nil, err
	}
	if err := m.init(); err != nil {
		m.weights.Close()
		return nil, fmt.Errorf("%s: %w", m.weights.Path, err)
	}
	return m, nil
}

// nameOf is a model's name: its file's, without folder and ending.
func nameOf(path string) string {
	name := filepath.Base(path)
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// openHost opens a file; networks, and devices for them, come later.
func openHost(name string, o Options, read func() (*convert.Model, error)) (*Model, error) {
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
	m := &Model{options: o, name: name, weights: weights, wanted: wanted, devices: map[string]cgo.DeviceInfo{}}
	// A model that is dropped without Close gives its file back, too. Its networks
	// free themselves, and what runs keeps the model (calls.use).
	runtime.AddCleanup(m, func(w *convert.Model) { w.Close() }, weights)
	return m, nil
}

// Name is the model's name in the parameters of pictures: its file's, without
// folder and ending.
func (m *Model) Name() string { return m.name }

// Threads is the number of CPU threads that the model computes with.
func (m *Model) Threads() int { return m.options.Threads }

func (o Options) check() error {
	if o.Threads < 1 || o.Threads > 512 {
		return fmt.Errorf("%d threads, 1 to 512 wanted", o.Threads)
	}
	if o.Type != "" {
		if _, err := dtype.Parse(o.Type); err != nil {
			return err
		}
	}
	if o.Batch < 0 || o.Batch > MaxBatch {
		return fmt.Errorf("a batch of %d, 1 to %d wanted, or 0", o.Batch, MaxBatch)
	}
	switch o.Prediction {
	case "", "epsilon", "v":
		return nil
	}
	return fmt.Errorf("prediction %q: epsilon or v wanted", o.Prediction)
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

// Close frees the networks and unmaps the file, after the calls in progress; a
// callback of theirs would wait for itself. Further calls return [ErrClosed]; to
// close again does nothing.
func (m *Model) Close() error {
	if m == nil || m.weights == nil { // a zero value, never opened
		return nil
	}
	return m.calls.close(func() error {
		m.closeParts()
		return m.weights.Close()
	})
}

// once computes a value when it is first asked for. A failure is not kept: a
// cancelled request must not spoil the next one.
type once[T any] struct {
	lock  chan struct{} // holds one token while a goroutine computes
	value T
	done  bool
}

func newOnce[T any]() once[T] { return once[T]{lock: make(chan struct{}, 1)} }

func (o *once[T]) get(ctx context.Context, compute func() (T, error)) (T, error) {
	select {
	case o.lock <- struct{}{}:
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
	defer func() { <-o.lock }()
	if o.done {
		return o.value, nil
	}
	v, err := compute()
	if err == nil {
		o.value, o.done = v, true
	}
	return v, err
}
