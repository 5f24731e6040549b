package sd

import (
	"context"
	"fmt"
	"image"
	"image/draw"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
)

// ESRGAN makes pictures larger with a network of ESRGAN's family. Its methods
// may be called from any goroutine.
type ESRGAN struct {
	// Tile is the side, in pixels of the picture, of the tiles that it is
	// enlarged in; 0 means 192. A network sees further than the pixels that
	// neighbouring tiles share, which are blended; larger tiles differ less from
	// a picture that is enlarged whole.
	Tile int

	// OnTile, if not nil, is told after each tile; an error that it returns
	// ends the work.
	OnTile func(index, of int) error

	model  *Model // its device, threads and file; no networks of its own
	net    *part
	config convert.ESRGANConfig
}

// Bounds of an upscaler's tiles, in pixels: a tile shares tileOverlap with
// its neighbour.
const (
	MinTile     = 64
	MaxTile     = 2048
	defaultTile = 192
	tileOverlap = 32
)

// OpenESRGAN opens an upscaler: RRDBNet of ESRGAN, Real-ESRGAN or BSRGAN, as
// .pth, .safetensors or .gguf file.
func OpenESRGAN(path string, o Options) (*ESRGAN, error) {
	m, err := openHost(nameOf(path), o, func() (*convert.Model, error) { return convert.Load(path) })
	if err != nil {
		return nil, err
	}
	u := &ESRGAN{model: m}
	if u.config, err = m.weights.ESRGAN(); err == nil {
		u.net, err = m.newESRGAN(u.config)
	}
	if err != nil {
		m.weights.Close()
		return nil, err
	}
	return u, nil
}

func (m *Model) newESRGAN(c convert.ESRGANConfig) (*part, error) {
	one := func(v int) []float64 { return []float64{float64(v)} }
	p, err := m.newPart("esrgan", "", cgo.Params{"in_channels": one(3 * c.Fold * c.Fold), "out_channels": one(3),
		"features": one(c.Features), "growth": one(c.Growth), "blocks": one(c.Blocks), "doublings": one(c.Doublings)})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.weights.Path, err)
	}
	return p, nil
}

// Scale is how many times wider and higher pictures become.
func (u *ESRGAN) Scale() int { return u.config.Scale() }

// Name is the upscaler's name: its file's, without folder and ending.
func (u *ESRGAN) Name() string { return u.model.name }

// Close frees the network and unmaps the file. No method may run or be called
// afterwards.
func (u *ESRGAN) Close() error {
	u.net.close()
	return u.model.weights.Close()
}

// Upscale makes a picture larger: its sides times Scale. Transparency is
// enlarged apart from the colours, without the network.
func (u *ESRGAN) Upscale(ctx context.Context, img image.Image) (image.Image, error) {
	size, scale := img.Bounds().Size(), u.Scale()
	if size.X < 1 || size.Y < 1 || size.X > MaxUpscaled/scale || size.Y > MaxUpscaled/scale ||
		size.X*size.Y > MaxUpscaled*MaxUpscaled/4/(scale*scale) {
		return nil, fmt.Errorf("a picture of %dx%d pixels, %d times as wide and high: at most %d a side and %d in all are possible",
			size.X, size.Y, scale, MaxUpscaled, MaxUpscaled*MaxUpscaled/4)
	}
	tile := u.Tile
	if tile == 0 {
		tile = defaultTile
	}
	if tile < MinTile || tile > MaxTile {
		return nil, fmt.Errorf("tiles of %d pixels, %d to %d wanted", tile, MinTile, MaxTile)
	}
	net, err := u.net.get()
	if err != nil {
		return nil, err
	}
	src := image.NewNRGBA(image.Rect(0, 0, size.X, size.Y))
	draw.Draw(src, src.Rect, img, img.Bounds().Min, draw.Src)
	pixels := toPlane(src)
	for i, v := range pixels.data { // to 0 … 1
		pixels.data[i] = v/2 + 0.5
	}
	one := func(ctx context.Context, p plane) (plane, error) {
		folded := p.evenly(u.config.Fold).fold(u.config.Fold)
		out := newPlane(3, folded.height<<u.config.Doublings, folded.width<<u.config.Doublings)
		err := net.Run(ctx, []cgo.Input{{Name: "image", Shape: folded.shape(), F32: folded.data}},
			[]cgo.Output{{Name: "image", Data: out.data}})
		if err == nil && !finite(out.data) {
			err = u.model.notFinite("the upscaler", u.net)
		}
		return out.crop(span{0, p.height * scale}, span{0, p.width * scale}), err
	}
	done := u.OnTile
	if done == nil {
		done = func(int, int) error { return nil }
	}
	out, err := tiling{tile, tileOverlap}.decodeTiled(ctx, pixels, scale, one, done)
	if err != nil {
		return nil, err
	}
	for i, v := range out.data {
		out.data[i] = 2*v - 1
	}
	large := toImage(out)
	enlargeAlpha(large, src, scale)
	return large, nil
}

// MaxUpscaled bounds the sides of an upscaled picture, in pixels.
const MaxUpscaled = 32768

// evenly repeats the last row and column until the sides are multiples of n.
func (p plane) evenly(n int) plane {
	height, width := (p.height+n-1)/n*n, (p.width+n-1)/n*n
	if height == p.height && width == p.width {
		return p
	}
	out := newPlane(p.channels, height, width)
	for c := range p.channels {
		for y := range height {
			for x := range width {
				out.data[(c*height+y)*width+x] = p.data[(c*p.height+min(y, p.height-1))*p.width+min(x, p.width-1)]
			}
		}
	}
	return out
}

// fold puts squares of n·n pixels into channels, as PyTorch's pixel_unshuffle.
func (p plane) fold(n int) plane {
	if n == 1 {
		return p
	}
	out := newPlane(p.channels*n*n, p.height/n, p.width/n)
	for c := range out.channels {
		dy, dx := c%(n*n)/n, c%n
		for y := range out.height {
			for x := range out.width {
				out.data[(c*out.height+y)*out.width+x] = p.data[(c/(n*n)*p.height+y*n+dy)*p.width+x*n+dx]
			}
		}
	}
	return out
}

// enlargeAlpha gives an enlarged picture the transparency of the small one.
func enlargeAlpha(large, small *image.NRGBA, scale int) {
	for y := range large.Rect.Dy() {
		for x := range large.Rect.Dx() {
			large.Pix[y*large.Stride+4*x+3] = small.Pix[y/scale*small.Stride+x/scale*4+3]
		}
	}
}
