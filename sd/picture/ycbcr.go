package picture

import (
	"fmt"
	"image"
	"image/color"
)

// JPEG files and lossy WebP files store colour as luma and chroma, and chroma mostly
// once for two or four pixels. Upsampling is that of libjpeg and libwebp, which other
// programs use ("fancy upsampling"): three quarters of the nearest value and one
// quarter of the next, along each axis. Ratios above two take the nearest value, and so
// does libjpeg where a row has no more than two chroma values.
//
// The ranges differ: JPEG uses all of 8 bits (JFIF 1.02), WebP (VP8) video range, where
// black is 16, white 235 and chroma goes from 16 to 240 (ITU-R BT.601).

// fromYCbCr fills a picture.
func fromYCbCr(out *image.NRGBA, p *image.YCbCr, video bool) error {
	size := out.Rect.Size()
	across, down := subsampling(p.SubsampleRatio)
	if across == 0 {
		return fmt.Errorf("unknown subsampling of YCbCr: %v", p.SubsampleRatio)
	}
	// A sub-image may begin between two chroma values.
	left, top := mod(p.Rect.Min.X, across), mod(p.Rect.Min.Y, down)
	chroma := image.Pt((left+size.X+across-1)/across, (top+size.Y+down-1)/down)
	for _, err := range []error{checkRows(len(p.Y), p.YStride, 1, size),
		checkRows(len(p.Cb), p.CStride, 1, chroma), checkRows(len(p.Cr), p.CStride, 1, chroma)} {
		if err != nil {
			return err
		}
	}
	cb, cr := newUpsampler(p.Cb, p.CStride, chroma, across, down), newUpsampler(p.Cr, p.CStride, chroma, across, down)
	cb.plain = !video && across == 2 && chroma.X <= 2
	cr.plain = cb.plain
	for y := range size.Y {
		luma, to := p.Y[y*p.YStride:][:size.X], out.Pix[y*out.Stride:][:4*size.X]
		cb.row(top + y)
		cr.row(top + y)
		for x, v := range luma {
			if video {
				to[4*x], to[4*x+1], to[4*x+2] = videoToRGB(v, cb.at(left+x), cr.at(left+x))
			} else {
				to[4*x], to[4*x+1], to[4*x+2] = color.YCbCrToRGB(v, cb.at(left+x), cr.at(left+x))
			}
			to[4*x+3] = 255
		}
	}
	return nil
}

// subsampling is how many pixels share a chroma value, along a row and along a column;
// 0 for an unknown ratio.
func subsampling(r image.YCbCrSubsampleRatio) (across, down int) {
	switch r {
	case image.YCbCrSubsampleRatio444:
		return 1, 1
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	}
	return 0, 0
}

func mod(a, n int) int { return (a%n + n) % n }

// upsampler returns one chroma channel's value for each pixel of a row.
type upsampler struct {
	pix          []uint8
	stride       int
	size         image.Point
	across, down int
	plain        bool  // the nearest value alone
	line         []int // the row's values between the rows of pix, times 4
}

func newUpsampler(pix []uint8, stride int, size image.Point, across, down int) *upsampler {
	return &upsampler{pix, stride, size, across, down, false, make([]int, size.X)}
}

// next returns the chroma index of a pixel, and the neighbouring one that is nearer to it, of n.
func next(pixel, ratio, n int) (own, beside int) {
	own = pixel / ratio
	if beside = own + 2*(pixel%ratio) - 1; ratio != 2 {
		beside = own
	}
	return own, min(max(beside, 0), n-1)
}

func (u *upsampler) row(y int) {
	own, beside := next(y, u.down, u.size.Y)
	if u.across > 2 || u.plain {
		beside = own
	}
	near, far := u.pix[own*u.stride:][:u.size.X], u.pix[beside*u.stride:][:u.size.X]
	for i := range u.line {
		u.line[i] = 3*int(near[i]) + int(far[i])
	}
}

func (u *upsampler) at(x int) uint8 {
	own, beside := next(x, u.across, u.size.X)
	if u.plain {
		beside = own
	}
	return uint8((3*u.line[own] + u.line[beside] + 8) >> 4)
}

// videoToRGB converts from video range, in fixed point with 16 fractional bits: luma
// is scaled by 255/219, chroma by 255/224 and the factors of BT.601's weights (0.299,
// 0.587, 0.114).
func videoToRGB(y, cb, cr uint8) (r, g, b uint8) {
	luma := (int32(y)-16)*76309 + 1<<15
	u, v := int32(cb)-128, int32(cr)-128
	return clamped(luma + 104597*v), clamped(luma - 25675*u - 53279*v), clamped(luma + 132201*u)
}

func clamped(v int32) uint8 { return uint8(min(max(v>>16, 0), 255)) }
