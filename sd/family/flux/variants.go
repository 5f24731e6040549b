package flux

import (
	"context"
	"image"
	"math"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/transformer"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

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

// seesReferences reports whether the model can be given reference pictures: FLUX.1 dev, whose shapes Kontext has.
func (m *model) seesReferences() bool {
	return m.config.Transformer.Guidance && m.config.Transformer.Channels == m.config.Transformer.OutChannels
}

// referenceKey is what a request keeps its reference under.
type referenceKey struct{ m *model }

// reference is the input of conditions for the request's reference picture; none without one.
func (m *model) reference(ctx context.Context, q *request.Resolved, memo pipeline.Memo) ([]engine.Named, error) {
	if known, ok := memo[referenceKey{m}].([]engine.Named); ok {
		return known, nil
	}
	for i, c := range q.Request.Controls {
		if c.Name != request.Reference {
			continue
		}
		img := q.ControlPictures[i]
		if m.edits() {
			img = seenByKontext(img)
		} else {
			img = transformer.Reference(img, patch*m.kl.Factor())
		}
		e, err := m.kl.Encode(ctx, tensor.FromImage(img))
		if err != nil {
			return nil, err
		}
		all := []engine.Named{{Name: "reference", Shape: e.Mean().Shape, Data: e.Mean().Data}}
		if memo != nil {
			memo[referenceKey{m}] = all
		}
		return all, nil
	}
	return nil, nil
}

// kontextSizes are those that Kontext was trained to see pictures in (the diffusers library's PREFERRED_KONTEXT_RESOLUTIONS): about a
// million pixels each.
var kontextSizes = []image.Point{
	{X: 672, Y: 1568}, {X: 688, Y: 1504}, {X: 720, Y: 1456}, {X: 752, Y: 1392}, {X: 800, Y: 1328}, {X: 832, Y: 1248}, {X: 880, Y: 1184}, {X: 944, Y: 1104}, {X: 1024, Y: 1024},
	{X: 1104, Y: 944}, {X: 1184, Y: 880}, {X: 1248, Y: 832}, {X: 1328, Y: 800}, {X: 1392, Y: 752}, {X: 1456, Y: 720}, {X: 1504, Y: 688}, {X: 1568, Y: 672},
}

// kontextSize is the one whose sides are the nearest to a picture's in proportion.
func kontextSize(size image.Point) (nearest image.Point) {
	least := math.Inf(1)
	for _, s := range kontextSizes {
		if d := math.Abs(float64(size.X)/float64(size.Y) - float64(s.X)/float64(s.Y)); d < least {
			least, nearest = d, s
		}
	}
	return nearest
}

// seenByKontext is a reference picture as Kontext sees it.
func seenByKontext(img *image.NRGBA) *image.NRGBA {
	size := kontextSize(img.Rect.Size())
	return imaging.Resize(picture.OnWhite(img), size.X, size.Y, imaging.Lanczos)
}

// checkReference checks the request's reference pictures.
func (m *model) checkReference(q *request.Resolved, e *request.Error) {
	count := 0
	for i, c := range q.Request.Controls {
		if c.Name != request.Reference || q.ControlPictures[i] == nil {
			continue
		}
		count++
		if size := q.ControlPictures[i].Rect.Size(); min(size.X, size.Y) < patch*m.kl.Factor() {
			e.Add("Controls", "reference pictures must have sides of at least %d pixels, got %dx%d", patch*m.kl.Factor(), size.X, size.Y)
		}
	}
	switch {
	case count > 1:
		e.Add("Controls", "the model sees one reference picture, got %d", count)
	case count > 0 && m.edits() && q.Image != nil:
		e.Add("Controls", "the picture to edit is the model's one reference: it takes no other")
	case count > 0 && !m.kl.CanEncode():
		e.Add("Controls", "reference pictures are encoded, and the model's file has no autoencoder's encoder")
	}
}

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
	m.checkReference(q, e)
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
