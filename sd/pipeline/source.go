package pipeline

import (
	"context"
	"image"
	"math"
	"slices"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/upscale"
)

// Source is the picture that a request begins with, as the networks see it.
type Source struct {
	Pixels tensor.Tensor // [3, Height, Width], -1 to 1

	// Latent draws the picture's latent, in the denoiser's scale; nil where the
	// picture is a condition alone.
	Latent Draw

	// Mask is 1 where a pixel is to be painted anew and 0 where it stays, one
	// value a pixel; nil is 1 everywhere. Cells is the same for the latent.
	Mask, Cells []float32

	// Encode encodes further pixels.
	Encode func(ctx context.Context, pixels tensor.Tensor) (autoencoder.Encoding, error)

	concat Draw // draws the channels beside the latent; nil with most models
	fill   request.MaskFill
	back   putBack
}

// Draw makes a tensor with the noise of one picture's seed.
type Draw func(noise sampler.Noise) tensor.Tensor

// start is a source for one picture: what it begins with.
type start struct {
	latent []float32     // nil where noise is the beginning
	cells  []float32     // the latent mask; nil where all is painted
	concat tensor.Tensor // channels beside the latent; empty with most models
	low    tensor.Tensor // what is seen of a picture to enlarge; empty with most models
}

// start draws what the picture of a seed begins with; s may be nil.
func (s *Source) start(rng request.RNG, seed int64) (out start) {
	if s == nil {
		return out
	}
	noise := newNoise(rng, seed)
	out.cells = s.Cells
	if s.Latent != nil {
		out.latent = s.filled(s.Latent(noise).Data, newNoise(rng, seed))
	}
	if s.concat != nil {
		out.concat = s.concat(noise)
	}
	return out
}

// filled is a latent whose masked cells are replaced as the request asks: by noise, which
// is that of the seed, or by nothing.
func (s *Source) filled(latent []float32, noise sampler.Noise) []float32 {
	if s.fill != request.MaskNoise && s.fill != request.MaskNothing || s.Cells == nil {
		return latent
	}
	fresh := make([]float32, len(latent))
	if s.fill == request.MaskNoise {
		noise.Normal(fresh)
	}
	out := slices.Clone(latent)
	for i := range out {
		if s.Cells[i%len(s.Cells)] != 0 {
			out[i] = fresh[i]
		}
	}
	return out
}

// newSource fits a request's picture to its size and encodes it.
func (p *Pipeline) newSource(ctx context.Context, d Drawing) (*Source, error) {
	release, err := p.Host.TakePixels(d.Width, d.Height, engine.TensorPixel+4*engine.PicturePixel)
	if err != nil {
		return nil, err
	}
	defer release()
	s := &Source{}
	fitted := opaque(fitImage(d, d.Image))
	if d.Mask != nil {
		mask, err := picture.Mask(fitImage(d, imaging.Clone(d.Mask)))
		if err != nil {
			return nil, err
		}
		s.Mask = coverage(mask)
		s.Cells = cells(s.Mask, d.Width, p.Autoencoder.Factor())
		if !slices.Contains(s.Cells, 1) {
			return nil, request.Problemf("Mask", "nothing white is left of it at %dx%d; OnlyMasked looks closer", d.Width, d.Height)
		}
		s.back = newPutBack(d, fitted, mask)
		if s.fill = d.MaskFill; s.fill != "" && s.fill != request.MaskOriginal {
			fitted = picture.Fill(fitted, mask)
		}
	}
	s.Pixels = tensor.FromImage(fitted)
	s.Encode = d.encoder().Encode
	if !p.EditsImages {
		e, err := s.Encode(ctx, s.Pixels)
		if err != nil {
			return nil, err
		}
		s.Latent = e.Sample
	}
	if p.Concat != nil {
		s.concat, err = p.Concat(ctx, s)
	}
	s.Pixels = tensor.Tensor{}
	return s, err
}

// coverage is how far each pixel of a mask is white, 0 to 1.
func coverage(mask *image.Gray) []float32 {
	out := make([]float32, len(mask.Pix))
	for i, v := range mask.Pix {
		out[i] = float32(v) / 255
	}
	return out
}

// cells reduces a mask to the latent's size: a cell is painted anew if any of
// its pixels is more than half to be.
func cells(mask []float32, width, factor int) []float32 {
	columns := width / factor
	out := make([]float32, len(mask)/(factor*factor))
	for i, v := range mask {
		if v > 0.5 {
			out[i/width/factor*columns+i%width/factor] = 1
		}
	}
	return out
}

// fitImage brings the picture that a request begins with, or its mask, to the
// size that is painted.
func fitImage(d Drawing, img *image.NRGBA) *image.NRGBA {
	if !d.OnlyMasked {
		return fit(img, d.Width, d.Height)
	}
	part := imaging.Crop(img, d.MaskRegion)
	if part.Rect.Size() == image.Pt(d.Width, d.Height) {
		return part
	}
	return upscale.Resize(part, d.Width, d.Height, imaging.Lanczos)
}

