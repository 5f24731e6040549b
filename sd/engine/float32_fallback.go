package engine

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/tensor"
)

// This library's kernels keep activations in float32, or as pairs of bfloat16
// numbers, which have the same range, whatever the weights' type. Other operators
// use float16 activations with float16 weights, whose range ends at 65504. The
// autoencoder of Stable Diffusion XL exceeds it, which gives infinities, then NaN,
// then a black picture. Such a network runs again in float32.

// RunFinite is [Network.Run] with a check of the first output. After an overflow of
// float16 it runs again in float32, and all later runs are in float32, too. Other
// values that are not finite are a [NotFiniteError], or a damaged weight's error.
func (n *Network) RunFinite(ctx context.Context, in []cgo.Input, out []cgo.Output, with ...*Adaptation) error {
	net, err := n.get(ctx)
	if err != nil {
		return err
	}
	uses, err := n.adapt(ctx, net, with)
	if err != nil {
		return err
	}
	if err = net.Run(ctx, in, out, uses...); err != nil || tensor.Finite(out[0].Data) {
		return inMemory(err, n.device)
	}
	explained := n.NotFinite()
	wide, err := n.widen(ctx)
	if _, isKnown := explained.(*NotFiniteError); !isKnown || err != nil || wide == net {
		return explained
	}
	if err := n.host.Warn("%s overflowed in float16 and continues in float32", n.title); err != nil {
		return err
	}
	if uses, err = n.adapt(ctx, wide, with); err != nil {
		return err
	}
	if err = wide.Run(ctx, in, out, uses...); err == nil && !tensor.Finite(out[0].Data) {
		err = explained
	}
	return inMemory(err, n.device)
}

// widen creates the network with float32 weights, which all later runs use.
func (n *Network) widen(ctx context.Context) (*cgo.Net, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.float32 == nil {
		net, err := n.create()
		if err != nil {
			return nil, err
		}
		n.float32 = &Network{host: n.host, prefix: n.prefix, title: n.title, device: n.device, net: net, typ: "f32", create: n.create,
			ops: n.ops, offload: n.offload, stream: n.stream}
		n.net.Unload() // a GPU may not have room for both
	}
	return n.float32.get(ctx)
}
