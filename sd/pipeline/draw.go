package pipeline

import (
	"context"
	"image"
	"math"
	"time"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/upscale"
)

// prepare encodes what a request's pictures are guided by and begin with.
func (p *Pipeline) prepare(ctx context.Context, d Drawing, result *request.Result) (guided, error) {
	var c guided
	if err := p.upload(ctx, d); err != nil {
		return c, err
	}
	d.memo = Memo{}
	if err := p.condition(ctx, d, result, &c); err != nil {
		return c, err
	}
	for _, h := range d.passes {
		var pass guided
		if h.Strength > 0 {
			h.drawing.memo, h.drawing.OnEvent = d.memo, d.OnEvent
			if err := p.condition(ctx, h.drawing, result, &pass); err != nil {
				return c, err
			}
		}
		c.passes = append(c.passes, pass)
	}
	if d.Image != nil {
		start := time.Now()
		var err error
		c.source, err = p.newSource(ctx, d)
		result.Encode += time.Since(start)
		return c, err
	}
	return c, nil
}

// condition makes the conditions of a drawing, without its hires passes.
func (p *Pipeline) condition(ctx context.Context, d Drawing, result *request.Result, c *guided) (err error) {
	own := Steps{0, math.MaxInt}
	if d.refiner != nil {
		own.Until = d.RefinerStep()
	}
	if c.phases, err = p.conditions(ctx, d, own, result); err != nil || d.refiner == nil {
		return err
	}
	if err := d.refiner.upload(ctx, d); err != nil {
		return err
	}
	c.refined, err = d.refiner.conditions(ctx, d, Steps{d.RefinerStep(), math.MaxInt}, result)
	return err
}

// conditions are those of one model.
func (p *Pipeline) conditions(ctx context.Context, d Drawing, steps Steps, result *request.Result) ([]Phase, error) {
	start := time.Now()
	defer func() { result.Text += time.Since(start) }()
	phases, err := p.Conditioner.Conditions(ctx, &d.Resolved, steps, p.needs(d), d.memo)
	if err != nil {
		return nil, err
	}
	return phases, d.event(request.Event{Stage: request.StageText, Index: 1, Of: 1, Elapsed: time.Since(start)})
}

// upload brings the weights that are to stay there to their GPUs, and tells of
// it. On the CPU there is nothing to bring.
func (p *Pipeline) upload(ctx context.Context, d Drawing) error {
	var networks []*engine.Network
	for _, n := range p.Host.Networks() {
		if !n.IsLazy() || d.Image != nil { // else it may never be needed
			networks = append(networks, n)
		}
	}
	start := time.Now()
	return engine.Upload(ctx, networks, func(done, total uint64) error {
		return d.event(request.Event{Stage: request.StageUpload, Index: int(done >> 20), Of: int(total >> 20), Elapsed: time.Since(start)})
	})
}

// picture makes picture i of a request.
func (p *Pipeline) picture(ctx context.Context, d Drawing, c guided, i int, result *request.Result) (request.Image, error) {
	seed := d.Seed + int64(i)
	latent, err := p.steps(ctx, d, c, i, 0, result)
	if err != nil {
		return request.Image{}, err
	}
	for n := range d.passes {
		if latent, err = p.pass(ctx, d, c, i, n, latent, result); err != nil {
			return request.Image{}, err
		}
	}
	pixels, err := p.decode(ctx, d, i, len(d.passes), latent, result)
	if err != nil {
		return request.Image{}, err
	}
	img, err := p.Output.image(pixels)
	if err != nil {
		return request.Image{}, err
	}
	if c.source != nil && img.Image != nil {
		img.Image = c.source.back.put(img.Image)
	}
	img.Params = p.params(d, seed, len(d.passes))
	return img, nil
}

