package sampler

import "math"

// Slerp interpolates from noise a to noise b, by the fraction t, along the arc
// between them (spherical linear interpolation), which keeps the noise's
// variance: variation seeds. dst may be a or b.
func Slerp(dst, a, b []float32, t float64) { slerp(dst, a, b, t, 1) }

// SlerpColumns is [Slerp] for each column of a latent, as in AUTOMATIC1111's
// variation seeds. The slices have the shape [C, height, width]; for any other
// length it is Slerp.
func SlerpColumns(dst, a, b []float32, t float64, height, width int) {
	plane := height * width
	if height < 1 || width < 1 || len(dst)%plane != 0 {
		Slerp(dst, a, b, t)
		return
	}
	// The web UI decides for all columns at once whether they are too close for
	// an arc.
	var mean float64
	for i := 0; i < len(dst); i += plane {
		for c := range width {
			mean += cosine(a[i+c:i+plane], b[i+c:i+plane], width)
		}
	}
	if mean/float64(len(dst)/height) > parallel {
		sum2(dst, 1-t, a, t, b)
		return
	}
	for i := 0; i < len(dst); i += plane {
		for c := range width {
			arc(dst[i+c:i+plane], a[i+c:i+plane], b[i+c:i+plane], t, width)
		}
	}
}

// parallel is the cosine above which a straight line is as good as an arc.
const parallel = 0.9995

func slerp(dst, a, b []float32, t float64, stride int) {
	if cosine(a, b, stride) > parallel {
		sum2(dst, 1-t, a, t, b)
		return
	}
	arc(dst, a, b, t, stride)
}

// arc interpolates along the arc, for every stride-th element.
func arc(dst, a, b []float32, t float64, stride int) {
	omega := math.Acos(min(max(cosine(a, b, stride), -1), 1))
	so := math.Sin(omega)
	ka, kb := math.Sin((1-t)*omega)/so, math.Sin(t*omega)/so
	if so == 0 {
		ka, kb = 1-t, t
	}
	for i := 0; i < len(dst); i += stride {
		dst[i] = float32(ka*float64(a[i]) + kb*float64(b[i]))
	}
}

// cosine of the angle between two vectors of every stride-th element.
func cosine(a, b []float32, stride int) float64 {
	var ab, aa, bb float64
	for i := 0; i < len(a); i += stride {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	if aa == 0 || bb == 0 {
		return 1 // no direction: a straight line
	}
	return ab / math.Sqrt(aa*bb)
}
