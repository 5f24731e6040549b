// Package zimage is Z-Image and Z-Image-Turbo (arXiv:2511.22699): the transformer, Qwen3 as its text encoder and FLUX.1's
// autoencoder, as the diffusers library's ZImagePipeline has them.
package zimage

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/transformer"
	"github.com/sdgo/sdgo/sd/tensor"
)

const (
	multiple = 32  // of the tokens of a picture and of a caption
	ropeBase = 256 // of the angles of the rotary embedding
)

// Transformer is the network. Its methods may be called from any goroutine.
type Transformer struct {
	Config convert.ZImageConfig

	net *engine.Network
}

// NewTransformer creates the network of a file.
func NewTransformer(h *engine.Host, c convert.ZImageConfig) (*Transformer, error) {
	net, err := h.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the transformer", Arch: "zimage", Prefix: c.Prefix, Params: c.Params()})
	if err != nil {
		return nil, err
	}
	return &Transformer{c, net}, nil
}

// Network is the transformer's network.
func (t *Transformer) Network() *engine.Network { return t.net }

// Velocity is what the network predicts for latents [N, channels, height, width] at sigma, 1 for noise to 0 for the
// picture: noise - x0, as in flow matching. (The weights themselves say x0 - noise.) caption has the states of a
// caption's tokens, [N, tokens, Text].
func (t *Transformer) Velocity(ctx context.Context, x, caption tensor.Tensor, sigma []float64, with *engine.Adaptation) (tensor.Tensor, error) {
	times := make([]float32, len(sigma))
	for i, s := range sigma {
		times[i] = float32(netTime(s))
	}
	out := x.Like()
	in := t.inputs(shapeOf(x), x.Data, times, shapeOf(caption), caption.Data)
	if err := t.net.Run(ctx, in, []cgo.Output{{Name: "sample", Data: out.Data}}, with); err != nil {
		return tensor.Tensor{}, err
	}
	if !tensor.Finite(out.Data) {
		return tensor.Tensor{}, t.net.NotFinite()
	}
	return out, nil
}

// inputs are the network's for latents of a shape, [N, channels, height, width], and a caption's states, [N, tokens, Text],
// which may both be nil, to estimate.
func (t *Transformer) inputs(shape []int64, x, times []float32, text []int64, caption []float32) []cgo.Input {
	head := t.Config.Width / t.Config.Heads
	axes := []int{head / 4, head * 3 / 8, head * 3 / 8}
	words := int(text[1])
	own, all := rope{transformer.Rope{Base: ropeBase, Axes: axes}}, rope{transformer.Rope{Base: ropeBase, Axes: axes}}
	own.caption(words)
	all.picture(int(shape[2])/t.Config.Patch, int(shape[3])/t.Config.Patch, filled(words))
	all.caption(words)
	return []cgo.Input{
		{Name: "x", Shape: shape, F32: x}, {Name: "timesteps", Shape: []int64{shape[0]}, F32: times}, {Name: "context", Shape: text, F32: caption},
		{Name: "cos", Shape: all.Shape(), F32: all.Cos}, {Name: "sin", Shape: all.Shape(), F32: all.Sin},
		{Name: "context.cos", Shape: own.Shape(), F32: own.Cos}, {Name: "context.sin", Shape: own.Shape(), F32: own.Sin},
	}
}

func shapeOf(t tensor.Tensor) []int64 {
	out := make([]int64, len(t.Shape))
	for i, d := range t.Shape {
		out[i] = int64(d)
	}
	return out
}

// rope are the tables of a sequence: a token has a place in time, a row and a column, which turn a quarter, three and three
// eighths of a head.
type rope struct{ transformer.Rope }

// caption adds a caption's tokens and those that fill it up, one after another in time.
func (r *rope) caption(tokens int) {
	for l := range filled(tokens) {
		r.Add(1 + l)
	}
}

// picture adds a picture's tokens, which come in time after so many of the caption, and those that fill it up.
func (r *rope) picture(height, width, caption int) {
	for row := range height {
		for column := range width {
			r.Add(1+caption, row, column)
		}
	}
	for range filled(height*width) - height*width {
		r.Add()
	}
}

func filled(tokens int) int { return (tokens + multiple - 1) / multiple * multiple }
