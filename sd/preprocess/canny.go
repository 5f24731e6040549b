package preprocess

import "math"

// States of a pixel while edges are followed.
const (
	noEdge = iota
	mayBeEdge
	isEdge
)

// canny finds edges as OpenCV's Canny does of a picture in colour: Sobel's gradient of
// 3x3 pixels, |dx|+|dy| for its length, in each pixel that of the channel where it is
// longest. (J. Canny, A Computational Approach to Edge Detection, 1986.)
func canny(r *raster, value func(string) float64) *raster {
	low, high := int32(math.Floor(value("low"))), int32(math.Floor(value("high")))
	low, high = min(low, high), max(low, high)
	w, h := r.size.X, r.size.Y
	g := gradients(r)
	state := make([]uint8, w*h)
	var follow []int32 // pixels that are edges, whose neighbours are still to be looked at
	for y := range h {
		for x := range w {
			i := y*w + x
			if g.at(x, y) <= low || !g.isRidge(x, y) {
				continue
			}
			state[i] = mayBeEdge
			if g.at(x, y) > high {
				state[i] = isEdge
				follow = append(follow, int32(i))
			}
		}
	}
	for len(follow) > 0 {
		i := int(follow[len(follow)-1])
		follow = follow[:len(follow)-1]
		x, y := i%w, i/w
		for ny := max(y-1, 0); ny <= min(y+1, h-1); ny++ {
			for nx := max(x-1, 0); nx <= min(x+1, w-1); nx++ {
				if n := ny*w + nx; state[n] == mayBeEdge {
					state[n] = isEdge
					follow = append(follow, int32(n))
				}
			}
		}
	}
	return grey(r.size, func(i int) uint8 {
		if state[i] == isEdge {
			return 255
		}
		return 0
	})
}

// gradient has a picture's gradients: across, down, and their length.
type gradient struct {
	w, h   int
	dx, dy []int16
	length []int16
}

// gradients repeats the picture's last pixels beyond its edges.
func gradients(r *raster) *gradient {
	w, h := r.size.X, r.size.Y
	g := &gradient{w, h, make([]int16, w*h), make([]int16, w*h), make([]int16, w*h)}
	for y := range h {
		above, here, below := r.pix[3*w*max(y-1, 0):], r.pix[3*w*y:], r.pix[3*w*min(y+1, h-1):]
		for x := range w {
			left, right, i := 3*max(x-1, 0), 3*min(x+1, w-1), y*w+x
			for c := range 3 {
				l, m, n := left+c, 3*x+c, right+c
				dx := int16(above[n]) - int16(above[l]) + 2*(int16(here[n])-int16(here[l])) + int16(below[n]) - int16(below[l])
				dy := int16(below[l]) - int16(above[l]) + 2*(int16(below[m])-int16(above[m])) + int16(below[n]) - int16(above[n])
				if length := max(dx, -dx) + max(dy, -dy); c == 0 || length > g.length[i] {
					g.dx[i], g.dy[i], g.length[i] = dx, dy, length
				}
			}
		}
	}
	return g
}

// at is a gradient's length, 0 outside the picture.
func (g *gradient) at(x, y int) int32 {
	if x < 0 || y < 0 || x >= g.w || y >= g.h {
		return 0
	}
	return int32(g.length[y*g.w+x])
}

// isRidge says whether the gradient is longest along its own direction, which is
// taken for the nearest of four.
func (g *gradient) isRidge(x, y int) bool {
	const tan22 = 13573 // tan(22.5°) of 1<<15
	dx, dy := int32(g.dx[y*g.w+x]), int32(g.dy[y*g.w+x])
	along, steep := max(dx, -dx), max(dy, -dy)<<15
	m := g.at(x, y)
	switch {
	case steep < along*tan22:
		return m > g.at(x-1, y) && m >= g.at(x+1, y)
	case steep > along*tan22+along<<16:
		return m > g.at(x, y-1) && m >= g.at(x, y+1)
	case (dx < 0) != (dy < 0):
		return m > g.at(x+1, y-1) && m > g.at(x-1, y+1)
	}
	return m > g.at(x-1, y-1) && m > g.at(x+1, y+1)
}
