package cgo

// #include <stdlib.h>
// #include "sdgo.h"
import "C"

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/sdgo/sdgo/internal/limits"
)

// Params are hyperparameters by name: one number or a list of at most 16.
type Params map[string][]float64

// Config says where and how a net runs.
type Config struct {
	Device  int    // a [DeviceInfo.Index]
	Threads int    // CPU threads, 1 to 512
	Kernels string // the CPU's operators, one of [KernelNames]; empty: the fastest

	// Intact, if not nil, is called after each run and returns an error if the bound
	// bytes are not what they should be: a mapped file may have been shortened.
	Intact func() error

	// MakeRoom, if not nil, is called where a run needs more memory than the CPU has
	// left, to free what others keep. It must not use the net.
	MakeRoom func()

	// Keep, if not nil, is called where a run could keep so many bytes of weights in the
	// kernels' own forms, so that later runs need not convert them. It returns how many of
	// them it may keep. Without it none are kept.
	Keep func(bytes uint64) uint64

	// Mapped, if not nil, says whether bytes that are bound are pages of a mapped file: where the
	// net keeps a weight in a form of its own, it gives them back to the system, so that they no longer
	// count as the process's memory. They are read again if need be.
	Mapped func(data []byte) bool
}

// Net is a neural network on a device. Its methods may be called from any
// goroutine; runs of one net queue up.
//
// [Net.Close] frees it; the garbage collector frees one that is dropped instead.
type Net struct {
	*netMemory
	config  Config
	busy    chan struct{} // holds one token while the net is in use
	cleanup runtime.Cleanup
}

// netMemory is what a net holds that the garbage collector does not free.
type netMemory struct {
	c      *C.sdgo_net
	names  map[string]*C.char
	pinner runtime.Pinner // keeps bound bytes where they are
	bound  [][]byte
	kept   atomic.Uint64 // bytes of weights in the kernels' own forms
}

func (m *netMemory) free() {
	C.sdgo_net_free(m.c)
	m.c = nil
	for _, name := range m.names {
		C.free(unsafe.Pointer(name))
	}
	m.pinner.Unpin()
	m.bound = nil
}

// Weight is a weight that a net requires.
type Weight struct {
	Name  string  // as in the original checkpoints, without the network's prefix
	Shape []int64 // PyTorch's order
}

// NewNet creates a net of an architecture that csrc knows ("clip_text",
// "unet", "vae_decoder", "vae_encoder", "esrgan" …). The hyperparameters are documented
// with the architecture, in csrc/nets.
func NewNet(arch string, params Params, config Config) (*Net, error) {
	carch := C.CString(arch)
	defer C.free(unsafe.Pointer(carch))
	cparams := make([]C.sdgo_param, 0, len(params)+1)
	for name, values := range params {
		if len(values) > 16 {
			return nil, invalid("hyperparameter %s must have at most 16 values, got %d", name, len(values))
		}
		cname := C.CString(name)
		defer C.free(unsafe.Pointer(cname))
		p := C.sdgo_param{name: cname, count: C.size_t(len(values))}
		for i, v := range values {
			p.values[i] = C.double(v)
		}
		cparams = append(cparams, p)
	}
	if config.Device < 0 {
		return nil, invalid("device %d does not exist", config.Device)
	}
	var kernels *C.char
	if config.Kernels != "" {
		kernels = C.CString(config.Kernels)
		defer C.free(unsafe.Pointer(kernels))
	}
	var e C.sdgo_error
	c := C.sdgo_net_new(carch, unsafe.SliceData(cparams), C.size_t(len(cparams)), C.size_t(config.Device),
		C.int(config.Threads), kernels, &e)
	if c == nil {
		return nil, newError(context.Background(), &e)
	}
	n := &Net{netMemory: &netMemory{c: c, names: map[string]*C.char{}}, config: config, busy: make(chan struct{}, 1)}
	n.cleanup = runtime.AddCleanup(n, (*netMemory).free, n.netMemory)
	return n, nil
}

// Close frees the net, after the run in progress if there is one. To close it again does
// nothing. The methods of a closed net fail, except for Weights and Bind, which must not
// be called.
func (n *Net) Close() {
	if !n.hold() {
		return
	}
	defer n.release()
	n.cleanup.Stop()
	n.free()
}

// Weights lists the weights that the net requires; [Net.Bind] takes their indices.
func (n *Net) Weights() []Weight {
	all := make([]Weight, C.sdgo_net_weight_count(n.c))
	for i := range all {
		var w C.sdgo_weight
		C.sdgo_net_weight_at(n.c, C.size_t(i), &w)
		all[i] = Weight{Name: C.GoString(w.name), Shape: shape(w.n_dims, w.shape)}
	}
	runtime.KeepAlive(n)
	return all
}

// Bind gives weight i its bytes, of ggml type typ, in PyTorch's order. On the
// CPU they are used in place.
func (n *Net) Bind(i int, typ uint32, data []byte) error {
	if i < 0 || len(data) == 0 {
		return invalid("weight %d: no data", i)
	}
	p := unsafe.SliceData(data)
	n.pinner.Pin(p)
	n.bound = append(n.bound, data)
	mapped := n.config.Mapped != nil && n.config.Mapped(data)
	var e C.sdgo_error
	if !C.sdgo_net_bind(n.c, C.size_t(i), C.int(typ), unsafe.Pointer(p), C.size_t(len(data)), C.bool(mapped), &e) {
		return newError(context.Background(), &e)
	}
	runtime.KeepAlive(n)
	return nil
}

