// Package zimage runs Z-Image's transformer: what it is given for a picture of a size and a caption, and what it says.
package zimage

import (
	"context"
	"math"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
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
// picture: noise - x0, as in flow matching. (The network itself says x0 - noise.) caption has the states of a
// caption's tokens, [N, tokens, Text].
func (t *Transformer) Velocity(ctx context.Context, x, caption tensor.Tensor, sigma []float64, with *engine.Adaptation) (tensor.Tensor, error) {
	n, height, width := x.Shape[0], x.Height(), x.Width()
	times := make([]float32, n)
	for i, s := range sigma {
		times[i] = float32(1000 * (1 - s))
	}
	own, all := rope{head: t.Config.Width / t.Config.Heads}, rope{head: t.Config.Width / t.Config.Heads}
	own.caption(caption.Height())
	all.picture(height/t.Config.Patch, width/t.Config.Patch, filled(caption.Height()))
	all.caption(caption.Height())
	half := int64(own.head / 2)
	shape := func(x []float32) []int64 { return []int64{int64(len(x)) / half, half} }
	in := []cgo.Input{
		{Name: "x", Shape: shapeOf(x), F32: x.Data}, {Name: "timesteps", Shape: []int64{int64(n)}, F32: times}, {Name: "context", Shape: shapeOf(caption), F32: caption.Data},
		{Name: "cos", Shape: shape(all.cos), F32: all.cos}, {Name: "sin", Shape: shape(all.sin), F32: all.sin},
		{Name: "context.cos", Shape: shape(own.cos), F32: own.cos}, {Name: "context.sin", Shape: shape(own.sin), F32: own.sin},
	}
	out := x.Like()
	if err := t.net.Run(ctx, in, []cgo.Output{{Name: "sample", Data: out.Data}}, with); err != nil {
		return tensor.Tensor{}, err
	}
	if !tensor.Finite(out.Data) {
		return tensor.Tensor{}, t.net.NotFinite()
	}
	for i, v := range out.Data {
		out.Data[i] = -v
	}
	return out, nil
}

func shapeOf(t tensor.Tensor) []int64 {
	out := make([]int64, len(t.Shape))
	for i, d := range t.Shape {
		out[i] = int64(d)
	}
	return out
}

// rope collects the cosines and sines of a sequence's rotary embedding, [tokens, head/2]: a token has a place in time, a row
// and a column, which turn a quarter, three and three eighths of a head.
type rope struct {
	head     int
	cos, sin []float32
}

// caption adds a caption's tokens and those that fill it up, one after another in time.
func (r *rope) caption(tokens int) {
	for l := range filled(tokens) {
		r.add(1+l, 0, 0)
	}
}

// picture adds a picture's tokens, which come in time after so many of the caption, and those that fill it up.
func (r *rope) picture(height, width, caption int) {
	for row := range height {
		for column := range width {
			r.add(1+caption, row, column)
		}
	}
	for range filled(height*width) - height*width {
		r.add(0, 0, 0)
	}
}

func (r *rope) add(place ...int) {
	for axis, p := range place {
		d := r.head * 3 / 8
		if axis == 0 {
			d = r.head / 4
		}
		for j := range d / 2 {
			angle := float64(p) * math.Pow(ropeBase, -2*float64(j)/float64(d))
			r.cos, r.sin = append(r.cos, float32(math.Cos(angle))), append(r.sin, float32(math.Sin(angle)))
		}
	}
}

func filled(tokens int) int { return (tokens + multiple - 1) / multiple * multiple }
