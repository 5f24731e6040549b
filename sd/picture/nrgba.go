package picture

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"reflect"

	"github.com/sdgo/sdgo/internal/guard"
)

// NRGBA is a picture in the one form that this library computes with, from 0,0
// on: a copy, or, of an *image.NRGBA without gaps between its rows, the same
// pixels. Whatever is wrong with a picture that comes from elsewhere is an error:
// nil, no pixels or more than MaxPixels, a side of more than MaxSide, fewer bytes than its size takes,
// colours beyond its palette, methods that panic.
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

// toNRGBA is NRGBA for a picture that may panic. video is the range of its
// YCbCr (ycbcr.go).
func toNRGBA(img image.Image, video bool) (*image.NRGBA, error) {
	if img == nil {
		return nil, errors.New("no picture: nil")
	}
	if v := reflect.ValueOf(img); v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, fmt.Errorf("no picture: a nil %T", img)
	}
	box := img.Bounds() // once: another answer later does no harm
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

// sizeOf is the size of a picture with some bounds, which may be any numbers.
func sizeOf(box image.Rectangle) (image.Point, error) {
	if box.Min.X >= box.Max.X || box.Min.Y >= box.Max.Y {
		return image.Point{}, fmt.Errorf("%dx%d pixels; at least one is needed", box.Dx(), box.Dy())
	}
	w, h := uint64(box.Max.X)-uint64(box.Min.X), uint64(box.Max.Y)-uint64(box.Min.Y)
	if w > MaxSide || h > MaxSide || w*h > MaxPixels {
		return image.Point{}, fmt.Errorf("%dx%d pixels; at most %d a side and %d in all are possible", w, h, MaxSide, MaxPixels)
	}
	return image.Pt(int(w), int(h)), nil
}

// checkRows checks that n bytes hold the rows of a picture, stride bytes apart.
func checkRows(n, stride, bytes int, size image.Point) error {
	row := bytes * size.X
	if stride < row || n < row || (n-row)/stride < size.Y-1 {
		return fmt.Errorf("%dx%d pixels in %d bytes, rows %d bytes apart: fewer bytes than that size takes", size.X, size.Y, n, stride)
	}
	return nil
}

// eachPixel fills a picture from rows of another, `bytes` a pixel.
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

// layoutOf tells how the pictures of package image keep their pixels, from the
// corner of their bounds on, and how one becomes another's; put is nil for other
// pictures.
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

// straight8 takes alpha out of a colour that was multiplied by it.
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

// fromPaletted looks up a picture's colours, all of which its palette must have.
func fromPaletted(out *image.NRGBA, p *image.Paletted) error {
	if len(p.Palette) > 256 {
		return fmt.Errorf("a palette of %d colours; at most 256 are possible", len(p.Palette))
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
