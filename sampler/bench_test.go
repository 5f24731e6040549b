package sampler

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// unetStep is what the UNet of Stable Diffusion 1.5 takes for a step of 512x512
// pixels with guidance, two threads on the machine of docs/performance.md.
const unetStep = 2826 * time.Millisecond

// halving is a model that costs next to nothing, and whose ODE the adaptive
// samplers take some steps for.
func halving(_ context.Context, dst, x []float32, _ float64) error {
	sum2(dst, 0.5, x, 0, x)
	return nil
}

// steps runs a sampler on a latent of 512x512 pixels until it has made n steps.
func (s *Sampler) steps(t testing.TB, n int) {
	sigmas := karras(t, min(max(n, 1), 50))
	noise, o := NewTorch(1), s.Options
	if s.Name == "dpm_adaptive" || s.Name == "ode" {
		o.RTol, o.ATol = 1e-6, 1e-6
	}
	x := make([]float32, 4*64*64)
	done := 0
	o.OnStep = func(Step) error { done++; return nil }
	for done < n {
		initialNoise(x, nil, sigmas[0], noise)
		require.NoError(t, s.Sample(t.Context(), halving, x, sigmas, noise, o))
	}
}

// BenchmarkStep measures a step of each sampler without its model: that it is
// below 1 % of the UNet's time, and that allocations, which happen once a run,
// come to less than one a step.
func BenchmarkStep(b *testing.B) {
	for _, s := range Samplers() {
		b.Run(s.Name, func(b *testing.B) {
			b.ReportAllocs()
			s.steps(b, b.N)
			share := 100 * float64(b.Elapsed()) / float64(b.N) / float64(unetStep)
			b.ReportMetric(share, "%UNet")
			if b.N >= 10 && !(share < 1) {
				b.Errorf("%.2f %% of the UNet's time, must be less than 1 %%", share)
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
