package picture

import (
	"image"
	"math"
)

// Fill replaces what a mask covers by the colours around it, as AUTOMATIC1111's web UI
// does for the masked content "fill": the picture without its masked part is blurred
// with falling radii, and the results are laid one over the other, the sharp picture
// last. Where nothing is near enough, the colours are black. Both have one size.
func Fill(img *image.NRGBA, mask *image.Gray) *image.NRGBA {
	size := img.Rect.Size()
	n := size.X * size.Y
	rest := newPlane(size) // premultiplied, 0 to 1
	for i := range n {
		at := img.PixOffset(img.Rect.Min.X+i%size.X, img.Rect.Min.Y+i/size.X)
		alpha := 1 - float32(mask.Pix[i/size.X*mask.Stride+i%size.X])/255
		for c := range 3 {
			rest.pix[4*i+c] = alpha * float32(img.Pix[at+c]) / 255
		}
		rest.pix[4*i+3] = alpha
	}
	sum := newPlane(size)
	for _, layer := range []struct {
		radius float64
		times  int
	}{{256, 1}, {64, 1}, {16, 2}, {4, 4}, {2, 2}, {0, 1}} {
		blurred := rest
		if layer.radius > 0 {
			blurred = rest.blur(layer.radius)
		}
		for range layer.times {
			sum.over(blurred)
		}
	}
	out := image.NewNRGBA(image.Rectangle{Max: size})
	for i := range n {
		for c := range 3 {
			out.Pix[4*i+c] = uint8(min(255, max(0, math.RoundToEven(float64(255*sum.pix[4*i+c])))))
		}
		out.Pix[4*i+3] = 255
	}
	return out
}

// plane is a picture of four premultiplied channels.
type plane struct {
	size image.Point
	pix  []float32
}

func newPlane(size image.Point) plane { return plane{size, make([]float32, 4*size.X*size.Y)} }

// over lays another picture over this one (Porter & Duff 1984).
func (p plane) over(top plane) {
	for i := 0; i < len(p.pix); i += 4 {
		left := 1 - top.pix[i+3]
		for c := range 4 {
			p.pix[i+c] = top.pix[i+c] + left*p.pix[i+c]
		}
	}
}

// blurPasses is how many box blurs stand for a Gaussian, as in Pillow's GaussianBlur.
const blurPasses = 3

// blur is a blur like a Gaussian of a standard deviation: box blurs, whose sides need not
// be whole numbers (Gwosdek et al. 2011, "extended box"), with the edges repeated.
func (p plane) blur(sigma float64) plane {
	// A box of side L = 2(l+a)+1 has variance (L²-1)/12 where a is 0.
	side := math.Sqrt(12*sigma*sigma/blurPasses + 1)
	l := math.Floor((side - 1) / 2)
	a := (2*l + 1) * (l*(l+1) - 3*sigma*sigma/blurPasses) / (6 * (sigma*sigma/blurPasses - (l+1)*(l+1)))
	out, other := newPlane(p.size), newPlane(p.size)
	copy(out.pix, p.pix)
	for range blurPasses {
		out.box(other, int(l), float32(a), p.size.X, p.size.Y, 4, 4*p.size.X)
		out, other = other, out
	}
	for range blurPasses {
		out.box(other, int(l), float32(a), p.size.Y, p.size.X, 4*p.size.X, 4)
		out, other = other, out
	}
	return out
}

// box blurs lines of n pixels that are step numbers apart, count lines that are stride
// apart: the mean of 2l+1 pixels and of two more, which count a each.
func (p plane) box(to plane, l int, a float32, n, count, step, stride int) {
	scale := 1 / (float32(2*l+1) + 2*a)
	for line := range count {
		for c := range 4 {
			at := func(i int) float32 { return p.pix[line*stride+c+min(max(i, 0), n-1)*step] }
			sum := float64(0)
			for i := -l; i <= l; i++ {
				sum += float64(at(i))
			}
			for i := range n {
				to.pix[line*stride+c+i*step] = (float32(sum) + a*(at(i-l-1)+at(i+l+1))) * scale
				sum += float64(at(i+l+1)) - float64(at(i-l))
			}
		}
	}
}
