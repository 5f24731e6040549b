package sd

import (
	"fmt"
	"image"
	"math"
)

// Smoothness measures how evenly pictures change that are drawn at even distances between two
// latents, at least 3 of one size: mean is the mean distance of neighbours, as the root of the
// mean square of the differences of their channels, 0 to 255; deviation is the standard
// deviation of these distances, the ISTD of Smooth Diffusion (Guo et al. 2024,
// arXiv:2312.04410, there of one pair of latents as the mean over many). Lower is smoother.
func Smoothness(pictures []*image.NRGBA) (mean, deviation float64, err error) {
	if len(pictures) < 3 {
		return 0, 0, fmt.Errorf("there must be at least 3 pictures, got %d", len(pictures))
	}
	distances := make([]float64, len(pictures)-1)
	for i := range distances {
		a, b := pictures[i], pictures[i+1]
		if size := a.Rect.Size(); b.Rect.Size() != size || size.X < 1 || size.Y < 1 {
			return 0, 0, fmt.Errorf("pictures must have one size, got %v and %v", size, b.Rect.Size())
		}
		distances[i] = distance(a, b)
		mean += distances[i] / float64(len(distances))
	}
	for _, d := range distances {
		deviation += (d - mean) * (d - mean) / float64(len(distances))
	}
	return mean, math.Sqrt(deviation), nil
}

// distance is the root of the mean square of the differences of two pictures' channels.
func distance(a, b *image.NRGBA) float64 {
	sum, size := 0.0, a.Rect.Size()
	for y := range size.Y {
		p, q := a.Pix[y*a.Stride:], b.Pix[y*b.Stride:]
		for x := range size.X {
			for c := range 3 {
				d := float64(p[4*x+c]) - float64(q[4*x+c])
				sum += d * d
			}
		}
	}
	return math.Sqrt(sum / float64(3*size.X*size.Y))
}
