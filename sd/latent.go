package sd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/sdgo/sdgo/sd/direction"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
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

// Direction is a direction of a UNet's deepest features: see [Request.Directions].
type Direction = direction.Direction

// OpenDirection reads a direction from a file that [Direction.Write] wrote.
func OpenDirection(path string) (*Direction, error) { return direction.Read(path) }

// FindDirection finds the direction from one request's pictures to another's: at each timestep
// the mean of the UNet's deepest features over the pictures of the second less that of the
// first. (The directions of Kwon et al. 2022, arXiv:2210.10960, are trained.) Both requests have
// one size, sampler, schedule and number of steps; with one picture each, the direction leads
// from the one to the other. Progress is told to the OnEvent of each.
func FindDirection(ctx context.Context, m *Model, name string, from, to Request) (*Direction, error) {
	drawings, release, err := m.acquire([]Request{from, to})
	if err != nil {
		return nil, err
	}
	defer release()
	if ctx == nil {
		return nil, engine.ErrNilContext
	}
	var means [2]map[float64][]float64
	for i, d := range drawings {
		if means[i], err = meanFeatures(ctx, m.pipeline, d); err != nil {
			return nil, err
		}
	}
	times := slices.SortedFunc(maps.Keys(means[0]), func(a, b float64) int { return cmp.Compare(b, a) })
	shape := pipeline.DeepestShape(m.pipeline, drawings[0])
	if !slices.Equal(shape, pipeline.DeepestShape(m.pipeline, drawings[1])) {
		return nil, errors.New("both requests must have one size")
	}
	var data []float32
	for _, t := range times {
		b, ok := means[1][t]
		if !ok || len(means[0]) != len(means[1]) {
			return nil, errors.New("both requests must have one sampler, schedule and number of steps")
		}
		for k, a := range means[0][t] {
			data = append(data, float32(b[k]-a))
		}
	}
	return direction.New(name, shape, times, data, map[string]string{
		"sdgo.from": from.Prompt, "sdgo.to": to.Prompt, "sdgo.model": m.Name(), "sdgo.pictures": strconv.Itoa(drawings[0].Count),
	})
}

// meanFeatures are the means over a drawing's pictures by timestep.
func meanFeatures(ctx context.Context, p *pipeline.Pipeline, d pipeline.Drawing) (map[float64][]float64, error) {
	sums, counts := map[float64][]float64{}, map[float64]float64{}
	err := pipeline.Deepest(ctx, p, d, func(_ int, t float64, h []float32) {
		if sums[t] == nil {
			sums[t] = make([]float64, len(h))
		}
		for i, v := range h {
			sums[t][i] += float64(v)
		}
		counts[t]++
	})
	for t, sum := range sums {
		for i := range sum {
			sum[i] /= counts[t]
		}
	}
	return sums, err
}
