package ldm

import (
	"context"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Variants of UNets with further input channels, as convert names them.
const (
	inpaints = "inpaint" // 9 channels: the latent's 4, the mask, the masked picture's latent
	edits    = "edit"    // 8 channels: the latent's 4, the picture's latent (instruct-pix2pix)
	upscales = "upscale" // 7 channels: the latent's 4, a smaller picture (the x4 upscaler)
)

// see sets the pipeline's further input channels.
func (m *Model) see(p *pipeline.Pipeline) {
	p.ConcatChannels = m.denoiser.beside()
	switch m.Config.Variant {
	case inpaints:
		p.Concat = m.maskedPicture
	case edits:
		p.Concat, p.EditsImages = m.wholePicture, true
	}
}

// IsPlain reports whether the UNet's only input channels are the latent's.
func (m *Model) IsPlain() bool { return m.Config.Variant == "" }

// maskedPicture prepares the channels for inpainting: the mask, and the latent of the
// picture with grey where the mask is white.
func (m *Model) maskedPicture(ctx context.Context, s *pipeline.Source) (pipeline.Draw, error) {
	masked := s.Pixels.Like()
	n := len(s.Mask)
	for i, v := range s.Pixels.Data {
		if s.Mask[i%n] <= 0.5 {
			masked.Data[i] = v
		}
	}
	e, err := s.Encode(ctx, masked)
	if err != nil {
		return nil, err
	}
	return func(noise sampler.Noise) tensor.Tensor {
		latent := e.Sample(noise)
		data := append(append([]float32(nil), s.Cells...), latent.Data...)
		return tensor.Of(data, 1+latent.Channels(), latent.Height(), latent.Width())
	}, nil
}

// wholePicture prepares the channels of instruct-pix2pix: the means of the picture's
// encoding, without the UNet's scale.
func (m *Model) wholePicture(ctx context.Context, s *pipeline.Source) (pipeline.Draw, error) {
	mean, _, err := m.kl.Moments(ctx, s.Pixels)
	return func(sampler.Noise) tensor.Tensor { return mean }, err
}

// CheckVariant checks the request's fields for UNets for inpainting and editing.
func (m *Model) CheckVariant(q *request.Resolved, e *request.Error) {
	variant := m.Config.Variant
	if variant != "" && len(q.Request.Hires) > 0 {
		e.Add("Hires", "a model made for inpainting, or for editing or enlarging pictures can't take them; plain ones can")
	}
	if variant != edits && q.Request.ImageGuidance != nil {
		e.Add("ImageGuidance", "only models for editing (instruct-pix2pix) have it")
	}
	switch variant {
	case inpaints:
		if q.Image == nil || q.Mask == nil {
			e.Add("Mask", "the model is made for inpainting: it needs a picture and a mask")
		}
	case upscales:
		m.checkUpscaling(q, e)
	case edits:
		switch {
		case q.Image == nil:
			e.Add("Image", "the model is made for editing pictures: it needs a picture")
		case q.Mask != nil:
			e.Add("Mask", "the model is made for editing whole pictures: it takes none")
		case q.Sampler.CFGPP:
			e.Add("Sampler", "%s brings its own guidance, which a model for editing can't take", q.Sampler.Name)
		}
		q.Strength = 1 // the picture is in the input channels
	}
}
