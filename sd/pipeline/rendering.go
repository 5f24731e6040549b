package pipeline

import (
	"context"
	"image"
	"time"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/upscale"
)

// rendering is the work on one picture of a request.
type rendering struct {
	d        Drawing
	c        guided
	i        int             // which picture
	result   *request.Result // whose times it adds to
	decoding *shares         // of the pictures that are drawn at once; nil: it is alone
}

// seed is the picture's own.
func (r rendering) seed() int64 { return r.d.Seed + int64(r.i) }

// picture makes the picture.
func (r rendering) picture(ctx context.Context) (request.Image, error) {
	latent, err := r.steps(ctx, r.d, r.c, 0)
	if err != nil {
		return request.Image{}, err
	}
	for n := range r.d.passes {
		if latent, err = r.pass(ctx, n, latent); err != nil {
			return request.Image{}, err
		}
	}
	pixels, err := r.decode(ctx, len(r.d.passes), latent)
	if err != nil {
		return request.Image{}, err
	}
	img, err := r.d.model.Output.image(pixels)
	if err != nil {
		return request.Image{}, err
	}
	if r.c.source != nil && img.Image != nil {
		img.Image = r.c.source.back.put(img.Image)
	}
	img.Params = r.d.params(r.seed(), len(r.d.passes))
	for n := range r.d.stages {
		if img.Image, err = r.stage(ctx, n, img); err != nil {
			return request.Image{}, err
		}
	}
	return img, nil
}

// steps samples a latent, and tells of each step and its preview.
func (r rendering) steps(ctx context.Context, d Drawing, c guided, pass int) (tensor.Tensor, error) {
	start := time.Now()
	defer func() { r.result.Sample += time.Since(start) }()
	return d.model.sample(ctx, d, c, r.seed(), func(s sampler.Step) error {
		img, err := d.model.preview(ctx, d, s)
		if err != nil {
			return err
		}
		return d.event(request.Event{Stage: request.StageSample, Picture: r.i, Pass: pass, Index: s.Index, Of: s.Of, Elapsed: time.Since(start), Preview: img})
	})
}

// decode decodes a latent with the autoencoder that the request asks for.
func (r rendering) decode(ctx context.Context, pass int, latent tensor.Tensor) (tensor.Tensor, error) {
	start := time.Now()
	defer r.decoding.begin(&r.result.Decode, time.Now)()
	return r.d.decoder().Decode(ctx, latent, func(index, of int) error {
		return r.d.event(request.Event{Stage: request.StageDecode, Picture: r.i, Pass: pass, Index: index, Of: of, Elapsed: time.Since(start)})
	})
}

// pass takes the latent through the n-th of a request's hires passes.
func (r rendering) pass(ctx context.Context, n int, latent tensor.Tensor) (tensor.Tensor, error) {
	d := r.d
	h := d.passes[n]
	var img *image.NRGBA // of the latent, where it is needed
	if h.filter.Latent == nil || d.KeepHiresInput {
		pixels, err := r.decode(ctx, n, latent)
		if err != nil {
			return latent, err
		}
		img = pixels.Image()
	}
	if d.KeepHiresInput {
		draft := request.Image{Image: imaging.Clone(img), Params: d.params(r.seed(), n)}
		if err := d.event(request.Event{Stage: request.StageDraft, Picture: r.i, Pass: n, Index: n + 1, Of: len(d.passes), Image: &draft}); err != nil {
			return latent, err
		}
	}
	start := time.Now()
	larger, err := h.enlarge(ctx, latent, img, r.seed(), func(index, of int) error {
		return d.event(request.Event{Stage: request.StageUpscale, Picture: r.i, Pass: n, Index: index, Of: of, Elapsed: time.Since(start)})
	})
	r.result.Encode += time.Since(start)
	if err != nil || h.Strength == 0 {
		return larger, err
	}
	pass := r.c.passes[n]
	pass.source = &Source{Latent: func(sampler.Noise) tensor.Tensor { return larger }}
	h.drawing.run, h.drawing.OnEvent, h.drawing.Seed = d.run, d.OnEvent, d.Seed
	return r.steps(ctx, h.drawing, pass, n+1)
}

// enlarge brings a latent to a pass's size; img is its picture, where the
// pass enlarges pixels.
func (h hiresPass) enlarge(ctx context.Context, latent tensor.Tensor, img *image.NRGBA, seed int64, onTile tensor.Progress) (tensor.Tensor, error) {
	factor := h.drawing.model.Autoencoder.Factor()
	width, height := h.drawing.Width/factor, h.drawing.Height/factor
	part := middleFor(image.Pt(latent.Width(), latent.Height()), image.Pt(width, height))
	cover := covering(part.Size(), image.Pt(width, height))
	if h.filter.Latent != nil {
		latent = latent.Crop(tensor.Span{Start: part.Min.Y, End: part.Max.Y}, tensor.Span{Start: part.Min.X, End: part.Max.X})
		return latent.Resample(*h.filter.Latent, cover.Y, cover.X).Center(height, width), nil
	}
	release, err := h.drawing.model.Host.TakePixels(cover.X*factor, cover.Y*factor, engine.TensorPixel+3*engine.PicturePixel)
	if err != nil {
		return tensor.Tensor{}, err
	}
	defer release()
	if whole := img.Rect.Size().Div(factor); part.Size() != whole {
		img = imaging.Crop(img, image.Rectangle{Min: part.Min.Mul(factor), Max: part.Max.Mul(factor)})
	}
	var large *image.NRGBA
	if h.network != nil {
		if large, err = h.network.Enlarge(ctx, img, cover.X*factor, cover.Y*factor, onTile); err != nil {
			return tensor.Tensor{}, err
		}
	} else {
		large = upscale.Resize(img, cover.X*factor, cover.Y*factor, *h.filter.Pixels)
	}
	pixels := tensor.FromImage(imaging.CropCenter(large, h.drawing.Width, h.drawing.Height))
	e, err := h.drawing.encoder().Encode(ctx, pixels)
	if err != nil {
		return tensor.Tensor{}, err
	}
	return e.Sample(newNoise(h.drawing.RNG, seed)), nil
}
