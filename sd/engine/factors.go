package engine

import (
	"context"
	"fmt"
	"slices"
	"unsafe"

	"github.com/sdgo/sdgo/cgo"
)

// Factor is a low-rank change of a weight [out, in] whose numbers change between runs:
// Scale·Up·Down, with Down [Rank, in] and Up [out, Rank].
type Factor struct {
	Weight   string // the network's name of it
	Rank     int
	Scale    float64
	Down, Up []float32
}

// Factors are low-rank changes that a network is run with, and of whose numbers there are
// gradients, "d:adapter:WEIGHT.down" and ".up": a LoRA that is trained.
type Factors struct {
	n       *Network
	changes []cgo.Change // of the numbers themselves, not of copies
	adapter *cgo.Adapter
}

// NewFactors makes changes of a network. Their slices are used again by Update.
func NewFactors(ctx context.Context, n *Network, all []Factor) (*Factors, error) {
	net, err := n.get(ctx)
	if err != nil {
		return nil, err
	}
	index := map[string]int{}
	for i, w := range net.Weights() {
		index[w.Name] = i
	}
	f := &Factors{n: n}
	for _, x := range all {
		i, ok := index[x.Weight]
		if !ok || x.Rank < 1 || len(x.Down) == 0 || len(x.Up) == 0 {
			return nil, fmt.Errorf("weight %q of rank %d: there must be such a weight, and numbers", x.Weight, x.Rank)
		}
		f.changes = append(f.changes, cgo.Change{Weight: i, Down: viewOf(x.Down), Up: viewOf(x.Up), Scale: slices.Repeat([]float32{float32(x.Scale)}, x.Rank)})
	}
	f.adapter, err = net.NewAdapter(f.changes)
	return f, inMemory(err, n.device)
}

// viewOf are the bytes of numbers, not a copy.
func viewOf(v []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

// Update brings the numbers, which have changed, to the network. It waits for a run in
// progress.
func (f *Factors) Update(ctx context.Context) error {
	net, err := f.n.get(ctx)
	if err != nil {
		return err
	}
	return net.UpdateAdapter(ctx, f.adapter, f.changes)
}

func (f *Factors) uses() []cgo.AdapterUse { return []cgo.AdapterUse{{Adapter: f.adapter, Strength: 1}} }

// Run runs the network with the changes.
func (f *Factors) Run(ctx context.Context, in []cgo.Input, out []cgo.Output) error {
	net, err := f.n.get(ctx)
	if err != nil {
		return err
	}
	return inMemory(net.Run(ctx, in, out, f.uses()...), f.n.device)
}

// Estimate is the memory of such a run's graph, in bytes.
func (f *Factors) Estimate(ctx context.Context, in []cgo.Input, out []cgo.Output) (uint64, error) {
	net, err := f.n.get(ctx)
	if err != nil {
		return 0, err
	}
	return net.Estimate(ctx, in, out, f.uses()...)
}
