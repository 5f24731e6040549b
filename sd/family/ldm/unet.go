// Package ldm has what the families of latent diffusion with a UNet share (Rombach et
// al. 2022): the UNet as a denoiser, CLIP's text encoders, the KL autoencoder, and UNets
// for inpainting and editing, whose input has further channels.
package ldm

import (
	"context"
	"slices"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/tensor"
)

// unet is a UNet as a denoiser. Its conditions have the inputs "context", [tokens,
// ContextDim], "y", [ADMChannels], if it has any, "guidance", [GuidanceDim], if it takes
// the guidance scale, "class", a level of noise, if it takes one, and "concat" or "low", the
// channels that are concatenated with the latent, if its input has more channels than its output.
type unet struct {
	config  convert.UNetConfig
	net     *engine.Network
	factor  int
	process *sampler.Process
	known   sampler.Prediction // "" if a trial run has to find it
	found   pipeline.Once[sampler.Prediction]
}

func newUNet(h *engine.Host, u convert.UNetConfig) (*engine.Network, error) {
	return h.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the UNet", Arch: "unet", Prefix: convert.UNetPrefix, Params: u.Params()})
}

func (u *unet) Network() *engine.Network  { return u.net }
func (u *unet) Process() *sampler.Process { return u.process }
func (u *unet) CachesInner() bool         { return true }
func (u *unet) Perturbs() bool            { return u.config.MiddleDepth > 0 }

func (u *unet) Latent(width, height int) []int {
	return []int{u.config.OutChannels, height / u.factor, width / u.factor}
}

// Tokens implements [pipeline.TokenMerger]: those of the first level with self-attention.
func (u *unet) Tokens(latent []int) (width, height int) {
	h, w, blocks := latent[1], latent[2], u.config.NumResBlocks
	for level := range u.config.ChannelMult {
		depths := []int{u.config.TransformerDepth[level]}
		if u.config.InputDepth != nil {
			depths = u.config.InputDepth[level*blocks:][:blocks]
		}
		crossOnly := u.config.CrossOnly != nil && u.config.CrossOnly[level]
		if slices.Max(depths) > 0 && !crossOnly {
			return w, h
		}
		h, w = (h+1)/2, (w+1)/2
	}
	return 0, 0
}

// DeepestShape implements [pipeline.DeepestFeatures]: halving rounds odd sides up.
func (u *unet) DeepestShape(latent []int) []int {
	h, w := latent[1], latent[2]
	for range len(u.config.ChannelMult) - 1 {
		h, w = (h+1)/2, (w+1)/2
	}
	return []int{u.config.ModelChannels * u.config.ChannelMult[len(u.config.ChannelMult)-1], h, w}
}

// CheckControl says why a network can't steer the UNet; "" if it can.
func (u *unet) CheckControl(c control.Network) string { return c.Misfit(u.config) }

// Levels is the number of the UNet's resolutions.
func (u *unet) Levels() int { return len(u.config.ChannelMult) }

// AttendsInLastBlock reports whether the k-th of the layers that attend to the text is in
// the last block of the way up.
func (u *unet) AttendsInLastBlock(k int) bool { return u.config.AttendsInLastBlock(k) }

// beside is the number of channels that are concatenated with the latent.
func (u *unet) beside() int { return u.config.InChannels - u.config.OutChannels }

func (u *unet) Inputs(shape []int, x, t []float32, c []pipeline.Condition) []cgo.Input {
	n, size := len(t), tensor.Size(shape)
	in := cgo.Input{Name: "x", Shape: []int64{int64(n), int64(u.config.InChannels), int64(shape[1]), int64(shape[2])}, F32: x}
	if u.beside() > 0 && x != nil {
		in.F32 = make([]float32, 0, n*tensor.Size(shape[1:])*u.config.InChannels)
		for i := range n {
			in.F32 = append(append(in.F32, x[i*size:][:size]...), named(c[i], "concat").Data...)
			in.F32 = append(in.F32, named(c[i], "low").Data...)
		}
	}
	inputs := []cgo.Input{in, {Name: "t", Shape: []int64{int64(n)}, F32: t}}
	for _, name := range []string{"context", "y", "guidance"} {
		first := named(c[0], name)
		if first.Shape == nil {
			continue
		}
		all := cgo.Input{Name: name, Shape: tensor.Batch(n, first.Shape)}
		if n == 1 {
			all.F32 = first.Data
		} else {
			all.F32 = make([]float32, 0, n*len(first.Data))
			for _, one := range c {
				all.F32 = append(all.F32, named(one, name).Data...)
			}
		}
		inputs = append(inputs, all)
	}
	if u.config.Classes > 0 {
		class := cgo.Input{Name: "class", Shape: []int64{int64(n), 1}}
		for _, one := range c {
			for _, v := range named(one, "class").Data {
				class.I32 = append(class.I32, int32(v))
			}
		}
		inputs = append(inputs, class)
	}
	return inputs
}

// named returns a condition's input of a name; the zero value if there is none.
func named(c pipeline.Condition, name string) engine.Named {
	for _, in := range c.Inputs {
		if in.Name == name {
			return in
		}
	}
	return engine.Named{}
}

// Prediction is the UNet's prediction type, from the caller or the file, else from a
// trial run.
func (u *unet) Prediction(ctx context.Context) (sampler.Prediction, error) {
	if u.known != "" {
		return u.known, nil
	}
	return u.found.Get(ctx, func() (sampler.Prediction, error) { return u.probe(ctx) })
}

// probe finds whether the UNet predicts epsilon or v, as AUTOMATIC1111 does for SD 2.x:
// at the last timestep, where the latent is pure noise, a UNet that predicts epsilon
// returns its input, and one that predicts v much lower values. The trial input is 0.5
// everywhere, the threshold -1.
func (u *unet) probe(ctx context.Context) (sampler.Prediction, error) {
	const side, length, value = 8, 2, 0.5
	full := func(shape ...int) tensor.Tensor {
		t := tensor.New(shape...)
		for i := range t.Data {
			t.Data[i] = value
		}
		return t
	}
	x := full(u.config.OutChannels, side, side)
	var c pipeline.Condition
	add := func(name string, t tensor.Tensor) {
		c.Inputs = append(c.Inputs, engine.Named{Name: name, Shape: t.Shape, Data: t.Data})
	}
	add("context", full(length, u.config.ContextDim))
	if n := u.config.ADMChannels; n > 0 {
		add("y", tensor.New(n))
	}
	if n := u.config.GuidanceDim; n > 0 {
		add("guidance", tensor.New(n))
	}
	if n := u.beside(); n > 0 {
		add("concat", full(n, side, side))
	}
	if u.config.Classes > 0 {
		add("class", tensor.New(1))
	}
	out := make([]float32, len(x.Data))
	run := u.net.Run
	if u.net.Device().Kind != cgo.CPU {
		run = u.net.RunFinite
	}
	if err := run(ctx, u.Inputs(x.Shape, x.Data, []float32{999}, []pipeline.Condition{c}), []cgo.Output{{Name: "out", Data: out}}); err != nil {
		return "", err
	}
	var mean float64
	for i := range out {
		mean += float64(out[i]-x.Data[i]) / float64(len(out))
	}
	if mean < -1 {
		return sampler.PredictV, nil
	}
	return sampler.PredictEpsilon, nil
}