// Run runs the net, with some adapters. The outputs asked for decide how much of
// it is computed. When ctx is done, Run returns its error: some milliseconds later
// with this library's kernels, before the next node of the graph elsewhere.
func (n *Net) Run(ctx context.Context, inputs []Input, outputs []Output, adapters ...AdapterUse) error {
	if err := n.acquire(ctx); err != nil {
		return err
	}
	defer n.release()

	var pinner runtime.Pinner
	defer pinner.Unpin()
	cin, err := n.inputs(inputs, &pinner)
	if err != nil {
		return err
	}
	cout := n.outputs(outputs, &pinner)
	uses, count := adapterUses(adapters)

	cancel := new(int32)
	pinner.Pin(cancel)
	stop := context.AfterFunc(ctx, func() { atomic.StoreInt32(cancel, 1) })
	defer stop()

	var e C.sdgo_error
	var needs C.sdgo_needs
	if !C.sdgo_net_prepare(n.c, unsafe.SliceData(cin), C.size_t(len(cin)), unsafe.SliceData(cout), C.size_t(len(cout)),
		uses, count, &needs, &e) {
		return newError(ctx, &e)
	}
	release, err := n.take(uint64(needs.graph))
	if err != nil {
		return err
	}
	defer release() // by then it has been written to, and the system counts it
	defer n.keep(uint64(needs.weights), n.config.Keep)()
	if !C.sdgo_net_run(n.c, unsafe.SliceData(cin), C.size_t(len(cin)), unsafe.SliceData(cout), C.size_t(len(cout)),
		uses, count, (*C.int32_t)(unsafe.Pointer(cancel)), &e) {
		return newError(ctx, &e)
	}
	runtime.KeepAlive(inputs) // with their values
	runtime.KeepAlive(adapters)
	for i := range outputs {
		if outputs[i].Data == nil {
			outputs[i].Value = newValue(cout[i].value)
		}
	}
	return n.intact()
}

func (n *Net) intact() error {
	if n.config.Intact == nil {
		return nil
	}
	return n.config.Intact()
}

// Estimate returns the bytes that the graph of such a run takes in addition to the
// weights, without allocating them. The inputs need no data.
func (n *Net) Estimate(ctx context.Context, inputs []Input, outputs []Output, adapters ...AdapterUse) (uint64, error) {
	if err := n.acquire(ctx); err != nil {
		return 0, err
	}
	defer n.release()
	var pinner runtime.Pinner
	defer pinner.Unpin()
	cin := make([]C.sdgo_input, len(inputs))
	for i, in := range inputs {
		if err := n.describe(&cin[i], in); err != nil {
			return 0, err
		}
	}
	cout := n.outputs(outputs, &pinner)
	uses, count := adapterUses(adapters)
	var bytes C.uint64_t
	var e C.sdgo_error
	if !C.sdgo_net_estimate(n.c, unsafe.SliceData(cin), C.size_t(len(cin)), unsafe.SliceData(cout), C.size_t(len(cout)),
		uses, count, &bytes, &e) {
		return 0, newError(ctx, &e)
	}
	runtime.KeepAlive(adapters)
	return uint64(bytes), nil
}

// take reserves the memory of a graph: 0 bytes if the graph has its memory already.
func (n *Net) take(bytes uint64) (release func(), err error) {
	if bytes == 0 {
		return func() {}, nil
	}
	release, left, ok := limits.Take(bytes)
	if !ok {
		if n.config.MakeRoom != nil {
			n.config.MakeRoom()
		}
		n.trim() // graphs of other shapes
		release, left, ok = limits.Take(bytes)
	}
	if !ok {
		return nil, NoRoom("a run", bytes, left)
	}
	return release, nil
}

// keep lets the run that follows keep some bytes of weights, as far as there is memory that
// nothing else needs and the caller's policy allows.
func (m *netMemory) keep(bytes uint64, policy func(uint64) uint64) (release func()) {
	allowed := uint64(0)
	if bytes > 0 && policy != nil {
		allowed = min(policy(bytes), bytes)
	}
	taken, _, ok := limits.Take(allowed)
	if !ok {
		allowed, taken = 0, func() {}
	}
	C.sdgo_net_keep(m.c, C.uint64_t(allowed))
	return func() {
		m.kept.Store(uint64(C.sdgo_net_kept(m.c)))
		taken()
	}
}

// Kept is the memory of the weights that the net keeps in the kernels' own forms, in bytes.
// [Net.Trim] frees it.
func (m *netMemory) Kept() uint64 { return m.kept.Load() }

// trim is Trim of a net that the caller holds.
func (m *netMemory) trim() {
	C.sdgo_net_trim(m.c)
	m.kept.Store(0)
}

// NoRoom is the error of something that needs more of the host's memory than is left.
func NoRoom(what string, bytes uint64, left limits.Bound) *Error {
	return &Error{Code: NoMemory, Needed: bytes, Left: left.Amount, Message: fmt.Sprintf(
		"%s would take %d MB of memory, %d MB are left (%s)", what, (bytes+999999)/1000000, left.Amount/1000000, left.By)}
}

// TryTrim is Trim of a net that is not in use; of one that is it does nothing.
func (n *Net) TryTrim() {
	select {
	case n.busy <- struct{}{}:
		defer n.release()
		if n.c != nil {
			n.trim()
		}
	default:
	}
}

// Trim frees what the net keeps between runs: graphs and their buffers, and weights in the
// kernels' own forms.
func (n *Net) Trim() {
	if !n.hold() {
		return
	}
	defer n.release()
	n.trim()
}

func (n *Net) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	select {
	case n.busy <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if n.c == nil {
		n.release()
		return invalid("the net is closed")
	}
	return nil
}

// hold acquires the net without a deadline; it returns false if the net is closed.
func (n *Net) hold() bool { return n.acquire(context.Background()) == nil }

func (n *Net) release() { <-n.busy }
