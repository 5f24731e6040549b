package pipeline

import (
	"fmt"

	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// Output is what a family draws, and how fast it is played.
type Output struct {
	Kind Kind
	Rate float64 // frames or samples a second; 0 of pictures
}

// Kind is what an autoencoder decodes to.
type Kind int

// The kinds, with the shapes of what is decoded, in [-1, 1].
const (
	Pictures Kind = iota // [3, height, width]
	Videos               // [3, frames, height, width]
	Sounds               // [channels, samples]
)

// image is what was decoded.
func (o Output) image(x tensor.Tensor) (request.Image, error) {
	axes := map[Kind]int{Pictures: 3, Videos: 4, Sounds: 2}[o.Kind]
	if len(x.Shape) != axes || o.Kind != Sounds && x.Channels() != 3 {
		return request.Image{}, fmt.Errorf("the autoencoder gave the shape %v, which is none of the family's output", x.Shape)
	}
	switch o.Kind {
	case Videos:
		v := &request.Video{Rate: o.Rate}
		for i := range x.Shape[1] {
			v.Frames = append(v.Frames, x.Frame(i).Image())
		}
		if len(v.Frames) == 0 {
			return request.Image{}, fmt.Errorf("the autoencoder gave no frames")
		}
		return request.Image{Image: v.Frames[0], Video: v}, nil
	case Sounds:
		s := &request.Sound{Rate: int(o.Rate)}
		n := x.Shape[1]
		for c := range x.Channels() {
			s.Channels = append(s.Channels, x.Data[c*n:][:n:n])
		}
		return request.Image{Sound: s}, nil
	}
	return request.Image{Image: x.Image()}, nil
}
