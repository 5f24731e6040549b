package sd

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
)

// This library's kernels keep activations in float32, or as two bfloat16
// numbers each, whose range is the same, whatever the weights' type. Other
// operators take float16 beside float16 weights and end at 65504, which the
// autoencoder of Stable Diffusion XL passes: infinities, then NaN, then a black
// picture. What such a network computes is computed again in float32.

// run runs a network. Where float16 has overflowed it goes over to float32, for
// good.
func (m *Model) run(ctx context.Context, name string, p *part, in []cgo.Input, out []cgo.Output) error {
	net, err := p.get(ctx)
	if err != nil {
		return err
	}
	if err = net.Run(ctx, in, out); err != nil || finite(out[0].Data) {
		return inMemory(err, p.device)
	}
	explained := m.notFinite(name, p)
	wide, err := p.widen(ctx)
	if _, isKnown := explained.(*NotFiniteError); !isKnown || err != nil || wide == net {
		return explained
	}
	if err := m.note("%s overflowed in float16 and goes on in float32", name); err != nil {
		return err
	}
	if err = wide.Run(ctx, in, out); err == nil && !finite(out[0].Data) {
		err = explained
	}
	return inMemory(err, p.device)
}

// widen sets up the network with weights in float32, which are used from then
// on.
func (p *part) widen(ctx context.Context) (*cgo.Net, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.wide == nil {
		net, err := p.create()
		if err != nil {
			return nil, err
		}
		p.wide = &part{prefix: p.prefix, device: p.device, net: net, weights: p.weights, typ: "f32", take: p.take, create: p.create,
			ways: p.ways, offload: p.offload, stream: p.stream}
		p.net.Unload() // a GPU has no room for both
	}
	return p.wide.get(ctx)
}
