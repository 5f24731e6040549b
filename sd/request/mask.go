package request

import (
	"image"
	"math"

	"github.com/sdgo/sdgo/sd/picture"
)

// Limits and defaults of masks, in pixels.
const (
	maxGrow        = 1024
	maxBlur        = 256
	maxFeather     = 256
	maxPadding     = 4096
	defaultFeather = 4
	defaultPadding = 32
)

// checkImage checks the initial picture and the fields that need it.
func (q *Resolved) checkImage(e *Error) {
	checkFloat(e, "Strength", q.Strength, 0, 1)
	checkFloat(e, "ImageGuidance", q.ImageGuidance, 0, maxScale)
	q.checkMask(e)
	if q.Image == nil {
		for _, f := range []struct {
			field string
			set   bool
		}{{"Mask", q.Request.Mask != nil}, {"Canvas", q.Canvas != image.Point{}}, {"Strength", q.Request.Strength != nil}} {
			switch {
			case f.set && q.Low != nil:
				e.Add(f.field, "does not go with a model that enlarges pictures")
			case f.set:
				e.Add(f.field, "needs an Image")
			}
		}
		return
	}
	q.readMask(e)
}

// readMask reads the mask, or makes that of the canvas.
func (q *Resolved) readMask(e *Error) {
	size := q.Image.Rect.Size()
	var err error
	switch {
	case q.Canvas != image.Point{} && q.Request.Mask != nil:
		e.Add("Canvas", "can't be combined with a Mask")
	case q.Canvas != image.Point{}:
		if !q.checkCanvas(e, size) {
			return
		}
		if q.Image, q.Mask, err = picture.Canvas(q.Image, q.Canvas.X, q.Canvas.Y); err != nil {
			e.Add("Canvas", "%v", err)
		}
	case q.Request.Mask != nil:
		if q.Mask, err = picture.Mask(q.Request.Mask); err != nil {
			e.Add("Mask", "%v", err)
		} else if m := q.Mask.Rect.Size(); m != size {
			e.Add("Mask", "must have the picture's %dx%d pixels, got %dx%d", size.X, size.Y, m.X, m.Y)
		}
	}
	q.Request.Mask = nil
	if q.Mask == nil || len(e.Problems) > 0 {
		return
	}
	if q.MaskGrow != 0 {
		q.Mask = picture.Grow(q.Mask, q.MaskGrow)
	}
	if q.MaskBlur > 0 {
		q.Mask = picture.Blur(q.Mask, q.MaskBlur)
	}
}

// checkCanvas checks the size of the canvas.
func (q *Resolved) checkCanvas(e *Error, size image.Point) bool {
	up := func(n int) int { return (n + q.Align - 1) / q.Align * q.Align }
	for _, side := range []struct{ have, low int }{{q.Canvas.X, up(size.X)}, {q.Canvas.Y, up(size.Y)}} {
		if side.have < side.low || side.have > MaxSide || side.have%q.Align != 0 {
			e.Add("Canvas", "sides must be multiples of %d from %dx%d to %d, got %dx%d",
				q.Align, up(size.X), up(size.Y), MaxSide, q.Canvas.X, q.Canvas.Y)
			return false
		}
	}
	if q.Canvas == size {
		e.Add("Canvas", "must be larger than the picture")
		return false
	}
	return true
}

// checkMask checks the fields that need a mask.
func (q *Resolved) checkMask(e *Error) {
	masked := q.Request.Mask != nil || q.Canvas != image.Point{}
	for _, f := range []struct {
		field    string
		from, to *int
		value    int
		most     int
	}{
		{"MaskFeather", q.Request.MaskFeather, &q.MaskFeather, defaultFeather, maxFeather},
		{"MaskPadding", q.Request.MaskPadding, &q.MaskPadding, defaultPadding, maxPadding},
	} {
		*f.to = f.value
		if f.from == nil {
			continue
		}
		*f.to = *f.from
		checkRange(e, f.field, *f.to, 0, f.most)
		if !masked {
			e.Add(f.field, "needs a Mask")
		}
	}
	switch q.MaskFill {
	case "", MaskOriginal, MaskFilled, MaskNoise, MaskNothing:
	default:
		e.Add("MaskFill", "must be %s, %s, %s or %s, got %.40q", MaskOriginal, MaskFilled, MaskNoise, MaskNothing, q.MaskFill)
	}
	checkRange(e, "MaskGrow", q.MaskGrow, -maxGrow, maxGrow)
	checkFloat(e, "MaskBlur", q.MaskBlur, 0, maxBlur)
	for _, f := range []struct {
		field string
		set   bool
	}{{"MaskFill", q.MaskFill != "" && q.MaskFill != MaskOriginal}, {"MaskGrow", q.MaskGrow != 0}, {"MaskBlur", q.MaskBlur != 0}, {"OnlyMasked", q.OnlyMasked}} {
		if f.set && !masked {
			e.Add(f.field, "needs a Mask")
		}
	}
	if !q.OnlyMasked && q.Request.MaskPadding != nil {
		e.Add("MaskPadding", `needs the inpaint area "only masked"`)
	}
}

// initMask checks that the mask selects something, and returns the default size to
// draw at; width and height are the default without OnlyMasked.
func (q *Resolved) initMask(e *Error, width, height, native int) (int, int) {
	white := false
	for _, v := range q.Mask.Pix {
		white = white || v > 127
	}
	if !white {
		e.Add("Mask", "nothing to paint: no pixel is more than half white")
	}
	if !white || !q.OnlyMasked {
		return width, height
	}
	whole, box := q.Mask.Rect, picture.Bounds(q.Mask)
	width, height = native, native
	if q.Width == 0 && q.Height == 0 {
		width, height = q.sidesLike(box.Inset(-q.MaskPadding).Intersect(whole).Size(), native)
	}
	w, h := q.Width, q.Height
	fill(&w, width)
	fill(&h, height)
	if w > 0 && h > 0 {
		q.MaskRegion = picture.Region(whole, box, q.MaskPadding, w, h)
	}
	return width, height
}

// sidesLike are sides with a size's aspect ratio, at most one to two, and the area of
// the model's native size.
func (q *Resolved) sidesLike(size image.Point, native int) (width, height int) {
	ratio := min(max(float64(size.X)/float64(size.Y), 0.5), 2)
	return q.align(float64(native) * math.Sqrt(ratio)), q.align(float64(native) / math.Sqrt(ratio))
}
