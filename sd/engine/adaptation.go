package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

// Adaptation is a set of changes of weights that runs of a network make in addition to
// them: the weights stay as they are in the file, mapped and quantized. Its memory goes
// when nothing refers to it any more. Several goroutines may use it.
type Adaptation struct {
	changes []WeightChange
	use     func() (release func() error, err error)

	mutex sync.Mutex
	made  map[*cgo.Net][]cgo.AdapterUse
}

// WeightChange is the change of one weight.
type WeightChange struct {
	Tensor string // canonical name

	// LowRank are products of thin matrices, which run beside the weight.
	LowRank []LowRank

	// Whole, if not nil, computes what is used in place of the weight, whose elements it
	// is given. The result has f32 or f16, whichever the weight itself has, or f16 for one
	// of less bits.
	Whole func(weight []float32) ([]float32, error)
}

// LowRank is up·mid·down with a factor; Mid has no name where there is none. The shapes are
// those of [cgo.Change].
type LowRank struct {
	Down, Mid, Up convert.Tensor
	Rank          int
	Scale         float64
	Row           int // the first of the weight's rows that Up is for; it may be for fewer than all
}

// NewAdaptation makes an adaptation of changes of different weights. use is called before
// their numbers are read; its release, after that, returns an error if these were not what
// they should be.
func NewAdaptation(changes []WeightChange, use func() (release func() error, err error)) *Adaptation {
	return &Adaptation{changes: changes, use: use, made: map[*cgo.Net][]cgo.AdapterUse{}}
}

// maxCopied is about how many bytes of changes are in this process twice, while they are
// copied to the network's device.
const maxCopied = 64 << 20

// adapt makes the adaptation for a network, whose net is net. nil makes none.
func (n *Network) adapt(ctx context.Context, net *cgo.Net, with []*Adaptation) ([]cgo.AdapterUse, error) {
	if len(with) == 0 || with[0] == nil {
		return nil, nil
	}
	a := with[0]
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if uses, ok := a.made[net]; ok {
		return uses, nil
	}
	release, err := a.use()
	if err != nil {
		return nil, err
	}
	uses, err := adapting{n, net}.build(ctx, a.changes)
	if broken := release(); broken != nil {
		err = broken
	}
	if err != nil {
		return nil, inMemory(err, n.device)
	}
	a.made[net] = uses
	return uses, nil
}

// adapting makes a network's net adapters.
type adapting struct {
	*Network
	net *cgo.Net
}

// build makes adapters of changes, some of them at a time.
func (n adapting) build(ctx context.Context, changes []WeightChange) (uses []cgo.AdapterUse, err error) {
	weights := map[string]int{}
	all := n.net.Weights()
	for i, w := range all {
		weights[n.prefix+w.Name] = i
	}
	var chunk []WeightChange
	bytes := int64(0)
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		made, err := n.convert(ctx, weights, all, chunk)
		if err != nil {
			return err
		}
		adapter, err := n.net.NewAdapter(made)
		if err != nil {
			return err
		}
		uses = append(uses, cgo.AdapterUse{Adapter: adapter, Strength: 1})
		chunk, bytes = nil, 0
		return nil
	}
	for _, c := range changes {
		if _, ok := weights[c.Tensor]; !ok { // a layer that the network leaves out
			continue
		}
		chunk = append(chunk, c)
		if t, ok := n.host.Weights.Tensor(c.Tensor); ok && c.Whole != nil {
			bytes += 4 * t.Elements()
		}
		for _, l := range c.LowRank {
			bytes += 4 * (l.Down.Elements() + l.Up.Elements())
		}
		if bytes > maxCopied {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	return uses, flush()
}

// convert turns changes into the core's, on all processors.
func (n adapting) convert(ctx context.Context, weights map[string]int, all []cgo.Weight, changes []WeightChange) ([]cgo.Change, error) {
	made := make([][]cgo.Change, len(changes))
	errs := make([]error, len(changes))
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				at := weights[changes[i].Tensor]
				if errs[i] = ctx.Err(); errs[i] == nil {
					made[i], errs[i] = n.convertOne(at, all[at], changes[i])
				}
			}
		})
	}
	for i := range changes {
		next <- i
	}
	close(next)
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(made...), nil
}

