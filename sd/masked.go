package sd

import (
	"image"
	"math"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/sd/picture"
)

// Bounds and defaults of how a masked picture is put together, in pixels.
const (
	maxFeather     = 256
	maxPadding     = 4096
	defaultFeather = 4
	defaultPadding = 32
)

// masking is what a resolved request says of its mask.
type masking struct {
	mask             *image.Gray     // of Image's size, from 0,0; nil without one
	region           image.Rectangle // of Image that is painted with OnlyMasked
	feather, padding int
}

// checkMasking checks what belongs to a mask, beside the mask itself.
func (q *resolved) checkMasking(e *RequestError) {
	for _, f := range []struct {
		field    string
		from, to *int
		value    int
		most     int
	}{{"Feather", q.Feather, &q.feather, defaultFeather, maxFeather}, {"MaskPadding", q.MaskPadding, &q.padding, defaultPadding, maxPadding}} {
		*f.to = f.value
		if f.from == nil {
			continue
		}
		*f.to = *f.from
		checkRange(e, f.field, *f.to, 0, f.most)
		if q.Mask == nil {
			e.add(f.field, "it belongs to a Mask, and there is none")
		}
	}
	switch {
	case q.OnlyMasked && q.Mask == nil:
		e.add("OnlyMasked", "what is masked is to be painted, and there is no Mask")
	case !q.OnlyMasked && q.MaskPadding != nil:
		e.add("MaskPadding", "it is for painting only what is masked")
	}
}

// initMask reads the mask and returns the sides to paint at unless the request
// says otherwise; width and height are those without OnlyMasked.
func (q *resolved) initMask(e *RequestError, width, height, native int) (int, int) {
	var err error
	if q.mask, err = picture.Mask(q.Mask); err != nil {
		e.add("Mask", "%v", err)
		return width, height
	}
	white := false
	for _, v := range q.mask.Pix {
		white = white || v > 127
	}
	if !white {
		e.add("Mask", "nothing to paint: no pixel is more than half white")
	}
	if !white || !q.OnlyMasked {
		return width, height
	}
	whole, box := q.mask.Rect, picture.Bounds(q.mask)
	width, height = native, native
	if q.Width == 0 && q.Height == 0 {
		size := box.Inset(-q.padding).Intersect(whole).Size()
		width, height = sidesLike(size, native)
	}
	w, h := q.Width, q.Height
	fill(&w, width)
	fill(&h, height)
	if w > 0 && h > 0 {
		q.region = picture.Region(whole, box, q.padding, w, h)
	}
	return width, height
}

// sidesLike are sides in a size's proportions, as far as one to two, with the
// area of the pictures that a model was trained on.
func sidesLike(size image.Point, native int) (width, height int) {
	ratio := min(max(float64(size.X)/float64(size.Y), 0.5), 2)
	side := func(n float64) int { return max(8, int(math.Round(n/8))*8) }
	return side(float64(native) * math.Sqrt(ratio)), side(float64(native) / math.Sqrt(ratio))
}

// fitImage brings the picture that a request begins with, or its mask, to the
// size that is painted.
func (q resolved) fitImage(img *image.NRGBA) *image.NRGBA {
	if !q.OnlyMasked {
		return fit(img, q.Width, q.Height)
	}
	part := imaging.Crop(img, q.region)
	if part.Rect.Size() == image.Pt(q.Width, q.Height) {
		return part
	}
	return resize(part, q.Width, q.Height, imaging.Lanczos)
}

// putBack puts a picture's own pixels back where nothing was to be painted.
// Its zero value leaves everything as it was painted.
type putBack struct {
	whole  *image.NRGBA    // nil without a mask
	region image.Rectangle // of it that was painted
	weight *image.Gray     // how far each pixel of it is painted; 0 is not at all
}

// newPutBack prepares it: fitted and mask have the size that is painted, whole
// that of the request's picture.
func (q resolved) newPutBack(fitted, whole *image.NRGBA, mask *image.Gray) putBack {
	if !q.OnlyMasked {
		return putBack{fitted, fitted.Rect, picture.Feather(mask, q.feather)}
	}
	return putBack{opaque(imaging.Clone(whole)), q.region, picture.Feather(q.mask, q.feather)}
}

// put returns the whole picture with what was painted on it.
func (b putBack) put(painted *image.NRGBA) *image.NRGBA {
	if b.whole == nil {
		return painted
	}
	if size := b.region.Size(); painted.Rect.Size() != size {
		painted = resize(painted, size.X, size.Y, imaging.Lanczos)
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
