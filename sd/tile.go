package sd

import "context"

// tiling cuts a latent into overlapping square tiles that are decoded one by
// one and blended.
type tiling struct {
	size    int // a tile's side, latent pixels
	overlap int // latent pixels that neighbours share
	margin  int // of these the outer ones on each side that are not used: less than half
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
// shared with the tile after it, and 0 in the margin. The weights of all tiles
// at a pixel add up to more than 0.
func (t tiling) ramp(all []span, i, scale int) []float32 {
	s := all[i]
	w := make([]float32, (s.end-s.start)*scale)
	for p := range w {
		w[p] = 1
	}
	rise := func(shared int, to func(p int) *float32) {
		for p := range shared * scale {
			*to(p) *= min(max((float32(p)+0.5-float32(t.margin*scale))/float32((shared-2*t.margin)*scale), 0), 1)
		}
	}
	if i > 0 {
		rise(all[i-1].end-s.start, func(p int) *float32 { return &w[p] })
	}
	if i+1 < len(all) {
		rise(s.end-all[i+1].start, func(p int) *float32 { return &w[len(w)-1-p] })
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
	var out plane
	err := t.bands(height, width, scale, one, done, func(top, rows int, band plane) error {
		if out.data == nil {
			out = newPlane(band.channels, height*scale, width*scale)
		}
		for c := range out.channels {
			copy(out.data[(c*out.height+top)*out.width:], band.data[c*band.height*band.width:][:rows*band.width])
		}
		return nil
	})
	return out, err
}

// bands is cover for what is too large to be kept in floats: emit is given the
// picture from the top to the bottom, the first rows of a band that begins at
// row top and changes afterwards.
func (t tiling) bands(height, width, scale int, one func(ys, xs span) (plane, error),
	done func(index, of int) error, emit func(top, rows int, band plane) error) error {
	ys, xs := t.spans(height), t.spans(width)
	var band plane
	weight := make([]float32, min(t.size, height)*scale*width*scale)
	for i, y := range ys {
		wy := t.ramp(ys, i, scale)
		for j, x := range xs {
			tile, err := one(y, x)
			if err != nil {
				return err
			}
			if band.data == nil {
				band = newPlane(tile.channels, min(t.size, height)*scale, width*scale)
			}
			band.blend(tile, weight, x.start*scale, wy, t.ramp(xs, j, scale))
			if err := done(i*len(xs)+j+1, len(ys)*len(xs)); err != nil {
				return err
			}
		}
		next := y.end
		if i+1 < len(ys) {
			next = ys[i+1].start
		}
		rows := (next - y.start) * scale
		for c := range band.channels {
			channel := band.data[c*len(weight):][:len(weight)]
			for p, w := range weight[:rows*band.width] {
				channel[p] /= w
			}
		}
		if err := emit(y.start*scale, rows, band); err != nil {
			return err
		}
		for c := range band.channels {
			rise(band.data[c*len(weight):][:len(weight)], rows*band.width)
		}
		rise(weight, rows*band.width)
	}
	return nil
}

// rise moves the end of a list to its beginning, and zeros behind it.
func rise(list []float32, n int) {
	clear(list[copy(list, list[n:]):])
}

// blend adds a weighted tile to p, at its top, and its weights to sum.
func (p plane) blend(tile plane, sum []float32, left int, wy, wx []float32) {
	for y, v := range wy {
		row := y*p.width + left
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
