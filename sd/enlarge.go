package sd

import (
	"context"
	"image"
	"time"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sampler"
)

// prepareStages encodes the prompts for each of a request's stages.
func (m *Model) prepareStages(ctx context.Context, q resolved, result *Result) (all []conditioning, err error) {
	for _, h := range q.stages {
		var c conditioning
		if h.strength > 0 {
			if c, err = m.conditioning(ctx, h.q, result); err != nil {
				return nil, err
			}
		}
		if h.strength > 0 && h.q.Refiner != nil {
			refined, err := h.q.Refiner.conditioning(ctx, h.q, result)
			if err != nil {
				return nil, err
			}
			c.refined = refined.phases
		}
		all = append(all, c)
	}
	return all, nil
}

// stages takes the latent of picture i through all of a request's stages.
func (m *Model) stages(ctx context.Context, q resolved, c conditioning, i int, latent plane, result *Result) (plane, error) {
	for pass, h := range q.stages {
		var img *image.NRGBA // of the latent, where it is needed
		if h.latent == nil || q.Drafts {
			start := time.Now()
			var err error
			img, err = m.develop(ctx, q, latent, func(index, of int) error {
				return q.event(Event{Stage: StageDecode, Picture: i, Pass: pass, Index: index, Of: of, Elapsed: time.Since(start)})
			})
			result.Decode += time.Since(start)
			if err != nil {
				return latent, err
			}
		}
		if q.Drafts {
			draft := Image{imaging.Clone(img), m.params(q.until(pass), q.Seed+int64(i))}
			if err := q.event(Event{Stage: StageDraft, Picture: i, Pass: pass, Index: pass + 1, Of: len(q.stages), Image: &draft}); err != nil {
				return latent, err
			}
		}
		start := time.Now()
		larger, err := m.enlarge(ctx, h, latent, img, q.Seed+int64(i), func(index, of int) error {
			return q.event(Event{Stage: StageUpscale, Picture: i, Pass: pass, Index: index, Of: of, Elapsed: time.Since(start)})
		})
		result.Encode += time.Since(start)
		if err != nil {
			return latent, err
		}
		if latent = larger; h.strength == 0 {
			continue
		}
		start = time.Now()
		stage := c.stages[pass]
		stage.source = &source{latent: larger}
		latent, err = m.sample(ctx, h.q, stage, q.Seed+int64(i), func(s sampler.Step) error {
			img, err := m.preview(ctx, h.q, s)
			if err != nil {
				return err
			}
			return q.event(Event{Stage: StageSample, Picture: i, Pass: pass + 1, Index: s.Index, Of: s.Of, Elapsed: time.Since(start), Preview: img})
		})
		result.Sample += time.Since(start)
		if err != nil {
			return latent, err
		}
	}
	return latent, nil
}

// until is the request for a picture with its first stages alone.
func (q resolved) until(stage int) resolved {
	q.stages = q.stages[:stage]
	return q
}

// enlarge brings a latent to a stage's size; img is its picture, where the
// stage wants pixels.
func (m *Model) enlarge(ctx context.Context, h hires, latent plane, img *image.NRGBA, seed int64, onTile func(index, of int) error) (plane, error) {
	factor := m.factor()
	width, height := h.q.Width/factor, h.q.Height/factor
	part := middleFor(image.Pt(latent.width, latent.height), image.Pt(width, height))
	cover := covering(part.Size(), image.Pt(width, height))
	if h.latent != nil {
		latent = latent.crop(span{part.Min.Y, part.Max.Y}, span{part.Min.X, part.Max.X})
		return latent.resample(*h.latent, cover.Y, cover.X).middle(height, width), nil
	}
	release, err := m.takePixels(cover.X*factor, cover.Y*factor, planePixel+3*picturePixel)
	if err != nil {
		return plane{}, err
	}
	defer release()
	if whole := img.Rect.Size().Div(factor); part.Size() != whole {
		img = imaging.Crop(img, image.Rectangle{Min: part.Min.Mul(factor), Max: part.Max.Mul(factor)})
	}
	var large *image.NRGBA
	if h.ESRGAN != nil {
		if large, err = h.ESRGAN.upscaleTo(ctx, img, cover.X*factor, cover.Y*factor, onTile); err != nil {
			return plane{}, err
		}
	} else {
		large = resize(img, cover.X*factor, cover.Y*factor, *h.pixels)
	}
	pixels := toPlane(imaging.CropCenter(large, h.q.Width, h.q.Height))
	return m.encodePicture(ctx, h.q, pixels, newNoise(h.q.RNG, seed))
}

// covering is the least size with the proportions of one, up to the rounding
// of a side, that covers another.
func covering(size, to image.Point) image.Point {
	if size.X*to.Y > to.X*size.Y {
		return image.Pt(max(to.X, size.X*to.Y/size.Y), to.Y)
	}
	return image.Pt(to.X, max(to.Y, size.Y*to.X/size.X))
}

// middle cuts out the middle of a plane.
func (p plane) middle(height, width int) plane {
	top, left := (p.height-height)/2, (p.width-width)/2
	return p.crop(span{top, top + height}, span{left, left + width})
}
