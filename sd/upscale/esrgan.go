package upscale

import (
	"context"
	"fmt"
	"image"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/tensor"
)

// ESRGAN upscales pictures with a network of ESRGAN's family. Its methods may be called
// from any goroutine.
type ESRGAN struct {
	// Tile is the side of tiles in pixels of the input, MinTile to MaxTile; 0 means
	// 192, or less if memory is short. Tiles overlap and are blended. A network sees
	// further than the overlap, so larger tiles differ less from upscaling the whole
	// picture at once.
	Tile int

	// OnTile, if not nil, is called after each tile. If it returns an error or
	// panics, the call stops with that error.
	OnTile func(index, of int) error

	host   *engine.Host
	net    *engine.Network
	config network
}

// network is what one of the upscalers' architectures is.
type network struct {
	arch   string
	params map[string][]float64

	// The network enlarges pictures whose squares of fold x fold pixels became channels
	// by factor: pictures become factor/fold times as wide and high.
	fold, factor int
}

// networkOf reads what an upscaler's file is.
func networkOf(m *convert.Model) (network, error) {
	if c, ok := m.Config.(*convert.SRVGGConfig); ok {
		return network{"srvgg", c.Params(), 1, c.Factor}, nil
	}
	c, err := convert.ConfigAs[*convert.ESRGANConfig](m, "an ESRGAN upscaler")
	if err != nil {
		return network{}, err
	}
	return network{"esrgan", c.Params(), c.Fold, 1 << c.Doublings}, nil
}

// Limits of an upscaler's tiles, in pixels.
const (
	MinTile = 64
	MaxTile = 2048
)

// A tile overlaps its neighbour by tileOverlap pixels. The outer tileMargin of them
// are dropped, because they see the padding.
const (
	defaultTile = 192
	tileOverlap = 32
	tileMargin  = 8
)

// OpenESRGAN opens an upscaler: an RRDBNet of ESRGAN, Real-ESRGAN or BSRGAN, or a compact
// network of Real-ESRGAN (SRVGGNetCompact), as .pth, .safetensors or .gguf file.
func OpenESRGAN(path string, o engine.Options) (*ESRGAN, error) {
	h, err := engine.Open(engine.NameOf(path), o, func() (*convert.Model, error) { return convert.Open(path) })
	if err != nil {
		return nil, err
	}
	u := &ESRGAN{host: h}
	if u.config, err = networkOf(h.Weights); err == nil {
		err = h.Place(u.setUp, u.demands)
	}
	if err != nil {
		h.Abandon()
		return nil, err
	}
	return u, nil
}

func (u *ESRGAN) setUp() (err error) {
	u.net, err = u.host.NewNetwork(engine.Spec{Role: engine.RoleUpscale, Title: "the upscaler", Arch: u.config.arch, Params: u.config.params})
	if err != nil {
		return fmt.Errorf("%s: %w", u.host.Weights.Path, err)
	}
	return nil
}

// demands are the network's memory for a tile.
func (u *ESRGAN) demands() ([]engine.Demand, error) {
	fold := u.config.fold
	d, ok, err := engine.DemandOf(u.net, "image", cgo.Input{Name: "image",
		Shape: tensor.Batch(1, []int{3 * fold * fold, defaultTile / fold, defaultTile / fold})})
	if !ok {
		return nil, err
	}
	return []engine.Demand{d}, nil
}

// Scale is the network's factor for both sides; 0 for a zero value, which was never
// opened.
func (u *ESRGAN) Scale() int {
	if u.Host() == nil {
		return 0
	}
	return u.config.factor / u.config.fold
}

// Host is the network's host; nil for a zero value.
func (u *ESRGAN) Host() *engine.Host {
	if u == nil {
		return nil
	}
	return u.host
}

// Network is the upscaler's network.
func (u *ESRGAN) Network() *engine.Network { return u.net }

// Name is the upscaler's name: its file's name without folder and extension.
func (u *ESRGAN) Name() string {
	if u.Host() == nil {
		return ""
	}
	return u.host.Name
}

// Close waits for the calls in progress, frees the network and unmaps the file. Later
// calls return [engine.ErrClosed]; closing again does nothing.
func (u *ESRGAN) Close() error {
	if u.Host() == nil {
		return nil
	}
	return u.host.Close()
}

// Upscale multiplies a picture's sides by Scale. Transparency is upscaled separately,
// by bicubic interpolation. It needs memory for both pictures, with 8 bits a channel,
// and for a row of tiles.
func (u *ESRGAN) Upscale(ctx context.Context, img image.Image) (*image.NRGBA, error) {
	release, err := engine.Use(u.Host())
	if err != nil {
		return nil, err
	}
	defer release()
	if ctx == nil {
		return nil, engine.ErrNilContext
	}
	src, err := picture.NRGBA(img)
	if err != nil {
		return nil, err
	}
	return u.upscale(ctx, src, u.onTile())
}

// onTile is OnTile with protection against panics.
func (u *ESRGAN) onTile() tensor.Progress {
	if u.OnTile == nil {
		return tensor.NoProgress
	}
	return func(index, of int) error { return guard.Call("OnTile", func() error { return u.OnTile(index, of) }) }
}

