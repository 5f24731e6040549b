// Package flux is the family of FLUX.1 (Black Forest Labs 2024) and Chroma.
package flux

import (
	"context"
	"math"
	"sync"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/transformer"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/tensor"
)

const (
	patch    = 2     // latent pixels along a token's side
	ropeBase = 10000 // of the angles of the rotary embedding
)

// denoiser is the transformer. Conditions have the inputs "context", [tokens, Text], of FLUX.1 "y", [Pooled], and perhaps
// "guidance", [1]; "concat", [channels, height, width]: those that are concatenated with the latent, if it takes more than that, or
// in Kontext another latent that it sees.
type denoiser struct {
	config  convert.FluxConfig
	net     *engine.Network
	factor  int // pixels along a latent pixel's side
	process *sampler.Process
	kontext bool

	mutex sync.Mutex
	ropes map[ropeKey]*transformer.Rope
}

func newTransformer(h *engine.Host, c convert.FluxConfig) (*denoiser, error) {
	net, err := h.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the transformer", Arch: "flux", Prefix: c.Prefix, Params: c.Params()})
	if err != nil {
		return nil, err
	}
	return &denoiser{config: c, net: net, ropes: map[ropeKey]*transformer.Rope{}}, nil
}

func (f *denoiser) Network() *engine.Network  { return f.net }
func (f *denoiser) Process() *sampler.Process { return f.process }
func (f *denoiser) CachesInner() bool         { return false }
func (f *denoiser) Perturbs() bool            { return false }

func (f *denoiser) Latent(width, height int) []int {
	return []int{f.config.OutChannels, height / f.factor, width / f.factor}
}

func (f *denoiser) Prediction(context.Context) (sampler.Prediction, error) {
	return sampler.PredictFlow, nil
}

// Inputs are the network's for a batch of latents of a shape, one after the other, each at a timestep, 0 to 1000 for noise. x may be
// nil, to estimate.
func (f *denoiser) Inputs(shape []int, x, t []float32, c []pipeline.Condition) []cgo.Input {
	n, size := len(c), tensor.Size(shape)
	in := cgo.Input{Name: "x", Shape: []int64{int64(n), int64(f.config.Channels), int64(shape[1]), int64(shape[2])}, F32: x}
	if f.config.Channels > shape[0] && x != nil {
		in.F32 = make([]float32, 0, n*f.config.Channels*shape[1]*shape[2])
		for i := range n {
			_, beside := transformer.Named(c[i], "concat")
			in.F32 = append(append(in.F32, x[i*size:][:size]...), beside...)
		}
	}
	all := []cgo.Input{in, batched("context", c)}
	text, _ := transformer.Named(c[0], "context")
	key := ropeKey{text: text[0], height: shape[1] / patch, width: shape[2] / patch}
	if other, _ := transformer.Named(c[0], "concat"); f.kontext && other != nil {
		reference := batched("concat", c)
		reference.Name = "reference"
		all = append(all, reference)
		key.otherHeight, key.otherWidth = other[1]/patch, other[2]/patch
	}
	r := f.rope(key)
	all = append(all, cgo.Input{Name: "cos", Shape: r.Shape(), F32: r.Cos}, cgo.Input{Name: "sin", Shape: r.Shape(), F32: r.Sin})
	if f.config.Approximator > 0 {
		return append(all, f.modulation(n, t))
	}
	all = append(all, batched("y", c), cgo.Input{Name: "timesteps", Shape: []int64{int64(n)}, F32: t})
	if f.config.Guidance {
		scale := cgo.Input{Name: "guidance", Shape: []int64{int64(n)}}
		for _, one := range c {
			_, guidance := transformer.Named(one, "guidance")
			scale.F32 = append(scale.F32, 1000*guidance[0])
		}
		all = append(all, scale)
	}
	return all
}

// batched is an input of all conditions.
func batched(name string, c []pipeline.Condition) cgo.Input {
	shape, _ := transformer.Named(c[0], name)
	all := cgo.Input{Name: name, Shape: tensor.Batch(len(c), shape)}
	for _, one := range c {
		_, data := transformer.Named(one, name)
		all.F32 = append(all.F32, data...)
	}
	return all
}

// modulation is what Chroma's approximator is given: for each of its rows sinusoids of the timestep, of a guidance of 0, and of
// the row's number, a quarter, a quarter and half of them.
func (f *denoiser) modulation(n int, t []float32) cgo.Input {
	rows, width := f.config.Modulations(), f.config.Rows
	in := cgo.Input{Name: "rows", Shape: []int64{int64(n), int64(rows), int64(width)}}
	in.F32 = make([]float32, 0, n*rows*width)
	for i := range n {
		common := append(sinusoids(t[i], width/4), sinusoids(0, width/4)...)
		for row := range rows {
			in.F32 = append(append(in.F32, common...), sinusoids(float32(1000*row), width/2)...)
		}
	}
	return in
}

// sinusoids are cosines, then sines, of a time at falling frequencies (Ho et al. 2020), in float32 as where the model was
// trained: angles are large, and their rounding is a part of what it has learned.
func sinusoids(t float32, width int) []float32 {
	half := width / 2
	out := make([]float32, width)
	for i := range half {
		exponent := float32(-math.Log(10000)) * float32(i) / float32(half)
		angle := float64(t * float32(math.Exp(float64(exponent))))
		out[i], out[half+i] = float32(math.Cos(angle)), float32(math.Sin(angle))
	}
	return out
}

// ropeKey is what the angles of a sequence depend on: tokens of text, a picture's rows and columns of tokens, and those of
// another picture.
type ropeKey struct{ text, height, width, otherHeight, otherWidth int }

// maxRopes bounds how many sequences' angles are kept: a request has several sizes in its passes, and texts of two lengths.
const maxRopes = 8

func (f *denoiser) rope(key ropeKey) *transformer.Rope {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	r, ok := f.ropes[key]
	if !ok {
		if len(f.ropes) >= maxRopes {
			clear(f.ropes)
		}
		r = newRope(key, f.config.Axes())
		f.ropes[key] = r
	}
	return r
}

// newRope makes the angles of all tokens, each of which has a picture's number, a row and a column: all 0 of text.
func newRope(key ropeKey, axes [3]int) *transformer.Rope {
	r := &transformer.Rope{Base: ropeBase, Axes: axes[:]}
	for range key.text {
		r.Add()
	}
	for number, size := range [][2]int{{key.height, key.width}, {key.otherHeight, key.otherWidth}} {
		for row := range size[0] {
			for column := range size[1] {
				r.Add(number, row, column)
			}
		}
	}
	return r
}