// steps samples a latent, and tells of each step and its preview.
func (p *Pipeline) steps(ctx context.Context, d Drawing, c guided, i, pass int, result *request.Result) (tensor.Tensor, error) {
	start := time.Now()
	defer func() { result.Sample += time.Since(start) }()
	return p.sample(ctx, d, c, d.Seed+int64(i), func(s sampler.Step) error {
		img, err := p.preview(ctx, d, s)
		if err != nil {
			return err
		}
		return d.event(request.Event{Stage: request.StageSample, Picture: i, Pass: pass, Index: s.Index, Of: s.Of, Elapsed: time.Since(start), Preview: img})
	})
}

// decode decodes a latent with the autoencoder that the request asks for.
func (p *Pipeline) decode(ctx context.Context, d Drawing, i, pass int, latent tensor.Tensor, result *request.Result) (tensor.Tensor, error) {
	start := time.Now()
	defer func() { result.Decode += time.Since(start) }()
	return p.decoder(d).Decode(ctx, latent, func(index, of int) error {
		return d.event(request.Event{Stage: request.StageDecode, Picture: i, Pass: pass, Index: index, Of: of, Elapsed: time.Since(start)})
	})
}

// pass takes the latent of picture i through the n-th of a request's hires passes.
func (p *Pipeline) pass(ctx context.Context, d Drawing, c guided, i, n int, latent tensor.Tensor, result *request.Result) (tensor.Tensor, error) {
	h := d.passes[n]
	var img *image.NRGBA // of the latent, where it is needed
	if h.filter.Latent == nil || d.KeepHiresInput {
		pixels, err := p.decode(ctx, d, i, n, latent, result)
		if err != nil {
			return latent, err
		}
		img = pixels.Image()
	}
	seed := d.Seed + int64(i)
	if d.KeepHiresInput {
		draft := request.Image{Image: imaging.Clone(img), Params: p.params(d, seed, n)}
		if err := d.event(request.Event{Stage: request.StageDraft, Picture: i, Pass: n, Index: n + 1, Of: len(d.passes), Image: &draft}); err != nil {
			return latent, err
		}
	}
	start := time.Now()
	larger, err := p.enlarge(ctx, h, latent, img, seed, func(index, of int) error {
		return d.event(request.Event{Stage: request.StageUpscale, Picture: i, Pass: n, Index: index, Of: of, Elapsed: time.Since(start)})
	})
	result.Encode += time.Since(start)
	if err != nil || h.Strength == 0 {
		return larger, err
	}
	pass := c.passes[n]
	pass.source = &Source{Latent: func(sampler.Noise) tensor.Tensor { return larger }}
	h.drawing.run, h.drawing.OnEvent, h.drawing.Seed = d.run, d.OnEvent, d.Seed
	return p.steps(ctx, h.drawing, pass, i, n+1, result)
}

// enlarge brings a latent to a pass's size; img is its picture, where the
// pass enlarges pixels.
func (p *Pipeline) enlarge(ctx context.Context, h hiresPass, latent tensor.Tensor, img *image.NRGBA, seed int64, onTile tensor.Progress) (tensor.Tensor, error) {
	factor := p.Autoencoder.Factor()
	width, height := h.drawing.Width/factor, h.drawing.Height/factor
	part := middleFor(image.Pt(latent.Width(), latent.Height()), image.Pt(width, height))
	cover := covering(part.Size(), image.Pt(width, height))
	if h.filter.Latent != nil {
		latent = latent.Crop(tensor.Span{Start: part.Min.Y, End: part.Max.Y}, tensor.Span{Start: part.Min.X, End: part.Max.X})
		return latent.Resample(*h.filter.Latent, cover.Y, cover.X).Center(height, width), nil
	}
	release, err := p.Host.TakePixels(cover.X*factor, cover.Y*factor, engine.TensorPixel+3*engine.PicturePixel)
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
	e, err := p.encoder(h.drawing).Encode(ctx, pixels)
	if err != nil {
		return tensor.Tensor{}, err
	}
	return e.Sample(newNoise(h.drawing.RNG, seed)), nil
}
