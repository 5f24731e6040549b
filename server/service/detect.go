package service

import (
	"image"

	"github.com/sdgo/sdgo/sd/preprocess"
)

// Detect makes the picture that a ControlNet is given out of another one, by a preprocessor
// with its parameters, such as "canny:low=50:resolution=512". It is no network's work, and
// is done here, of few pictures at once.
func (s *Service) Detect(img image.Image, preprocessor string) (*image.NRGBA, error) {
	p, err := preprocess.Parse(preprocessor)
	if err != nil {
		return nil, wrong("preprocessor", "%v", err)
	}
	defer s.Inputs.Gate.Enter()()
	out, err := p.Apply(img, 0)
	if err != nil {
		return nil, wrong("preprocessor", "%v", err)
	}
	return out, nil
}
