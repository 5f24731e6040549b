package flux

import (
	"context"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// knowsChannels reports whether the further input channels are those of a known model.
func (m *model) knowsChannels() bool { return m.fills() || m.follows() }

// fills reports whether the model is FLUX.1 Fill: beside the noisy latent it sees that of a picture whose hole is grey, and the
// mask, a channel for each pixel of a latent pixel's square.
func (m *model) fills() bool {
	t := m.config.Transformer
	return t.Channels == 2*t.OutChannels+m.config.VAE.Factor()*m.config.VAE.Factor()
}

// follows reports whether the model is FLUX.1 for depths or edges: it sees the latent of a control picture.
func (m *model) follows() bool {
	return m.config.Transformer.Channels == 2*m.config.Transformer.OutChannels
}

// edits reports whether the model is FLUX.1 Kontext: the tokens of a picture follow those of the noisy latent.
func (m *model) edits() bool { return m.config.Kontext }

// see sets the pipeline's further input channels.
func (m *model) see(p *pipeline.Pipeline) {
	p.ConcatChannels = m.config.Transformer.Channels - m.config.Transformer.OutChannels
	switch {
	case m.fills():
		p.Concat = m.maskedPicture
	case m.follows():
		p.Concat = m.wholePicture
	case m.edits():
		p.Concat, p.ConcatChannels = m.editedPicture, m.config.Transformer.OutChannels
	}
}

// maskedPicture prepares Fill's channels.
func (m *model) maskedPicture(ctx context.Context, s *pipeline.Source) (pipeline.Draw, error) {
	masked := s.Pixels.Like()
	n, width := len(s.Mask), s.Pixels.Width()
	for i, v := range s.Pixels.Data {
		if s.Mask[i%n] <= 0.5 {
			masked.Data[i] = v
		}
	}
	e, err := s.Encode(ctx, masked)
	if err != nil {
		return nil, err
	}
	mask := m.squares(s.Mask, width)
	return func(noise sampler.Noise) tensor.Tensor {
		latent := e.Sample(noise)
		data := append(append([]float32(nil), latent.Data...), mask...)
		return tensor.Of(data, m.config.Transformer.Channels-m.config.Transformer.OutChannels, latent.Height(), latent.Width())
	}, nil
}

// squares is a mask with a channel for each pixel of a latent pixel's square, row by row: 1 where it is painted anew.
func (m *model) squares(mask []float32, width int) []float32 {
	f := m.config.VAE.Factor()
	columns, rows := width/f, len(mask)/width/f
	out := make([]float32, len(mask))
	for i, v := range mask {
		if y, x := i/width, i%width; v > 0.5 {
			out[(y%f*f+x%f)*rows*columns+y/f*columns+x/f] = 1
		}
	}
	return out
}

// wholePicture prepares the channels of a control picture.
func (m *model) wholePicture(ctx context.Context, s *pipeline.Source) (pipeline.Draw, error) {
	e, err := s.Encode(ctx, s.Pixels)
	if err != nil {
		return nil, err
	}
	return e.Sample, nil
}

// editedPicture prepares Kontext's latent of a picture: the middle of what it is encoded to.
func (m *model) editedPicture(ctx context.Context, s *pipeline.Source) (pipeline.Draw, error) {
	e, err := s.Encode(ctx, s.Pixels)
	if err != nil {
		return nil, err
	}
	return func(sampler.Noise) tensor.Tensor { return e.Mean() }, nil
}

// checkVariant checks the request's fields for models with further input channels.
func (m *model) checkVariant(q *request.Resolved, e *request.Error) {
	if (m.fills() || m.follows() || m.edits()) && len(q.Request.Hires) > 0 {
		e.Add("Hires", "a model made for filling holes, or for following or editing pictures, can't take them; plain ones can")
	}
	switch {
	case m.fills() && (q.Image == nil || q.Mask == nil):
		e.Add("Mask", "the model is made for filling holes: it needs a picture and a mask")
	case m.follows() && q.Image == nil:
		e.Add("Image", "the model follows a control picture, of depths or edges: it needs one")
	case m.follows() && q.Mask != nil:
		e.Add("Mask", "the model follows a whole control picture: it takes none")
	case m.follows():
		q.Strength = 1 // the picture is in the input channels
	case m.edits() && q.Mask != nil:
		e.Add("Mask", "the model edits whole pictures: it takes none")
	case m.edits() && q.Image != nil:
		q.Strength = 1 // the picture is beside the noisy one
	}
}
