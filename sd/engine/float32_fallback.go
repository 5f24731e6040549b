package engine

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/tensor"
)

// This library's kernels keep activations in float32, or as two bfloat16
// numbers each, whose range is the same, whatever the weights' type. Other
// operators take float16 beside float16 weights and end at 65504, which the
// autoencoder of Stable Diffusion XL passes: infinities, then NaN, then a black
// picture. What such a network computes is computed again in float32.

// RunFinite is [Network.Run] whose first output is checked. Where float16 has
// overflowed the network goes over to float32, for good; other values that are not
// finite are a [NotFiniteError], or a damaged weight's error.
func (n *Network) RunFinite(ctx context.Context, in []cgo.Input, out []cgo.Output) error {
	net, err := n.get(ctx)
	if err != nil {
		return err
	}
	if err = net.Run(ctx, in, out); err != nil || tensor.Finite(out[0].Data) {
		return inMemory(err, n.device)
	}
	explained := n.NotFinite()
	wide, err := n.widen(ctx)
	if _, isKnown := explained.(*NotFiniteError); !isKnown || err != nil || wide == net {
		return explained
	}
	if err := n.host.Warn("%s overflowed in float16 and goes on in float32", n.title); err != nil {
		return err
	}
	if err = wide.Run(ctx, in, out); err == nil && !tensor.Finite(out[0].Data) {
		err = explained
	}
	return inMemory(err, n.device)
}

// widen sets up the network with weights in float32, which are used from then on.
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
		n.net.Unload() // a GPU has no room for both
	}
	return n.float32.get(ctx)
}
