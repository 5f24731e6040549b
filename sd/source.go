package sd

import (
	"context"
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/picture"
)

// source is the picture that a request begins with, as the networks see it.
type source struct {
	picture *image.NRGBA // Width x Height, opaque
	latent  plane        // its latent, in the UNet's scale; empty with a model for editing

	// mask is 1 where a pixel is to be painted anew and 0 where it stays, one
	// value a pixel; nil is 1 everywhere. cells is the same for the latent.
	mask, cells []float32
	back        putBack

	// beside are the channels that the UNets of models for inpainting and
	// editing see beside the latent: [channels, h, w]; nil with other models.
	beside []float32
}

// newSource fits a request's picture to its size and encodes it.
func (m *Model) newSource(ctx context.Context, q resolved) (*source, error) {
	release, err := m.takePixels(q.Width, q.Height, planePixel+4*picturePixel)
	if err != nil {
		return nil, err
	}
	defer release()
	img, err := picture.NRGBA(q.Image)
	if err != nil {
		return nil, err
	}
	s := &source{picture: opaque(q.fitImage(img))}
	if q.Mask != nil {
		mask, err := picture.Mask(q.fitImage(imaging.Clone(q.mask)))
		if err != nil {
			return nil, err
		}
		s.mask = coverage(mask)
		s.cells = cells(s.mask, q.Width, m.factor())
		if !slices.Contains(s.cells, 1) {
			return nil, &RequestError{[]Problem{{"Mask", fmt.Sprintf("nothing white is left of it at %dx%d; painting only what is masked looks closer", q.Width, q.Height)}}}
		}
		s.back = q.newPutBack(s.picture, img, mask)
	}
	noise := newNoise(q.RNG, q.Seed)
	pixels := toPlane(s.picture)
	if m.weights.Variant == "edit" {
		s.beside, err = m.besideEditing(ctx, pixels)
		return s, err
	}
	if s.latent, err = m.encodePicture(ctx, q, pixels, noise); err == nil && m.weights.Variant == "inpaint" {
		s.beside, err = m.besideInpainting(ctx, q, s, pixels, noise)
	}
	return s, err
}

// besideInpainting are the channels that a model for inpainting wants beside
// the latent: the mask, and the latent of the picture with grey where the mask
// is white.
func (m *Model) besideInpainting(ctx context.Context, q resolved, s *source, pixels plane, noise sampler.Noise) ([]float32, error) {
	masked := newPlane(pixels.channels, pixels.height, pixels.width)
	n := len(s.mask)
	for i, v := range pixels.data {
		if s.mask[i%n] <= 0.5 {
			masked.data[i] = v
		}
	}
	latent, err := m.encodePicture(ctx, q, masked, noise)
	return append(append([]float32(nil), s.cells...), latent.data...), err
}

// besideEditing are the channels that instruct-pix2pix wants beside the
// latent: the means of the picture's encoding, without the UNet's scale.
func (m *Model) besideEditing(ctx context.Context, pixels plane) ([]float32, error) {
	moments, err := m.moments(ctx, pixels)
	if err != nil {
		return nil, err
	}
	return moments.data[:len(moments.data)/2], nil
}

// fit scales a picture until it covers a size, and crops it around its middle.
func fit(img *image.NRGBA, width, height int) *image.NRGBA {
	to := image.Pt(width, height)
	if img.Rect.Size() == to {
		return imaging.Clone(img)
	}
	if part := middleFor(img.Rect.Size(), to); part != img.Rect {
		img = imaging.Crop(img, part)
	}
	return imaging.Fill(img, width, height, imaging.Center, imaging.Lanczos)
}

// middleFor is the part of a picture that is scaled to cover a size: the whole,
// unless most of what it became would be cropped away again. Then it is the
// middle, in the proportions of the size, as near as whole pixels come.
func middleFor(size, to image.Point) image.Rectangle {
	whole := image.Rectangle{Max: size}
	cover := covering(size, to)
	if cover.X/to.X*(cover.Y/to.Y) < 4 {
		return whole
	}
	part := image.Pt(size.X, (size.X*to.Y+to.X-1)/to.X)
	if part.Y > size.Y {
		part = image.Pt((size.Y*to.X+to.Y-1)/to.Y, size.Y)
	}
	return image.Rectangle{Max: part}.Add(size.Sub(part).Div(2))
}