func (u *ESRGAN) upscale(ctx context.Context, src *image.NRGBA, done tensor.Progress) (*image.NRGBA, error) {
	size, scale := src.Rect.Size(), u.Scale()
	if err := checkSize(size, scale); err != nil {
		return nil, err
	}
	// The large picture and its file, the small picture, and a row of tiles.
	release, err := u.host.TakePixels(size.X*scale, size.Y*scale, 2*engine.PicturePixel+1)
	if err != nil {
		return nil, err
	}
	defer release()
	band, err := u.host.TakePixels(size.X*scale, min(size.Y, defaultTile)*scale, engine.TensorPixel+4)
	if err != nil {
		return nil, err
	}
	defer band()
	side, err := u.tile(ctx, size)
	if err != nil {
		return nil, err
	}
	// Tiles are aligned to groups of fold x fold pixels (pixel unshuffle), so that
	// all tiles group the same pixels.
	fold, factor := u.config.fold, u.config.factor
	one := func(ys, xs tensor.Span) (tensor.Tensor, error) {
		x := tensor.FromImage(imaging.Crop(src, image.Rect(xs.Start*fold, ys.Start*fold, xs.End*fold, ys.End*fold)))
		for i, v := range x.Data { // to 0 … 1
			x.Data[i] = v/2 + 0.5
		}
		x = x.PadEdge(fold).PixelUnshuffle(fold)
		out := tensor.New(3, x.Height()*factor, x.Width()*factor)
		err := u.net.RunFinite(ctx, []cgo.Input{{Name: "image", Shape: x.Batch(1), F32: x.Data}},
			[]cgo.Output{{Name: "image", Data: out.Data}})
		return out, err
	}
	large := image.NewNRGBA(image.Rect(0, 0, size.X*scale, size.Y*scale))
	t := tensor.Tiling{Size: side / fold, Overlap: tileOverlap / fold, Margin: tileMargin / fold}
	err = t.Bands((size.Y+fold-1)/fold, (size.X+fold-1)/fold, factor, one, done, func(top, rows int, band tensor.Tensor) error {
		height, width := band.Height(), band.Width()
		for y := range min(rows, large.Rect.Dy()-top) {
			to := large.Pix[(top+y)*large.Stride:]
			for x := range large.Rect.Dx() {
				for c := range 3 {
					to[4*x+c] = tensor.Byte(2*band.Data[(c*height+y)*width+x] - 1)
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

// UpscaleTo upscales a picture to a size, at most [MaxUpscaled] a side and a quarter of
// its square in all. The network runs until the picture covers the size, at most three
// times; then a Lanczos filter resizes it.
func (u *ESRGAN) UpscaleTo(ctx context.Context, img image.Image, width, height int) (*image.NRGBA, error) {
	release, err := engine.Use(u.Host())
	if err != nil {
		return nil, err
	}
	defer release()
	if ctx == nil {
		return nil, engine.ErrNilContext
	}
	if err := checkSize(image.Pt(width, height), 1); err != nil {
		return nil, err
	}
	src, err := picture.NRGBA(img)
	if err != nil {
		return nil, err
	}
	return u.Enlarge(ctx, src, width, height, u.onTile())
}

// checkSize checks the size of a picture whose sides will be multiplied by scale.
func checkSize(size image.Point, scale int) error {
	if size.X < 1 || size.Y < 1 {
		return fmt.Errorf("a picture must have at least one pixel, got %dx%d", size.X, size.Y)
	}
	if size.X > MaxUpscaled/scale || size.Y > MaxUpscaled/scale || size.X*size.Y > MaxUpscaled*MaxUpscaled/4/(scale*scale) {
		return fmt.Errorf("a picture of %dx%d pixels, %d times as wide and high: at most %d a side and %d in all are possible",
			size.X, size.Y, scale, MaxUpscaled, MaxUpscaled*MaxUpscaled/4)
	}
	return nil
}

// Enlarge is [ESRGAN.UpscaleTo] for a caller that has acquired the host and checked the
// size; done is called after each tile.
func (u *ESRGAN) Enlarge(ctx context.Context, img *image.NRGBA, width, height int, done tensor.Progress) (*image.NRGBA, error) {
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
	release, err := u.host.TakePixels(width, max(height, large.Rect.Dy()), 2*engine.PicturePixel)
	if err != nil {
		return nil, err
	}
	defer release()
	return Resize(large, width, height, imaging.Lanczos), nil
}

// tile is the side of the tiles for a picture: u.Tile, or the largest of the usual
// sides that fits in memory.
func (u *ESRGAN) tile(ctx context.Context, size image.Point) (int, error) {
	if u.Tile != 0 {
		if u.Tile < MinTile || u.Tile > MaxTile {
			return 0, fmt.Errorf("the side of tiles must be %d to %d pixels, got %d", MinTile, MaxTile, u.Tile)
		}
		return u.Tile, nil
	}
	available := u.host.Room(u.net.Device())
	for side := defaultTile; side > MinTile; side -= 32 {
		n := u.config.fold
		height, width := (min(side, size.Y)+n-1)/n, (min(side, size.X)+n-1)/n
		need, err := u.net.Estimate(ctx, []cgo.Input{{Name: "image", Shape: tensor.Batch(1, []int{3 * n * n, height, width})}},
			[]cgo.Output{{Name: "image"}})
		if need <= available || err != nil {
			return side, err
		}
	}
	return MinTile, nil
}

// MaxUpscaled is the largest side of an upscaled picture, in pixels.
const MaxUpscaled = 32768

// enlargeAlpha gives a large picture the resized alpha of the small one, if that is
// not opaque.
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
