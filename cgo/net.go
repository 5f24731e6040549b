package cgo

// #include <stdlib.h>
// #include "sdgo.h"
import "C"

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
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

	// Intact, if not nil, is asked after each run whether the bound bytes are
	// what they should be: a file's may no longer be there.
	Intact func() error

	// MakeRoom, if not nil, is called where the CPU's memory does not do for a
	// run, to free what others keep. It must not use the net.
	MakeRoom func()
}

// Net is a neural network on a device. Its methods may be called from any
// goroutine; runs of one net queue up.
//
// [Net.Close] frees it. One that is dropped instead is freed some time after the
// garbage collector has found it.
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

// Weight is a weight that a net wants.
type Weight struct {
	Name  string  // as in the original checkpoints, without the part's prefix
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
			return nil, invalid("hyperparameter %s: %d values, at most 16 are possible", name, len(values))
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

// Close frees the net, after the run in progress if there is one. To close it
// again does nothing; the methods of a closed net do nothing but fail, except
// for Weights and Bind, which must not be called.
func (n *Net) Close() {
	if !n.hold() {
		return
	}
	defer n.release()
	n.cleanup.Stop()
	n.free()
}

// Weights lists what the net wants, in the order that [Net.Bind] counts.
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
	var e C.sdgo_error
	if !C.sdgo_net_bind(n.c, C.size_t(i), C.int(typ), unsafe.Pointer(p), C.size_t(len(data)), &e) {
		return newError(context.Background(), &e)
	}
	runtime.KeepAlive(n)
	return nil
}

// Load checks that all weights are bound and brings them to the device.
func (n *Net) Load() error { return n.LoadWith(context.Background(), Loading{}) }

// Loading says how weights come to a device that is not the CPU.
type Loading struct {
	// Memory, if not 0, is what the weights may take there: they come in groups
	// while the net runs, the next one while the device computes with another.
	Memory uint64

	// Keep makes Unload possible. Memory implies it.
	Keep bool

	// OnProgress, if not nil, is told the number of bytes that have come, a few
	// times a second.
	OnProgress func(bytes uint64)
}

