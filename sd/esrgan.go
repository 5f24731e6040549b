package sd

import (
	"context"
	"fmt"
	"image"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/sd/picture"
)

// ESRGAN makes pictures larger with a network of ESRGAN's family. Its methods
// may be called from any goroutine.
type ESRGAN struct {
	// Tile is the side, in pixels of the picture, of the tiles that it is
	// enlarged in; 0 means 192, or less where memory is short. A network sees further than the pixels that
	// neighbouring tiles share, which are blended; larger tiles differ less from
	// a picture that is enlarged whole.
	Tile int

	// OnTile, if not nil, is told after each tile; an error that it returns
	// ends the work, and so does a panic.
	OnTile func(index, of int) error

	model  *Model // its device, threads and file; no networks of its own
	net    *part
	config convert.ESRGANConfig
}

// Bounds of an upscaler's tiles, in pixels.
const (
	MinTile = 64
	MaxTile = 2048
)

// A tile shares tileOverlap pixels with its neighbour, and tileMargin of them,
// which see the padding, are dropped.
const (
	defaultTile = 192
	tileOverlap = 32
	tileMargin  = 8
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
		err = m.place(func() (err error) {
			u.net.close()
			u.net, err = m.newESRGAN(u.config)
			return err
		}, u.demands)
	}
	if err != nil {
		m.weights.Close()
		return nil, err
	}
	return u, nil
}

// demands are what the network takes for a tile.
func (u *ESRGAN) demands() ([]demand, error) {
	weights, err := u.net.bytes()
	if err != nil {
		return nil, err
	}
	fold := int64(u.config.Fold)
	in := cgo.Input{Name: "image", Shape: []int64{1, 3 * fold * fold, defaultTile / fold, defaultTile / fold}}
	graph, err := u.net.net.Estimate(context.Background(), []cgo.Input{in}, []cgo.Output{{Name: "image"}})
	return []demand{{u.net, weights, graph}}, err
}

func (m *Model) newESRGAN(c convert.ESRGANConfig) (*part, error) {
	one := func(v int) []float64 { return []float64{float64(v)} }
	p, err := m.newPart(partUpscale, "esrgan", "", cgo.Params{"in_channels": one(3 * c.Fold * c.Fold), "out_channels": one(3),
		"features": one(c.Features), "growth": one(c.Growth), "blocks": one(c.Blocks), "doublings": one(c.Doublings)})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.weights.Path, err)
	}
	return p, nil
}

// Scale is how many times wider and higher pictures become.
func (u *ESRGAN) Scale() int {
	if u.host() == nil {
		return 0
	}
	return u.config.Scale()
}

// host is nil of a zero value, which was never opened.
func (u *ESRGAN) host() *Model {
	if u == nil {
		return nil
	}
	return u.model
}

// Name is the upscaler's name: its file's, without folder and ending.
func (u *ESRGAN) Name() string {
	if u.host() == nil {
		return ""
	}
	return u.model.name
}

// Close frees the network and unmaps the file, after the calls in progress.
// Further calls return [ErrClosed]; to close again does nothing.
func (u *ESRGAN) Close() error {
	if u.host() == nil {
		return nil
	}
	return u.model.calls.close(func() error {
		u.net.close()
		return u.model.weights.Close()
	})
}

// Upscale makes a picture larger: its sides times Scale. Transparency is
// enlarged apart from the colours, by bicubic interpolation. Beside the two
// pictures, of 8 bits a channel, it takes the memory of a row of tiles.
func (u *ESRGAN) Upscale(ctx context.Context, img image.Image) (*image.NRGBA, error) {
	end, err := use(u.host())
	if err != nil {
		return nil, err
	}
	defer end()
	if ctx == nil {
		return nil, errNilContext
	}
	src, err := picture.NRGBA(img)
	if err != nil {
		return nil, err
	}
	return u.upscale(ctx, src, u.onTile())
}

// onTile is what is told after each tile.
func (u *ESRGAN) onTile() func(index, of int) error {
	if u.OnTile == nil {
		return func(int, int) error { return nil }
	}
	return func(index, of int) error { return guard.Call("OnTile", func() error { return u.OnTile(index, of) }) }
}

