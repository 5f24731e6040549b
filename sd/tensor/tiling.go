package tensor

// Tiling cuts [height, width] into overlapping square tiles that are computed one
// by one and blended.
type Tiling struct {
	Size    int // side of a tile
	Overlap int // that neighbours share
	Margin  int // outer part of the overlap on each side that is dropped: less than half of it
}

// Progress is called after each tile; an error that it returns ends the work.
type Progress = func(index, of int) error

// NoProgress ignores progress.
func NoProgress(int, int) error { return nil }

// Spans covers n elements with tiles of one size, the last one flush with the end.
func (t Tiling) Spans(n int) []Span {
	if n <= t.Size {
		return []Span{{0, n}}
	}
	var all []Span
	for start := 0; ; start += t.Size - t.Overlap {
		if start+t.Size >= n {
			return append(all, Span{n - t.Size, n})
		}
		all = append(all, Span{start, start + t.Size})
	}
}

// ramp returns the weights of a tile's elements along one axis: rising linearly
// over those shared with the tile before, falling over those shared with the tile
// after, and 0 in the margin. At each element the weights of all tiles add up to
// more than 0.
func (t Tiling) ramp(all []Span, i, scale int) []float32 {
	s := all[i]
	w := make([]float32, s.Len()*scale)
	for p := range w {
		w[p] = 1
	}
	rise := func(shared int, to func(p int) *float32) {
		for p := range shared * scale {
			*to(p) *= min(max((float32(p)+0.5-float32(t.Margin*scale))/float32((shared-2*t.Margin)*scale), 0), 1)
		}
	}
	if i > 0 {
		rise(all[i-1].End-s.Start, func(p int) *float32 { return &w[p] })
	}
	if i+1 < len(all) {
		rise(s.End-all[i+1].Start, func(p int) *float32 { return &w[len(w)-1-p] })
	}
	return w
}

// Cover computes a tensor of scale·height x scale·width from tiles. tile computes one,
// [channels, scale·tile, scale·tile].
func (t Tiling) Cover(height, width, scale int, tile func(ys, xs Span) (Tensor, error), done Progress) (Tensor, error) {
	var out Tensor
	err := t.Bands(height, width, scale, tile, done, func(top, rows int, band Tensor) error {
		if out.Data == nil {
			out = band.sized(height*scale, width*scale)
		}
		for c := range out.planes() {
			copy(out.Data[(c*out.Height()+top)*out.Width():], band.Data[c*band.Height()*band.Width():][:rows*band.Width()])
		}
		return nil
	})
	return out, err
}

// Bands is [Tiling.Cover] for outputs too large to be kept in floats: emit receives
// finished rows from top to bottom, the first rows of band, and must copy them,
// because the band's memory is used again.
func (t Tiling) Bands(height, width, scale int, tile func(ys, xs Span) (Tensor, error), done Progress,
	emit func(top, rows int, band Tensor) error) error {
	ys, xs := t.Spans(height), t.Spans(width)
	var band Tensor
	weight := make([]float32, min(t.Size, height)*scale*width*scale)
	for i, y := range ys {
		wy := t.ramp(ys, i, scale)
		for j, x := range xs {
			one, err := tile(y, x)
			if err != nil {
				return err
			}
			if band.Data == nil {
				band = one.sized(min(t.Size, height)*scale, width*scale)
			}
			band.blend(one, weight, x.Start*scale, wy, t.ramp(xs, j, scale))
			if err := done(i*len(xs)+j+1, len(ys)*len(xs)); err != nil {
				return err
			}
		}
		next := y.End
		if i+1 < len(ys) {
			next = ys[i+1].Start
		}
		rows := (next - y.Start) * scale
		for c := range band.planes() {
			channel := band.Data[c*len(weight):][:len(weight)]
			for p, w := range weight[:rows*band.Width()] {
				channel[p] /= w
			}
		}
		if err := emit(y.Start*scale, rows, band); err != nil {
			return err
		}
		for c := range band.planes() {
			shift(band.Data[c*len(weight):][:len(weight)], rows*band.Width())
		}
		shift(weight, rows*band.Width())
	}
	return nil
}

// shift moves a list n elements towards its beginning and fills its end with zeros.
func shift(list []float32, n int) {
	clear(list[copy(list, list[n:]):])
}

// blend adds a weighted tile to the top of t, and its weights to sum.
func (t Tensor) blend(tile Tensor, sum []float32, left int, wy, wx []float32) {
	for y, v := range wy {
		row := y*t.Width() + left
		for x, h := range wx {
			sum[row+x] += v * h
		}
		for c := range t.planes() {
			dst := t.Data[c*t.Height()*t.Width()+row:]
			src := tile.Data[(c*tile.Height()+y)*tile.Width():]
			for x, h := range wx {
				dst[x] += v * h * src[x]
			}
		}
	}
}