// putBack composites what was painted onto the original picture and leaves unmasked
// pixels untouched. Its zero value leaves everything as it was painted.
type putBack struct {
	whole  *image.NRGBA    // nil without a mask
	region image.Rectangle // of it that was painted
	weight *image.Gray     // how far each pixel of it is painted; 0 is not at all
}

// newPutBack prepares it: fitted and mask have the size that is painted.
func newPutBack(d Drawing, fitted *image.NRGBA, mask *image.Gray) putBack {
	if !d.OnlyMasked {
		return putBack{fitted, fitted.Rect, picture.Feather(mask, d.MaskFeather)}
	}
	return putBack{opaque(imaging.Clone(d.Image)), d.MaskRegion, picture.Feather(d.Mask, d.MaskFeather)}
}

// put returns the whole picture with what was painted on it.
func (b putBack) put(painted *image.NRGBA) *image.NRGBA {
	if b.whole == nil {
		return painted
	}
	if size := b.region.Size(); painted.Rect.Size() != size {
		painted = upscale.Resize(painted, size.X, size.Y, imaging.Lanczos)
	}
	out := imaging.Clone(b.whole)
	for y := range b.region.Dy() {
		for x := range b.region.Dx() {
			at := b.region.Min.Add(image.Pt(x, y))
			v := float32(b.weight.Pix[at.Y*b.weight.Stride+at.X]) / 255
			if v == 0 {
				continue
			}
			from, to := painted.Pix[4*(y*painted.Rect.Dx()+x):], out.Pix[out.PixOffset(at.X, at.Y):]
			for c := range 3 {
				old := float32(to[c])
				to[c] = uint8(math.RoundToEven(float64(old + v*(float32(from[c])-old))))
			}
		}
	}
	return out
}

// newNoise is the stream of a seed's noise.
func newNoise(rng request.RNG, seed int64) sampler.Noise {
	if rng == request.PhiloxRNG {
		return sampler.NewPhilox(uint64(seed))
	}
	return sampler.NewTorch(uint64(seed))
}

// noise is the stream of a picture's noise, for latents of x's shape.
func (d Drawing) noise(seed int64, x tensor.Tensor) sampler.Noise {
	own := newNoise(d.RNG, seed)
	if d.Interpolate == nil || d.Interpolate.Seed == nil {
		return own
	}
	arcs := 1
	if d.model.Low != nil && d.model.LowFirst {
		arcs = 2
	}
	return &arcNoise{own, newNoise(d.RNG, *d.Interpolate.Seed+seed-d.Seed), d.Interpolate.At, x, arcs}
}

// arcNoise is a stream whose first noise, a whole latent, is on the arc to
// another stream's, and before it that of a picture to enlarge, if that comes first.
type arcNoise struct {
	sampler.Noise
	other sampler.Noise
	at    float64
	shape tensor.Tensor
	arcs  int // left
}

func (n *arcNoise) Normal(dst []float32) {
	n.Noise.Normal(dst)
	if n.arcs == 0 {
		return
	}
	n.arcs--
	other := make([]float32, len(dst))
	n.other.Normal(other)
	sampler.SlerpColumns(dst, dst, other, n.at, n.shape.Height(), n.shape.Width())
}

// scaledBy is k·x.
func scaledBy(x []float32, k float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(k * float64(v))
	}
	return out
}

// preview is a small picture of a denoised latent, or of the noisy one, or a large one with a tiny
// autoencoder; nil where none is asked for.
func (p *Pipeline) preview(ctx context.Context, d Drawing, s sampler.Step) (*image.NRGBA, error) {
	if d.PreviewEvery == 0 || s.Index%d.PreviewEvery != 0 || s.Denoised == nil || !tensor.Finite(s.Denoised) {
		return nil, nil
	}
	shown := s.Denoised
	if d.PreviewNoisy {
		shown = scaledBy(s.X, p.Denoiser.Process().Scale(s.SigmaNext))
	}
	latent := tensor.Of(shown, p.Denoiser.Latent(d.Width, d.Height)...)
	if d.taesd != nil {
		pixels, err := d.taesd.Decode(ctx, latent, tensor.NoProgress)
		if err != nil {
			return nil, err
		}
		return pixels.Image(), nil
	}
	rgb, err := p.rgb.Get(ctx, func() (autoencoder.LatentRGB, error) {
		if p.LatentRGB != nil {
			return *p.LatentRGB, nil
		}
		return autoencoder.FitLatentRGB(ctx, p.Autoencoder, latent.Channels())
	})
	if err != nil {
		return nil, err
	}
	return rgb.Apply(latent).Image(), nil
}
