package tensor

// Span is the half-open range [Start, End) along one axis.
type Span struct{ Start, End int }

// Len is the number of elements.
func (s Span) Len() int { return s.End - s.Start }

// Scale is the range in an array n times as long.
func (s Span) Scale(n int) Span { return Span{s.Start * n, s.End * n} }

// Crop copies a rectangle out of every channel.
func (t Tensor) Crop(ys, xs Span) Tensor {
	out := t.sized(ys.Len(), xs.Len())
	height, width := t.Height(), t.Width()
	for c := range t.planes() {
		for y := range ys.Len() {
			copy(out.Data[(c*ys.Len()+y)*xs.Len():], t.Data[(c*height+ys.Start+y)*width+xs.Start:][:xs.Len()])
		}
	}
	return out
}

// Center copies the middle of every channel.
func (t Tensor) Center(height, width int) Tensor {
	top, left := (t.Height()-height)/2, (t.Width()-width)/2
	return t.Crop(Span{top, top + height}, Span{left, left + width})
}

// Frame copies one frame of [channels, frames, height, width].
func (t Tensor) Frame(i int) Tensor {
	out := New(t.Channels(), t.Height(), t.Width())
	n := t.Height() * t.Width()
	for c := range t.Channels() {
		copy(out.Data[c*n:][:n], t.Data[(c*t.Shape[1]+i)*n:])
	}
	return out
}

// PadEdge repeats the last row and the last column until both sides are multiples
// of n.
func (t Tensor) PadEdge(n int) Tensor {
	height, width := t.Height(), t.Width()
	up := func(side int) int { return (side + n - 1) / n * n }
	if up(height) == height && up(width) == width {
		return t
	}
	out := t.sized(up(height), up(width))
	for c := range t.planes() {
		for y := range out.Height() {
			for x := range out.Width() {
				out.Data[(c*out.Height()+y)*out.Width()+x] = t.Data[(c*height+min(y, height-1))*width+min(x, width-1)]
			}
		}
	}
	return out
}

// PixelUnshuffle puts squares of n·n pixels of [C, H, W] into channels,
// [C·n·n, H/n, W/n], as PyTorch's function of that name. The sides are multiples of
// n.
func (t Tensor) PixelUnshuffle(n int) Tensor {
	if n == 1 {
		return t
	}
	height, width := t.Height(), t.Width()
	out := New(t.Channels()*n*n, height/n, width/n)
	for c := range out.Channels() {
		dy, dx := c%(n*n)/n, c%n
		for y := range out.Height() {
			for x := range out.Width() {
				out.Data[(c*out.Height()+y)*out.Width()+x] = t.Data[(c/(n*n)*height+y*n+dy)*width+x*n+dx]
			}
		}
	}
	return out
}
