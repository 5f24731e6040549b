package sd

import (
	"context"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
)

// passes runs passes of UNets. [together] has one that makes the passes of
// several pictures at once.
type passes func(ctx context.Context, m *Model, dst []float32, in unetInput) error

// alone makes each pass on its own.
func alone(ctx context.Context, m *Model, dst []float32, in unetInput) error {
	return m.runUNet(ctx, dst, in)
}

// view is one of the conditions that the UNet answers for.
type view struct {
	text   embedding
	beside []float32 // the channels beside the latent; nil if there are none
}

// guide makes the denoiser of one phase: the guidance between the UNet's
// answers, for latents of x's shape. uncond is the sampler's option.
func (m *Model) guide(q resolved, s *source, p sampler.Prediction, x plane, c phase, uncond []float32) sampler.Denoiser {
	var beside []float32
	if s != nil {
		beside = s.beside
	}
	through := q.passes
	if through == nil {
		through = alone
	}
	var cache *deepCache
	if q.DeepCache > 1 {
		cache = &deepCache{every: q.DeepCache}
	}
	if m.weights.Variant == "edit" {
		// Brooks et al. 2023 (InstructPix2Pix, arXiv:2211.09800), eq. 3: from
		// neither picture nor text to the picture, and on to the text.
		nothing := view{c.uncond, make([]float32, len(beside))}
		many := sampler.NewMany(p, m.process, m.evaluate(through, x, cache, nothing, view{c.uncond, beside}, view{c.cond, beside}))
		return sampler.Composable(many, []float64{q.imageGuidance - q.guidance, q.guidance}, 1)
	}
	run := m.evaluate(through, x, cache, view{c.cond, beside}, view{c.uncond, beside})
	pair := sampler.NewPair(p, m.process, func(ctx context.Context, cond, uncond, x []float32, t float64) error {
		return run(ctx, [][]float32{cond, uncond}, x, t)
	})
	return q.sampler.Guide(pair, q.guidance, uncond)
}

// evaluate returns the UNet as the samplers see it, for latents of one shape:
// dst has a slice for each view, nil where its answer is not wanted. Views whose
// texts have the same length go through the UNet as one batch, so that its
// weights are read once.
func (m *Model) evaluate(through passes, shape plane, cache *deepCache, views ...view) sampler.ModelMany {
	n := len(shape.data)
	var xs, contexts, about, ts, out []float32
	return func(ctx context.Context, dst [][]float32, x []float32, t float64) error {
		done := make([]bool, len(views))
		for first := range views {
			if done[first] || dst[first] == nil {
				continue
			}
			var batch []int
			xs, contexts, about, ts = xs[:0], contexts[:0], about[:0], ts[:0]
			for i := first; i < len(views); i++ {
				if v := views[i]; dst[i] != nil && !done[i] && v.text.length == views[first].text.length {
					xs = append(append(xs, x...), v.beside...)
					contexts = append(contexts, v.text.data...)
					about = append(about, v.text.about...)
					ts = append(ts, float32(t))
					batch = append(batch, i)
					done[i] = true
				}
			}
			if len(out) < len(views)*n {
				out = make([]float32, len(views)*n)
			}
			in := unetInput{xs, contexts, about, ts, shape, views[first].text.length, cache}
			if err := through(ctx, m, out[:len(batch)*n], in); err != nil {
				return err
			}
			for k, i := range batch {
				copy(dst[i], out[k*n:][:n])
			}
		}
		return nil
	}
}

// unetInput is a batch of latents of one shape, each with the channels beside
// it, of texts of one length, of what is known about the pictures, and of
// timesteps.
type unetInput struct {
	xs, contexts, about, ts []float32
	shape                   plane // its data is not used
	length                  int   // of a text, tokens
	cache                   *deepCache
}

// runUNet runs the UNet.
func (m *Model) runUNet(ctx context.Context, dst []float32, in unetInput) error {
	if in.cache == nil && m.unet.device.Kind != cgo.CPU {
		return m.run(ctx, "the UNet", m.unet, m.unetInputs(in), []cgo.Output{{Name: "out", Data: dst}})
	}
	net, err := m.unet.get(ctx)
	if err != nil {
		return err
	}
	if in.cache != nil {
		err = in.cache.run(ctx, net, in, m.unetInputs(in), dst)
	} else {
		err = net.Run(ctx, m.unetInputs(in), []cgo.Output{{Name: "out", Data: dst}})
	}
	return inMemory(err, m.unet.device)
}

// unetInputs are a batch's as the network names them.
func (m *Model) unetInputs(in unetInput) []cgo.Input {
	n, u := int64(len(in.ts)), m.weights.UNet
	inputs := []cgo.Input{
		{Name: "x", Shape: []int64{n, int64(u.InChannels), int64(in.shape.height), int64(in.shape.width)}, F32: in.xs},
		{Name: "t", Shape: []int64{n}, F32: in.ts},
		{Name: "context", Shape: []int64{n, int64(in.length), int64(u.ContextDim)}, F32: in.contexts},
	}
	if u.ADMChannels > 0 {
		inputs = append(inputs, cgo.Input{Name: "y", Shape: []int64{n, int64(u.ADMChannels)}, F32: in.about})
	}
	return inputs
}
