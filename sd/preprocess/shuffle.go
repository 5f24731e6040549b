package preprocess

import (
	"image"
	"math/rand/v2"
)

// shuffleCell is the distance in pixels of the random numbers that a picture is bent
// by; those in between are interpolated.
const shuffleCell = 256

// shuffle takes each pixel from another place, which moves smoothly over the whole
// picture: as controlnet_aux's ContentShuffleDetector does, with random numbers of
// the seed's own.
func shuffle(r *raster, value func(string) float64) *raster {
	random := rand.New(rand.NewPCG(uint64(value("seed")), 0))
	across, down := disk(r.size, random.Float64), disk(r.size, random.Float64)
	return r.bent(across, down)
}

// disk is smooth noise from 0 to 1, the least and the greatest of which are reached.
func disk(size image.Point, random func() float64) plane {
	grid := image.Pt(size.X/shuffleCell+2, size.Y/shuffleCell+2)
	noise := newPlane(grid)
	for i := range noise.v {
		noise.v[i] = float32(random())
	}
	whole := image.Pt(size.X+2*shuffleCell, size.Y+2*shuffleCell)
	across, down := cubicTaps(whole.X, grid.X), cubicTaps(whole.Y, grid.Y)
	out := newPlane(size)
	for y := range size.Y {
		for x := range size.X {
			var sum float32
			for _, v := range down[y+shuffleCell] {
				for _, u := range across[x+shuffleCell] {
					sum += v.weight * u.weight * noise.v[v.at*grid.X+u.at]
				}
			}
			out.v[y*size.X+x] = sum
		}
	}
	low, high := out.v[0], out.v[0]
	for _, v := range out.v {
		low, high = min(low, v), max(high, v)
	}
	for i := range out.v {
		if high > low {
			out.v[i] = (out.v[i] - low) / (high - low)
		}
	}
	return out
}

// bent takes each pixel from where the planes say, 0 to 1 of the picture's sides.
func (r *raster) bent(across, down plane) *raster {
	out := newRaster(r.size)
	w, h := r.size.X, r.size.Y
	for i := range w * h {
		fx, fy := across.v[i]*float32(w-1), down.v[i]*float32(h-1)
		x, y := int(fx), int(fy)
		right, below := min(x+1, w-1), min(y+1, h-1)
		tx, ty := fx-float32(x), fy-float32(y)
		for c := range 3 {
			at := func(x, y int) float32 { return float32(r.pix[3*(y*w+x)+c]) }
			top := at(x, y)*(1-tx) + at(right, y)*tx
			bottom := at(x, below)*(1-tx) + at(right, below)*tx
			out.pix[3*i+c] = rounded(top*(1-ty) + bottom*ty)
		}
	}
	return out
}
