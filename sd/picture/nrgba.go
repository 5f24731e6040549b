package picture

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"reflect"

	"github.com/sdgo/sdgo/internal/guard"
)

// NRGBA converts a picture to *image.NRGBA, with its corner at 0,0. It makes a copy,
// or shares the pixels of an *image.NRGBA without gaps between its rows. A picture
// that can't be right is an error: nil, without pixels, more than MaxPixels or a side
// of more than MaxSide, fewer bytes than its size needs, colours beyond its palette,
// methods that panic.
func NRGBA(img image.Image) (out *image.NRGBA, err error) {
	err = guard.Call("the picture", func() (err error) {
		out, err = toNRGBA(img, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// toNRGBA is NRGBA without protection against panics. video says that its YCbCr has
// video range (ycbcr.go).
func toNRGBA(img image.Image, video bool) (*image.NRGBA, error) {
	if img == nil {
		return nil, errors.New("the picture must not be nil")
	}
	if v := reflect.ValueOf(img); v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, fmt.Errorf("the picture must not be nil, got a nil %T", img)
	}
	box := img.Bounds() // once: a later call may return something else
	size, err := sizeOf(box)
	if err != nil {
		return nil, err
	}
	if p, ok := img.(*image.NRGBA); ok && p.Stride == 4*size.X {
		if err := checkRows(len(p.Pix), p.Stride, 4, size); err != nil {
			return nil, err
		}
		n := p.Stride * size.Y
		return &image.NRGBA{Pix: p.Pix[:n:n], Stride: p.Stride, Rect: image.Rectangle{Max: size}}, nil
	}
	out := image.NewNRGBA(image.Rectangle{Max: size})
	switch p := img.(type) {
	case *image.YCbCr:
		return out, fromYCbCr(out, p, video)
	case *image.NYCbCrA:
		if err := checkRows(len(p.A), p.AStride, 1, size); err != nil {
			return nil, err
		}
		if err := fromYCbCr(out, &p.YCbCr, video); err != nil {
			return nil, err
		}
		return out, eachPixel(out, p.A, p.AStride, 1, func(to, from []uint8) { to[3] = from[0] })
	case *image.Paletted:
		return out, fromPaletted(out, p)
	}
	if pix, stride, bytes, put := layoutOf(img); put != nil {
		return out, eachPixel(out, pix, stride, bytes, put)
	}
	for y := range size.Y {
		for x := range size.X {
			out.SetNRGBA(x, y, color.NRGBAModel.Convert(img.At(box.Min.X+x, box.Min.Y+y)).(color.NRGBA))
		}
	}
	return out, nil
}

// sizeOf is the size of a picture with these bounds, which may be any numbers.
func sizeOf(box image.Rectangle) (image.Point, error) {
	if box.Min.X >= box.Max.X || box.Min.Y >= box.Max.Y {
		return image.Point{}, fmt.Errorf("must have at least one pixel, got %dx%d pixels", box.Dx(), box.Dy())
	}
	w, h := uint64(box.Max.X)-uint64(box.Min.X), uint64(box.Max.Y)-uint64(box.Min.Y)
	if w > MaxSide || h > MaxSide || w*h > MaxPixels {
		return image.Point{}, fmt.Errorf("must have at most %d pixels a side and %d in all, got %dx%d pixels", MaxSide, MaxPixels, w, h)
	}
	return image.Pt(int(w), int(h)), nil
}

// checkRows checks that n bytes hold the rows of a picture, stride bytes apart.
func checkRows(n, stride, bytes int, size image.Point) error {
	row := bytes * size.X
	if stride < row || n < row || (n-row)/stride < size.Y-1 {
		return fmt.Errorf("%d bytes, in rows %d bytes apart, are too few for %dx%d pixels", n, stride, size.X, size.Y)
	}
	return nil
}

// eachPixel fills a picture from rows of another, which has `bytes` bytes a pixel.
func eachPixel(out *image.NRGBA, pix []uint8, stride, bytes int, put func(to, from []uint8)) error {
	size := out.Rect.Size()
	if err := checkRows(len(pix), stride, bytes, size); err != nil {
		return err
	}
	for y := range size.Y {
		from, to := pix[y*stride:][:bytes*size.X], out.Pix[y*out.Stride:][:4*size.X]
		for len(to) > 0 {
			put(to[:4:4], from[:bytes:bytes])
			to, from = to[4:], from[bytes:]
		}
	}
	return nil
}

// layoutOf says how a picture of package image stores its pixels, from the corner of
// its bounds on; put converts one pixel. put is nil for other types.
func layoutOf(img image.Image) (pix []uint8, stride, bytes int, put func(to, from []uint8)) {
	switch p := img.(type) {
	case *image.NRGBA:
		return p.Pix, p.Stride, 4, func(to, from []uint8) { copy(to, from) }
	case *image.RGBA:
		return p.Pix, p.Stride, 4, func(to, from []uint8) {
			a := uint32(from[3])
			for c := range 3 {
				to[c] = straight8(uint32(from[c]), a)
			}
			to[3] = from[3]
		}
	case *image.Gray:
		return p.Pix, p.Stride, 1, func(to, from []uint8) { to[0], to[1], to[2], to[3] = from[0], from[0], from[0], 255 }
	case *image.Gray16: // 16 bits are big-endian: the upper byte comes first
		return p.Pix, p.Stride, 2, func(to, from []uint8) { to[0], to[1], to[2], to[3] = from[0], from[0], from[0], 255 }
	case *image.NRGBA64:
		return p.Pix, p.Stride, 8, func(to, from []uint8) { to[0], to[1], to[2], to[3] = from[0], from[2], from[4], from[6] }
	case *image.RGBA64:
		return p.Pix, p.Stride, 8, func(to, from []uint8) {
			a := uint32(from[6])<<8 | uint32(from[7])
			for c := range 3 {
				to[c] = straight16(uint32(from[2*c])<<8|uint32(from[2*c+1]), a)
			}
			to[3] = from[6]
		}
	case *image.CMYK:
		return p.Pix, p.Stride, 4, func(to, from []uint8) {
			to[0], to[1], to[2] = color.CMYKToRGB(from[0], from[1], from[2], from[3])
			to[3] = 255
		}
	}
	return nil, 0, 0, nil
}

// straight8 turns a premultiplied colour into a straight one.
func straight8(v, alpha uint32) uint8 {
	if alpha == 0 {
		return 0
	}
	return uint8(min(v*255/alpha, 255))
}

func straight16(v, alpha uint32) uint8 {
	if alpha == 0 {
		return 0
	}
	return uint8(min(v*0xffff/alpha, 0xffff) >> 8)
}

// fromPaletted looks up a picture's colours. All of them must be in its palette.
func fromPaletted(out *image.NRGBA, p *image.Paletted) error {
	if len(p.Palette) > 256 {
		return fmt.Errorf("a palette must have at most 256 colours, got %d", len(p.Palette))
	}
	table := make([]color.NRGBA, len(p.Palette))
	for i, c := range p.Palette {
		table[i] = color.NRGBAModel.Convert(c).(color.NRGBA)
	}
	beyond := -1
	err := eachPixel(out, p.Pix, p.Stride, 1, func(to, from []uint8) {
		if i := int(from[0]); i < len(table) {
			to[0], to[1], to[2], to[3] = table[i].R, table[i].G, table[i].B, table[i].A
		} else {
			beyond = i
		}
	})
	if err == nil && beyond >= 0 {
		err = fmt.Errorf("colour %d of a palette of %d", beyond, len(table))
	}
	return err
}