func (u *ESRGAN) upscale(ctx context.Context, src *image.NRGBA, done func(index, of int) error) (*image.NRGBA, error) {
	size, scale := src.Rect.Size(), u.Scale()
	if err := checkUpscaled(size, scale); err != nil {
		return nil, err
	}
	net, err := u.net.get(ctx)
	if err != nil {
		return nil, err
	}
	// The large picture and its file, the small one, and a band of tiles.
	release, err := u.model.takePixels(size.X*scale, size.Y*scale, 2*picturePixel+1)
	if err != nil {
		return nil, err
	}
	defer release()
	band, err := u.model.takePixels(size.X*scale, min(size.Y, defaultTile)*scale, planePixel+4)
	if err != nil {
		return nil, err
	}
	defer band()
	side, err := u.tile(ctx, net, size)
	if err != nil {
		return nil, err
	}
	// Tiles are counted in folded pixels, so that the same pixels are folded in
	// all of them.
	fold, factor := u.config.Fold, 1<<u.config.Doublings
	one := func(ys, xs span) (plane, error) {
		p := toPlane(imaging.Crop(src, image.Rect(xs.start*fold, ys.start*fold, xs.end*fold, ys.end*fold)))
		for i, v := range p.data { // to 0 … 1
			p.data[i] = v/2 + 0.5
		}
		folded := p.evenly(fold).fold(fold)
		out := newPlane(3, folded.height*factor, folded.width*factor)
		err := u.model.run(ctx, "the upscaler", u.net, []cgo.Input{{Name: "image", Shape: folded.shape(), F32: folded.data}},
			[]cgo.Output{{Name: "image", Data: out.data}})
		return out, err
	}
	large := image.NewNRGBA(image.Rect(0, 0, size.X*scale, size.Y*scale))
	t := tiling{side / fold, tileOverlap / fold, tileMargin / fold}
	err = t.bands((size.Y+fold-1)/fold, (size.X+fold-1)/fold, factor, one, done, func(top, rows int, band plane) error {
		for y := range min(rows, large.Rect.Dy()-top) {
			to := large.Pix[(top+y)*large.Stride:]
			for x := range large.Rect.Dx() {
				for c := range 3 {
					to[4*x+c] = toByte(2*band.data[(c*band.height+y)*band.width+x] - 1)
				}
				to[4*x+3] = 255
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	enlargeAlpha(large, src)
	return large, nil
}

// UpscaleTo makes a picture of a size, at most [MaxUpscaled] a side and a quarter
// of its square in all: it is enlarged until it covers the size, three times at
// most, and brought to it by Lanczos' filter.
func (u *ESRGAN) UpscaleTo(ctx context.Context, img image.Image, width, height int) (*image.NRGBA, error) {
	end, err := use(u.host())
	if err != nil {
		return nil, err
	}
	defer end()
	if ctx == nil {
		return nil, errNilContext
	}
	if err := checkUpscaled(image.Pt(width, height), 1); err != nil {
		return nil, err
	}
	src, err := picture.NRGBA(img)
	if err != nil {
		return nil, err
	}
	return u.upscaleTo(ctx, src, width, height, u.onTile())
}

// checkUpscaled checks the size of a picture that is to become scale times as
// wide and high.
func checkUpscaled(size image.Point, scale int) error {
	if size.X < 1 || size.Y < 1 {
		return fmt.Errorf("a picture of %dx%d pixels, at least one wanted", size.X, size.Y)
	}
	if size.X > MaxUpscaled/scale || size.Y > MaxUpscaled/scale || size.X*size.Y > MaxUpscaled*MaxUpscaled/4/(scale*scale) {
		return fmt.Errorf("a picture of %dx%d pixels, %d times as wide and high: at most %d a side and %d in all are possible",
			size.X, size.Y, scale, MaxUpscaled, MaxUpscaled*MaxUpscaled/4)
	}
	return nil
}

func (u *ESRGAN) upscaleTo(ctx context.Context, img *image.NRGBA, width, height int, done func(index, of int) error) (*image.NRGBA, error) {
	large := imaging.Clone(img)
	for range 3 {
		if u.Scale() == 1 || large.Rect.Dx() >= width && large.Rect.Dy() >= height {
			break
		}
		var err error
		if large, err = u.upscale(ctx, large, done); err != nil {
			return nil, err
		}
	}
	if large.Rect.Size() == image.Pt(width, height) {
		return large, nil
	}
	release, err := u.model.takePixels(width, max(height, large.Rect.Dy()), 2*picturePixel)
	if err != nil {
		return nil, err
	}
	defer release()
	return resize(large, width, height, imaging.Lanczos), nil
}

// tile is the side of the tiles for a picture: u.Tile, or of the usual sides
// the largest that memory allows.
func (u *ESRGAN) tile(ctx context.Context, net *cgo.Net, size image.Point) (int, error) {
	if u.Tile != 0 {
		if u.Tile < MinTile || u.Tile > MaxTile {
			return 0, fmt.Errorf("tiles of %d pixels, %d to %d wanted", u.Tile, MinTile, MaxTile)
		}
		return u.Tile, nil
	}
	available := u.model.roomOn(u.net.device)
	for side := defaultTile; side > MinTile; side -= 32 {
		n := u.config.Fold
		height, width := (min(side, size.Y)+n-1)/n, (min(side, size.X)+n-1)/n
		need, err := net.Estimate(ctx, []cgo.Input{{Name: "image", Shape: []int64{1, int64(3 * n * n), int64(height), int64(width)}}},
			[]cgo.Output{{Name: "image"}})
		if need <= available || err != nil {
			return side, err
		}
	}
	return MinTile, nil
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

// enlargeAlpha gives an enlarged picture the transparency of the small one, if
// that has any.
func enlargeAlpha(large, small *image.NRGBA) {
	alpha := image.NewGray(small.Rect)
	opaque := true
	for i := range alpha.Pix {
		alpha.Pix[i] = small.Pix[4*i+3]
		opaque = opaque && alpha.Pix[i] == 255
	}
	if opaque {
		return
	}
	for i, v := range imaging.Resize(alpha, large.Rect.Dx(), large.Rect.Dy(), imaging.CatmullRom).Pix {
		if i%4 == 0 {
			large.Pix[i+3] = v
		}
	}
}
