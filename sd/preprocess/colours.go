package preprocess

import (
	"image"
	"math"
)

func threshold(r *raster, value func(string) float64) *raster {
	level := value("level")
	return grey(r.size, func(i int) uint8 {
		if float64(r.least(i)) > level {
			return 255
		}
		return 0
	})
}

func invert(r *raster, _ func(string) float64) *raster {
	for i, v := range r.pix {
		r.pix[i] = 255 - v
	}
	return r
}

func blurred(r *raster, value func(string) float64) *raster {
	sigma := value("sigma")
	for c := range 3 {
		r.setChannel(c, r.channel(c).blur(sigma, radius8(sigma)))
	}
	return r
}

func tile(r *raster, value func(string) float64) *raster {
	factor := value("factor")
	if factor < 1.1 {
		return r
	}
	return r.resampled(image.Pt(max(int(float64(r.size.X)/factor), 1), max(int(float64(r.size.Y)/factor), 1)), areaTaps)
}

// colorGrid makes squares of about 64 pixels: at least one.
func colorGrid(r *raster, _ func(string) float64) *raster {
	small := r.resampled(image.Pt(max(r.size.X/64, 1), max(r.size.Y/64, 1)), cubicTaps)
	return small.resampled(r.size, nearestTaps)
}

// luminance is CIELAB's L of sRGB, 0 to 255 for its 0 to 100. (AUTOMATIC1111 takes red
// for blue there.)
func luminance(r *raster, value func(string) float64) *raster {
	var linear [256]float64
	for i := range linear {
		if x := float64(i) / 255; x <= 0.04045 {
			linear[i] = x / 12.92
		} else {
			linear[i] = math.Pow((x+0.055)/1.055, 2.4)
		}
	}
	raised := powers(value("gamma"))
	return grey(r.size, func(i int) uint8 {
		y := 0.212671*linear[r.pix[3*i]] + 0.715160*linear[r.pix[3*i+1]] + 0.072169*linear[r.pix[3*i+2]]
		l := 903.3 * y
		if y > 0.008856 {
			l = 116*math.Cbrt(y) - 16
		}
		return raised[rounded(float32(l*255/100))]
	})
}

func intensity(r *raster, value func(string) float64) *raster {
	raised := powers(value("gamma"))
	return grey(r.size, func(i int) uint8 { return raised[max(r.pix[3*i], r.pix[3*i+1], r.pix[3*i+2])] })
}

// powers are the 256 brightnesses to the power of gamma, rounded down.
func powers(gamma float64) (all [256]uint8) {
	for i := range all {
		all[i] = uint8(float32(math.Pow(float64(float32(i)/255), gamma)) * 255)
	}
	return all
}
