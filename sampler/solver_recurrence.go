package sampler

import (
	"context"
	"errors"
)

// Recurrence makes each step of a sampler several times, but the last, going back to its
// beginning with fresh noise in between (self-recurrence of universal guidance, Bansal et
// al. 2023, arXiv:2302.07121, algorithm 1; time travel of FreeDoM, Yu et al. 2023,
// arXiv:2303.09833). The sampler sees one step at a time: those that remember earlier steps
// become methods of first order. times 1 is the sampler itself. It is for diffusions, not
// for flows. OnStep is called after the last time of each step.
func Recurrence(sampler Func, times int) Func {
	if times <= 1 {
		return sampler
	}
	return func(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
		if o.Process != nil && o.Process.kind == KindFlow {
			return errors.New("recurrence is for diffusions, and this is a flow")
		}
		l, err := begin(ctx, denoise, x, sigmas, noise, o, true)
		if err != nil {
			return err
		}
		of, denoised := l.n, l.slice()
		for i := range of {
			sigma, next := sigmas[i], sigmas[i+1]
			one := o
			one.OnStep = func(s Step) error {
				copy(denoised, s.Denoised)
				return nil
			}
			for k := range times {
				if err := sampler(ctx, denoise, x, sigmas[i:i+2], noise, one); err != nil {
					return err
				}
				if next == 0 {
					break
				}
				if k+1 < times {
					l.addNoise(x, noiseBetween(next, sigma), next, sigma)
				}
			}
			if err := l.done(i, denoised); err != nil {
				return err
			}
		}
		return nil
	}
}
