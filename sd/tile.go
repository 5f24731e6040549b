package sd

import "context"

// tiling cuts a latent into overlapping square tiles that are decoded one by
// one and blended.
type tiling struct {
	size    int // a tile's side, latent pixels
	overlap int // latent pixels that neighbours share
}

// span is a tile's place along one side.
type span struct{ start, end int }

// spans covers n latent pixels with tiles of one size, the last one flush
// with the end.
func (t tiling) spans(n int) []span {
	if n <= t.size {
		return []span{{0, n}}
	}
	var all []span
	for start := 0; ; start += t.size - t.overlap {
		if start+t.size >= n {
			return append(all, span{n - t.size, n})
		}
		all = append(all, span{start, start + t.size})
	}
}

// ramp returns the weights of a tile's pixels along one side: rising linearly
// over the pixels that it shares with the tile before it, falling over those
// shared with the tile after it. Every weight is above 0, so sums can be
// divided by.
func ramp(all []span, i, scale int) []float32 {
	s := all[i]
	w := make([]float32, (s.end-s.start)*scale)
	for p := range w {
		w[p] = 1
	}
	if i > 0 {
		shared := (all[i-1].end - s.start) * scale
		for p := range shared {
			w[p] *= (float32(p) + 0.5) / float32(shared)
		}
	}
	if i+1 < len(all) {
		shared := (s.end - all[i+1].start) * scale
		for p := range shared {
			w[len(w)-1-p] *= (float32(p) + 0.5) / float32(shared)
		}
	}
	return w
}

// plane is a [channels, height, width] tensor.
type plane struct {
	data                    []float32
	channels, height, width int
}

func newPlane(channels, height, width int) plane {
	return plane{make([]float32, channels*height*width), channels, height, width}
}

// crop copies a rectangle out of every channel.
func (p plane) crop(ys, xs span) plane {
	out := newPlane(p.channels, ys.end-ys.start, xs.end-xs.start)
	for c := range p.channels {
		for y := range out.height {
			src := p.data[(c*p.height+ys.start+y)*p.width+xs.start:][:out.width]
			copy(out.data[(c*out.height+y)*out.width:], src)
		}
	}
	return out
}

// decodeTiled decodes z tile by tile with decode, whose output is scale times
// as wide and high, and blends the seams. done is called after each tile.
func (t tiling) decodeTiled(ctx context.Context, z plane, scale int,
	decode func(context.Context, plane) (plane, error), done func(index, of int) error) (plane, error) {
	one := func(ys, xs span) (plane, error) { return decode(ctx, z.crop(ys, xs)) }
	return t.cover(z.height, z.width, scale, one, done)
}

// cover makes a plane scale times as high and wide as a latent of height and
// width, out of what one gives for each tile.
func (t tiling) cover(height, width, scale int,
	one func(ys, xs span) (plane, error), done func(index, of int) error) (plane, error) {
	ys, xs := t.spans(height), t.spans(width)
	var out plane
	weight := make([]float32, height*scale*width*scale)
	for i, y := range ys {
		wy := ramp(ys, i, scale)
		for j, x := range xs {
			tile, err := one(y, x)
			if err != nil {
				return plane{}, err
			}
			if out.data == nil {
				out = newPlane(tile.channels, height*scale, width*scale)
			}
			out.blend(tile, weight, y.start*scale, x.start*scale, wy, ramp(xs, j, scale))
			if err := done(i*len(xs)+j+1, len(ys)*len(xs)); err != nil {
				return plane{}, err
			}
		}
	}
	for c := range out.channels {
		channel := out.data[c*len(weight):][:len(weight)]
		for i, w := range weight {
			channel[i] /= w
		}
	}
	return out, nil
}

// blend adds a weighted tile to p and its weights to sum.
func (p plane) blend(tile plane, sum []float32, top, left int, wy, wx []float32) {
	for y, v := range wy {
		row := (top+y)*p.width + left
		for x, h := range wx {
			sum[row+x] += v * h
		}
		for c := range p.channels {
			dst := p.data[c*p.height*p.width+row:]
			src := tile.data[(c*tile.height+y)*tile.width:]
			for x, h := range wx {
				dst[x] += v * h * src[x]
			}
		}
	}
}