// resize brings a picture to a size, along the side first after which it is
// smaller, where the other way would take much more memory.
func resize(img *image.NRGBA, width, height int, filter imaging.ResampleFilter) *image.NRGBA {
	if size := img.Rect.Size(); width*size.Y > 4*max(size.X*size.Y, width*height) {
		img = imaging.Resize(img, size.X, height, filter)
	}
	return imaging.Resize(img, width, height, filter)
}

// opaque puts what is transparent on white.
func opaque(img *image.NRGBA) *image.NRGBA {
	for i := 0; i < len(img.Pix); i += 4 {
		alpha := uint32(img.Pix[i+3])
		for c := range 3 {
			v := &img.Pix[i+c]
			*v = uint8((uint32(*v)*alpha + 255*(255-alpha) + 127) / 255)
		}
		img.Pix[i+3] = 255
	}
	return img
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

// toPlane maps 0 … 255 to [-1, 1].
func toPlane(img *image.NRGBA) plane {
	p := newPlane(3, img.Rect.Dy(), img.Rect.Dx())
	n := p.width * p.height
	for i := range n {
		for c := range 3 {
			p.data[c*n+i] = float32(img.Pix[4*i+c])/127.5 - 1
		}
	}
	return p
}

// factor is the number of pixels along a latent pixel's side.
func (m *Model) factor() int { return 1 << (len(m.weights.VAE.ChannelMult) - 1) }

// encodePicture turns pixels [3, H, W] in [-1, 1] into a latent in the UNet's
// scale: a draw from the normal distribution that the encoder gives, as
// AUTOMATIC1111, diffusers and stable-diffusion.cpp take it. Where the model has
// no encoder the request's tiny autoencoder does it.
func (m *Model) encodePicture(ctx context.Context, q resolved, pixels plane, noise sampler.Noise) (plane, error) {
	if m.encoder == nil {
		return q.TAESD.encode(ctx, pixels)
	}
	moments, err := m.moments(ctx, pixels)
	if err != nil {
		return plane{}, err
	}
	z := newPlane(moments.channels/2, moments.height, moments.width)
	noise.Normal(z.data)
	for i, eps := range z.data {
		mean, logVariance := moments.data[i], float64(moments.data[len(z.data)+i])
		deviation := math.Exp(0.5 * min(max(logVariance, -30), 20))
		z.data[i] = (mean + float32(deviation)*eps) * m.weights.VAE.ScaleFactor
	}
	return z, nil
}

// moments runs the encoder: means, then logarithms of variances, all of them
// finite.
func (m *Model) moments(ctx context.Context, pixels plane) (plane, error) {
	return m.encodePlane(ctx, m.encoder, "the autoencoder's encoder", "moments", pixels, 2*m.weights.VAE.EmbedDim, m.factor())
}

// encodePlane runs an encoder, whose output has so many channels and a pixel
// for factor of the picture's along a side, in tiles where memory wants it.
func (m *Model) encodePlane(ctx context.Context, p *part, name, output string, pixels plane, channels, factor int) (plane, error) {
	net, err := p.get(ctx)
	if err != nil {
		return plane{}, err
	}
	defer p.idle()
	release, err := m.takePixels(pixels.width, pixels.height, planePixel) // cut out
	if err != nil {
		return plane{}, err
	}
	defer release()
	one := func(ys, xs span) (plane, error) {
		part := pixels.crop(span{ys.start * factor, ys.end * factor}, span{xs.start * factor, xs.end * factor})
		out := newPlane(channels, ys.end-ys.start, xs.end-xs.start)
		err := m.run(ctx, name, p, []cgo.Input{{Name: "image", Shape: part.shape(), F32: part.data}},
			[]cgo.Output{{Name: output, Data: out.data}})
		return out, err
	}
	height, width := pixels.height/factor, pixels.width/factor
	t, err := m.chooseTiling(height, width, func(height, width int) (uint64, error) {
		in := []cgo.Input{{Name: "image", Shape: []int64{1, 3, int64(height * factor), int64(width * factor)}}}
		return net.Estimate(ctx, in, []cgo.Output{{Name: output}})
	})
	if err != nil {
		return plane{}, err
	}
	if t == nil {
		return one(span{0, height}, span{0, width})
	}
	return t.cover(height, width, 1, one, func(int, int) error { return nil })
}