// LoadWith is Load, told how, until ctx is done.
func (n *Net) LoadWith(ctx context.Context, l Loading) error {
	if err := n.acquire(ctx); err != nil {
		return err
	}
	defer n.release()
	// Memory of C's, because the net remembers where they are.
	flags := (*struct {
		bytes  C.uint64_t
		cancel C.int32_t
	})(C.calloc(1, 16))
	defer C.free(unsafe.Pointer(flags))
	how := C.sdgo_load{memory: C.uint64_t(l.Memory), keep: C.bool(l.Keep || l.Memory > 0), uploaded: &flags.bytes, cancel: &flags.cancel}
	var e C.sdgo_error
	done := make(chan bool, 1)
	go func() { done <- bool(C.sdgo_net_load(n.c, &how, &e)) }()
	loading := true
	defer func() { // where OnProgress panicked: flags and the net are in use until the end
		if loading {
			atomic.StoreInt32((*int32)(unsafe.Pointer(&flags.cancel)), 1)
			<-done
		}
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	cancelled := ctx.Done()
	for {
		select {
		case ok := <-done:
			loading = false
			if !ok {
				return newError(ctx, &e)
			}
			return n.intact()
		case <-cancelled:
			atomic.StoreInt32((*int32)(unsafe.Pointer(&flags.cancel)), 1)
			cancelled = nil
		case <-tick.C:
			if l.OnProgress != nil {
				l.OnProgress(atomic.LoadUint64((*uint64)(unsafe.Pointer(&flags.bytes))))
			}
		}
	}
}

// Unload frees what the net holds on a device that is not the CPU, if it was
// loaded with Keep. The next run brings the weights back.
func (n *Net) Unload() {
	if !n.hold() {
		return
	}
	defer n.release()
	C.sdgo_net_unload(n.c)
}

// Ways says how a device computes what it can compute in several ways.
type Ways struct {
	Direct  bool // convolutions as such, not as matrix products
	Flash   bool // attention that keeps no scores, with float16 keys and values
	Precise bool // float32 wherever there is a choice
}

func (w Ways) c() C.sdgo_op_choice {
	return C.sdgo_op_choice{direct_conv: C.bool(w.Direct), flash_attention: C.bool(w.Flash), float32: C.bool(w.Precise)}
}

// TryWays finds the faster ways on a device by trying them, in milliseconds on
// a GPU.
func TryWays(d DeviceInfo) (Ways, error) {
	side := 64
	if d.Software {
		side = 16
	}
	var w C.sdgo_op_choice
	var e C.sdgo_error
	if !C.sdgo_device_tune(C.size_t(d.Index), C.int(side), &w, &e) {
		return Ways{}, newError(context.Background(), &e)
	}
	return Ways{Direct: bool(w.direct_conv), Flash: bool(w.flash_attention), Precise: bool(w.float32)}, nil
}

// Choose decides how the net computes where it does so with ggml's operators.
func (n *Net) Choose(w Ways) {
	if !n.hold() {
		return
	}
	defer n.release()
	c := w.c()
	C.sdgo_net_choose(n.c, &c)
}

// Input is a named tensor that goes into a net: exactly one of F32, I32 and
// Value is set.
type Input struct {
	Name  string
	Shape []int64 // PyTorch's order
	F32   []float32
	I32   []int32
	Value *Value // of a net on the same device
}

// Output is a named tensor that comes out of a net: into Data, whose length is
// the tensor's, or, where Data is nil, as a new Value. What a net returns is
// documented with its architecture, in csrc/nets: a UNet has "out", "perturbed" for
// perturbed-attention guidance, and "deep" for DeepCache.
type Output struct {
	Name  string
	Data  []float32
	Value *Value
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
	var bytes C.uint64_t
	if !C.sdgo_net_prepare(n.c, unsafe.SliceData(cin), C.size_t(len(cin)), unsafe.SliceData(cout), C.size_t(len(cout)),
		uses, count, &bytes, &e) {
		return newError(ctx, &e)
	}
	release, err := n.take(uint64(bytes))
	if err != nil {
		return err
	}
	defer release() // it has been written to, so that the system counts it
	if !C.sdgo_net_run(n.c, unsafe.SliceData(cin), C.size_t(len(cin)), unsafe.SliceData(cout), C.size_t(len(cout)),
		uses, count, (*C.int32_t)(unsafe.Pointer(cancel)), &e) {
		return newError(ctx, &e)
	}
	runtime.KeepAlive(inputs) // with their values
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

// Estimate returns the bytes that the graph of such a run takes beside the
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
	return uint64(bytes), nil
}

// take asks for the memory of a graph, of 0 bytes if it has it.
func (n *Net) take(bytes uint64) (release func(), err error) {
	if bytes == 0 {
		return func() {}, nil
	}
	release, left, ok := limits.Take(bytes)
	if !ok {
		if n.config.MakeRoom != nil {
			n.config.MakeRoom()
		}
		C.sdgo_net_trim(n.c) // graphs of other shapes
		release, left, ok = limits.Take(bytes)
	}
	if !ok {
		return nil, NoRoom("a run", bytes, left)
	}
	return release, nil
}

// NoRoom is the error of what would take more of the host's memory than is left.
func NoRoom(what string, bytes uint64, left limits.Bound) *Error {
	return &Error{Code: NoMemory, Wanted: bytes, Left: left.Amount, Message: fmt.Sprintf(
		"%s would take %d MB of memory, %d MB are left (%s)", what, (bytes+999999)/1000000, left.Amount/1000000, left.By)}
}

// TryTrim is Trim of a net that is not in use, else nothing.
func (n *Net) TryTrim() {
	select {
	case n.busy <- struct{}{}:
		defer n.release()
		if n.c != nil {
			C.sdgo_net_trim(n.c)
		}
	default:
	}
}

// Trim frees the buffers that the net keeps between runs.
func (n *Net) Trim() {
	if !n.hold() {
		return
	}
	defer n.release()
	C.sdgo_net_trim(n.c)
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

// hold is acquire without an end to its patience: false means that the net is
// closed.
func (n *Net) hold() bool { return n.acquire(context.Background()) == nil }

func (n *Net) release() { <-n.busy }

// name returns a C string that lives as long as the net.
func (n *Net) name(s string) *C.char {
	c, ok := n.names[s]
	if !ok {
		c = C.CString(s)
		n.names[s] = c
	}
	return c
}

// describe fills in an input's name and shape.
func (n *Net) describe(c *C.sdgo_input, in Input) error {
	if len(in.Shape) < 1 || len(in.Shape) > C.SDGO_MAX_DIMS {
		return invalid("input %s must have 1 to %d dimensions, got %d", in.Name, C.SDGO_MAX_DIMS, len(in.Shape))
	}
	c.name = n.name(in.Name)
	c.n_dims = C.int(len(in.Shape))
	for d, size := range in.Shape {
		c.shape[d] = C.int64_t(size)
	}
	return nil
}

func (n *Net) inputs(inputs []Input, pinner *runtime.Pinner) ([]C.sdgo_input, error) {
	cin := make([]C.sdgo_input, len(inputs))
	for i, in := range inputs {
		c := &cin[i]
		if err := n.describe(c, in); err != nil {
			return nil, err
		}
		elements := int64(1)
		for _, size := range in.Shape {
			elements *= size
		}
		var count int64
		switch {
		case in.Value != nil:
			c.value, count = in.Value.c, elements
		case in.I32 != nil:
			p := unsafe.SliceData(in.I32)
			pinner.Pin(p)
			c.element, c.data, count = C.SDGO_I32, unsafe.Pointer(p), int64(len(in.I32))
		case in.F32 != nil:
			p := unsafe.SliceData(in.F32)
			pinner.Pin(p)
			c.element, c.data, count = C.SDGO_F32, unsafe.Pointer(p), int64(len(in.F32))
		}
		if count != elements {
			return nil, invalid("input %s must have %d elements for its shape %v, got %d", in.Name, elements, in.Shape, count)
		}
	}
	return cin, nil
}

func (n *Net) outputs(outputs []Output, pinner *runtime.Pinner) []C.sdgo_output {
	cout := make([]C.sdgo_output, len(outputs))
	for i, out := range outputs {
		cout[i].name = n.name(out.Name)
		if len(out.Data) > 0 {
			p := unsafe.SliceData(out.Data)
			pinner.Pin(p)
			cout[i].data = (*C.float)(p)
			cout[i].count = C.size_t(len(out.Data))
		}
	}
	return cout
}

func shape(dims C.int, c [C.SDGO_MAX_DIMS]C.int64_t) []int64 {
	s := make([]int64, dims)
	for i := range s {
		s[i] = int64(c[i])
	}
	return s
}