// convertOne makes the changes of weight i.
func (n adapting) convertOne(i int, w cgo.Weight, c WeightChange) (out []cgo.Change, err error) {
	if c.Whole != nil {
		whole, err := n.whole(i, w, c)
		return []cgo.Change{whole}, err
	}
	var plain []LowRank
	for _, l := range c.LowRank {
		if l.Mid.Name == "" {
			plain = append(plain, l)
			continue
		}
		change := cgo.Change{Weight: i, Scale: slices.Repeat([]float32{float32(l.Scale)}, l.Rank)}
		if change.Down, err = float32Bytes(l.Down); err == nil {
			if change.Mid, err = float32Bytes(l.Mid); err == nil {
				change.Up, err = float32Bytes(l.Up)
			}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, change)
	}
	if len(plain) == 0 {
		return out, nil
	}
	t, err := n.find(w)
	if err != nil {
		return nil, err
	}
	typ, err := n.typeOf(t)
	if err != nil {
		return nil, err
	}
	joined, err := join(i, w, plain, typ != dtype.F32)
	return append(out, joined), err
}

// join makes one product of several: their ranks one after another. Factors keep float16
// if half says so: beside weights of float32 it would cost precision where operators round
// what they multiply by to the type of the factor.
func join(i int, w cgo.Weight, all []LowRank, half bool) (c cgo.Change, err error) {
	c = cgo.Change{Weight: i, Float16: half}
	rank := 0
	for _, l := range all {
		c.Float16 = c.Float16 && l.Down.Type == dtype.F16 && l.Up.Type == dtype.F16
		c.Scale = append(c.Scale, slices.Repeat([]float32{float32(l.Scale)}, l.Rank)...)
		rank += l.Rank
	}
	bytes, size := float32Bytes, 4
	if c.Float16 {
		bytes, size = ownBytes, 2
	}
	rows := int(w.Shape[0])
	c.Up = make([]byte, rows*rank*size)
	at := 0
	for _, l := range all {
		down, err := bytes(l.Down)
		if err != nil {
			return c, err
		}
		c.Down = append(c.Down, down...)
		up, err := bytes(l.Up)
		if err != nil {
			return c, err
		}
		for r := range len(up) / (l.Rank * size) {
			copy(c.Up[((l.Row+r)*rank+at)*size:], up[r*l.Rank*size:][:l.Rank*size])
		}
		at += l.Rank
	}
	return c, nil
}

// whole computes what is in place of weight i.
func (n adapting) whole(i int, w cgo.Weight, c WeightChange) (cgo.Change, error) {
	t, err := n.find(w)
	if err != nil {
		return cgo.Change{}, err
	}
	base := make([]float32, t.Elements())
	if err := t.Float32(base); err != nil {
		return cgo.Change{}, err
	}
	sum, err := c.Whole(base)
	if err != nil {
		return cgo.Change{}, err
	}
	typ, err := n.typeOf(t)
	if err != nil {
		return cgo.Change{}, err
	}
	const largest = 65504 // of float16
	tooLarge := func(v float32) bool { return math.Abs(float64(v)) > largest }
	if typ == dtype.F32 || len(w.Shape) == 1 || slices.ContainsFunc(sum, tooLarge) {
		return cgo.Change{Weight: i, Whole: bytesOf(sum)}, nil
	}
	half := make([]byte, 2*len(sum))
	if err := dtype.Encode(dtype.F16, half, sum); err != nil {
		return cgo.Change{}, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return cgo.Change{Weight: i, Float16: true, Whole: half}, nil
}

func bytesOf(x []float32) []byte {
	out := make([]byte, 0, 4*len(x))
	for _, v := range x {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

// float32Bytes are a tensor's elements as float32.
func float32Bytes(t convert.Tensor) ([]byte, error) {
	x := make([]float32, t.Elements())
	if err := t.Float32(x); err != nil {
		return nil, err
	}
	return bytesOf(x), nil
}

// ownBytes are a tensor's elements in its own type, not a copy where the file has them in
// one piece.
func ownBytes(t convert.Tensor) ([]byte, error) {
	runs := t.InOrder().Runs()
	if len(runs) == 1 {
		return runs[0], nil
	}
	return slices.Concat(runs...), nil
}
