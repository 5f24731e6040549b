package sampler

import (
	"context"
	"testing"
)

// BenchmarkStep measures a step of each sampler on a latent of 512x512 pixels,
// without its model: time is to be far below a UNet's, and allocations, which
// happen once a run, come to less than one a step.
func BenchmarkStep(b *testing.B) {
	still := func(_ context.Context, dst, x []float32, _ float64) error {
		copy(dst, x)
		return nil
	}
	const steps = 50
	for _, s := range Samplers() {
		b.Run(s.Name, func(b *testing.B) {
			sigmas := karras(b, steps)
			noise := NewTorch(1)
			x := make([]float32, 4*64*64)
			b.ReportAllocs()
			// One operation is one step; runs begin anew after 50.
			done := 0
			o := s.Options
			o.OnStep = func(Step) error { done++; return nil }
			for done < b.N {
				Start(x, nil, sigmas[0], noise)
				if err := s.Sample(b.Context(), still, x, sigmas, noise, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBrownian(b *testing.B) {
	n := NewBrownian(1)
	x := make([]float32, 4*64*64)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n.Interval(x, 1+float64(i%10), 1+float64((i+1)%10))
	}
}
