package sampler

import (
	"context"
	"fmt"
	"math"
)

// ODE integrates the probability-flow ODE (Song et al. 2021, section 4.3,
// arXiv:2011.13456) with the adaptive Runge–Kutta method of Dormand and Prince
// of order 5(4) in u = log(sigma), in which it is dx/du = x - D. Of the sigmas it
// uses the first and the last above 0, from where a last step leads to 0 if the
// sigmas end there. The tolerances are RTol and ATol, usually 1e-3. Six
// evaluations a step.
func ODE(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	l, err := begin(ctx, denoise, x, sigmas, noise, o, false)
	if err != nil {
		return err
	}
	tStart, tEnd, ok := span(sigmas)
	if !ok {
		return Euler(ctx, denoise, x, sigmas, noise, o)
	}
	l.n = 0 // the number of steps is not known
	s := newDormandPrince(l)
	u, uEnd, h := -tStart, -tEnd, -0.1
	if err := s.slope(0, s.k[0], x, u); err != nil {
		return err
	}
	steps := 0
	for tries := 0; u > uEnd; tries++ {
		if tries > maxAdaptive || !(u+h < u) {
			return fmt.Errorf("at sigma %.4g after %d steps: %w", math.Exp(u), steps, ErrStuck)
		}
		h = max(h, uEnd-u)
		if err := s.step(steps, u, h); err != nil {
			return err
		}
		e := s.error(&o, h)
		if e <= 1 {
			copy(x, s.high)
			s.k[0], s.k[6] = s.k[6], s.k[0] // the last slope is the next first
			from := u
			if u += h; h == uEnd-from {
				u = uEnd
			}
			steps++
			if err := s.report(steps, from, u); err != nil {
				return err
			}
		}
		h *= min(max(0.9*math.Pow(max(e, 1e-10), -0.2), 0.2), 10)
	}
	if sigmas[len(sigmas)-1] > 0 {
		return nil
	}
	sum2(x, 1, x, -1, s.k[0])
	return s.report(steps+1, uEnd, math.Inf(-1))
}

// dormandPrince is the method's workspace.
type dormandPrince struct {
	*loop
	k       [7][]float32 // slopes
	u, high []float32
}

func newDormandPrince(l *loop) *dormandPrince {
	s := &dormandPrince{loop: l, u: l.slice(), high: l.slice()}
	for i := range s.k {
		s.k[i] = l.slice()
	}
	return s
}

// The coefficients of Dormand and Prince 1980.
var (
	dpNodes  = [7]float64{0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1}
	dpMatrix = [7][6]float64{
		{},
		{1.0 / 5},
		{3.0 / 40, 9.0 / 40},
		{44.0 / 45, -56.0 / 15, 32.0 / 9},
		{19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
		{9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
		{35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84},
	}
	// dpError is the difference of the fifth and the fourth order's weights.
	dpError = [7]float64{71.0 / 57600, 0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40}
)

// slope writes dx/du at log noise level u.
func (s *dormandPrince) slope(step int, dst, x []float32, u float64) error {
	if err := s.denoise(step, dst, x, math.Exp(u)); err != nil {
		return err
	}
	sum2(dst, -1, dst, 1, x)
	return nil
}

// step takes a step into s.high, with the slope at its end in s.k[6].
func (s *dormandPrince) step(step int, u, h float64) error {
	for i := 1; i < 7; i++ {
		at := s.u
		if i == 6 {
			at = s.high
		}
		copy(at, s.x)
		for j := range i {
			if a := dpMatrix[i][j]; a != 0 {
				add(at, h*a, s.k[j])
			}
		}
		if err := s.slope(step, s.k[i], at, u+dpNodes[i]*h); err != nil {
			return err
		}
	}
	return nil
}

// error is the root mean square of the estimated error in units of tolerance.
func (s *dormandPrince) error(o *Options, h float64) float64 {
	n, w := len(s.x), &dpError
	high, k0, k2, k3, k4, k5, k6 := s.high[:n], s.k[0][:n], s.k[2][:n], s.k[3][:n], s.k[4][:n], s.k[5][:n], s.k[6][:n]
	var sum float64
	for i, v := range s.x {
		e := w[0]*float64(k0[i]) + w[2]*float64(k2[i]) + w[3]*float64(k3[i])
		e += w[4]*float64(k4[i]) + w[5]*float64(k5[i]) + w[6]*float64(k6[i]) // w[1] is 0
		e *= h / (o.ATol + o.RTol*max(math.Abs(float64(v)), math.Abs(float64(high[i]))))
		sum += e * e
	}
	return math.Sqrt(sum / float64(n))
}

// report calls OnStep. The clean sample follows from the slope at the beginning
// of the next step: D = x - dx/du.
func (s *dormandPrince) report(step int, from, to float64) error {
	if s.o.OnStep == nil {
		return nil
	}
	if math.IsInf(to, -1) {
		copy(s.u, s.x)
	} else {
		sum2(s.u, 1, s.x, -1, s.k[0])
	}
	return s.o.OnStep(Step{Index: step, Sigma: math.Exp(from), SigmaNext: math.Exp(to), X: s.x, Denoised: s.u})
}
