package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// A LossFunc is a loss of a clean sample x0, such as a negative log-likelihood: it returns
// the value and writes the gradient by x0 to grad, which is as long. It must not change x0.
type LossFunc func(ctx context.Context, grad, x0 []float32) (float64, error)

// A Measurement is what is known of a clean sample, y = A·x0 + noise, where A·Aᵀ = Gain·I: a part
// of the elements (Gain 1), means of n elements each (Gain 1/n).
type Measurement struct {
	Apply     func(y, x0 []float32) // y = A·x0
	Transpose func(x0, y []float32) // x0 = Aᵀ·y
	Y         []float32             // what was measured
	Gain      float64

	// Spread is how many times as large as the elements' variance that of A·x0 is taken to
	// be by methods that know nothing else of it: Gain where elements are independent, 1 for
	// means of elements that are alike. 0 is Gain.
	Spread float64
}

func (m *Measurement) spread() float64 {
	if m.Spread > 0 {
		return m.Spread
	}
	return m.Gain
}

// A Guide is what a loss guides towards: one of the two.
type Guide struct {
	Loss   LossFunc
	Linear *Measurement
}

// A Pullback writes to dst the product of v and the derivative of a denoiser's prediction
// by the noisy sample x: (dD/dx)ᵀ·v, a vector-Jacobian product.
type Pullback func(ctx context.Context, dst, v, x []float32, sigma float64) error

// LossModel is the model in one run, as guidance by losses sees it.
type LossModel struct {
	Denoise Denoiser
	// Pullback is Denoise's; nil where there is none, for which only methods without
	// LossMethod.Backward are.
	Pullback Pullback
	// Sigmas are the run's noise levels.
	Sigmas Sigmas
	// Noise is what the method lgd draws from: not the sampler's, whose numbers must not
	// depend on guidance.
	Noise Noise
	// Variance is the sampler's [Sampler.Variance], for the published step of dps.
	Variance StepVariance
	// Decode and DecodePullback, if not nil, are how the guides see a clean sample: as
	// what it is decoded to. DecodePullback writes to dst the product of v and the
	// derivative of what x0 is decoded to by x0.
	Decode         func(ctx context.Context, x0 []float32) ([]float32, error)
	DecodePullback func(ctx context.Context, dst, v, x0 []float32) error
}

// LossGuidance is a method of guidance by losses with its numbers. [LossMethod.With] makes
// it.
type LossGuidance struct {
	Method     LossMethod
	Parameters map[string]float64 // a value for each of Method.Parameters
}

// Recurrence is how often each step is made: see [Recurrence].
func (g LossGuidance) Recurrence() int { return max(1, int(g.Parameters["recurrence"])) }

// Denoiser makes the denoiser of one run that the guides guide. It has memory of its own.
//
// With v the gradient of the guides by the clean sample, at or around the prediction D, it is
//
//	D' = D - scale·sigma²·(dD/dx)ᵀ·v
//
// which is exact where v is the gradient of -log p(y | x). The methods differ in v; without
// a backward pass sigma²·dD/dx is taken for r², the variance of x0 given x.
func (g LossGuidance) Denoiser(m LossModel, guides ...Guide) (Denoiser, error) {
	if g.Method.direction == nil {
		return nil, errors.New("guidance must be made by LossMethod.With")
	}
	if _, err := g.Method.With(g.Parameters); err != nil {
		return nil, err
	}
	switch {
	case m.Denoise == nil || len(guides) == 0:
		return nil, fmt.Errorf("guidance %s must have a model and something to guide towards", g.Method.Name)
	case m.Pullback == nil && g.Method.Backward:
		return nil, fmt.Errorf("guidance %s must have the derivative of the model; mpgd needs none", g.Method.Name)
	case m.Noise == nil && g.Method.Name == "lgd":
		return nil, fmt.Errorf("guidance %s must have noise", g.Method.Name)
	}
	for _, one := range guides {
		if (one.Loss == nil) == (one.Linear == nil) {
			return nil, errors.New("a guide must have a loss or a linear measurement, one of them")
		}
		if one.Linear == nil && g.Method.LinearOnly {
			return nil, fmt.Errorf("guidance %s is for linear measurements; lgd, dps, universal and mpgd take any loss", g.Method.Name)
		}
	}
	if err := m.Sigmas.Check(); err != nil {
		return nil, err
	}
	l := &lossRun{m: m, p: g.Parameters, guides: guides, method: g.Method}
	n := float64(len(m.Sigmas) - 1)
	l.from, l.to = int(g.Parameters["start"]*n), int(g.Parameters["stop"]*n)
	return l.denoise, nil
}

// lossRun guides one run.
type lossRun struct {
	m        LossModel
	p        map[string]float64
	guides   []Guide
	method   LossMethod
	from, to int // steps

	v, pulled, sample, grad, eps []float32
	moved                        []float32
}

// radius is r, the standard deviation of x0 given x where x0 is normal.
func (l *lossRun) radius(sigma float64) float64 {
	s := l.p["deviation"]
	return s * sigma / math.Sqrt(s*s+sigma*sigma)
}

// acts reports whether the step at a noise level is one that is guided.
func (l *lossRun) acts(sigma float64) bool {
	step := 0
	for step < len(l.m.Sigmas)-2 && l.m.Sigmas[step+1] >= sigma*(1-rounding) {
		step++
	}
	return step >= l.from && step < l.to
}

func (l *lossRun) denoise(ctx context.Context, dst, x []float32, sigma float64) error {
	if err := l.m.Denoise(ctx, dst, x, sigma); err != nil || !l.acts(sigma) {
		return err
	}
	l.v, l.pulled, l.moved = grow(l.v, len(x)), grow(l.pulled, len(x)), grow(l.moved, len(x))
	value, err := l.method.direction(l, ctx, l.v, dst, sigma)
	if err != nil {
		return err
	}
	if k := nonFinite(l.v); k >= 0 || math.IsNaN(value) {
		return fmt.Errorf("the gradient of a guide must be finite, got %v at element %d", l.v[max(k, 0)], max(k, 0))
	}
	copy(l.moved, dst)
	shift := l.pulled
	weight := l.p["scale"] * sigma * sigma
	if !l.method.Backward {
		r := l.radius(sigma)
		shift, weight = l.v, l.p["scale"]*r*r
	} else if err := l.m.Pullback(ctx, l.pulled, l.v, x, sigma); err != nil {
		return err
	} else if l.method.moments {
		weight *= l.moments(value, sigma)
	} else if zeta := l.p["zeta"]; zeta > 0 {
		weight = zeta * l.p["noise"] * l.published(sigma) / math.Sqrt(2*max(value, 1e-30))
	}
	add(l.moved, -weight, shift)
	for range int(l.p["inner"]) {
		if _, err := l.method.direction(l, ctx, l.v, l.moved, sigma); err != nil {
			return err
		}
		r := l.radius(sigma)
		add(l.moved, -l.p["rate"]*r*r, l.v)
	}
	copy(dst, l.moved)
	return nil
}

// moments is the weight of the residual's direction where the prediction is the mean of a
// normal distribution with the covariance C = sigma²·dD/dx: that of the first step of
// conjugate gradients for (noise² + A·C·Aᵀ)·w = residual.
func (l *lossRun) moments(value, sigma float64) float64 {
	noise, r := l.p["noise"], l.radius(sigma)
	squares := 2 * value
	covariance := max(sigma*sigma*dot(l.v, l.pulled), 1e-3*r*r*dot(l.v, l.v)) // a network's may be no covariance
	if squares == 0 {
		return 0
	}
	return squares / (noise*noise*squares + covariance)
}

// published is what a prediction moves by where the next sample moves by 1 along the
// gradient at the sample of a process that keeps the variance at 1, which is how Chung et
// al. 2023 (arXiv:2209.14687, algorithm 1) have it.
func (l *lossRun) published(sigma float64) float64 {
	next := l.m.Sigmas.after(sigma)
	r := next / sigma
	if l.m.Variance != "" { // ancestral steps
		r *= r
	}
	return math.Sqrt((1+next*next)*(1+sigma*sigma)) / (1 - r)
}

// around is the direction of the guides at a clean sample: v is the sum of their
// gradients, whose linear ones are weighed by weight.
func (l *lossRun) around(ctx context.Context, v, x0 []float32, weight func(*Measurement) float64) (value float64, err error) {
	seen := x0
	if l.m.Decode != nil {
		if seen, err = l.m.Decode(ctx, x0); err != nil {
			return 0, err
		}
	}
	l.grad = grow(l.grad, len(seen))
	total := make([]float32, len(seen))
	for _, g := range l.guides {
		if g.Linear == nil {
			one, err := g.Loss(ctx, l.grad, seen)
			if err != nil {
				return 0, err
			}
			value += one
			add(total, 1, l.grad)
			continue
		}
		rest := g.Linear.residual(seen)
		w := weight(g.Linear)
		value += w / 2 * dot(rest, rest)
		g.Linear.Transpose(l.grad, rest)
		add(total, w, l.grad)
	}
	return value, l.undecode(ctx, v, total, x0)
}

// undecode brings a direction from what the guides see to the sample's space.
func (l *lossRun) undecode(ctx context.Context, dst, v, x0 []float32) error {
	if l.m.Decode != nil {
		return l.m.DecodePullback(ctx, dst, v, x0)
	}
	copy(dst, v)
	return nil
}

// residual is A·x0 - y.
func (m *Measurement) residual(x0 []float32) []float32 {
	rest := make([]float32, len(m.Y))
	m.Apply(rest, x0)
	add(rest, -1, m.Y)
	return rest
}

// atPrediction takes the gradient at the prediction: dps, universal.
func atPrediction(l *lossRun, ctx context.Context, v, x0 []float32, _ float64) (float64, error) {
	noise := l.p["noise"]
	return l.around(ctx, v, x0, func(*Measurement) float64 { return 1 / (noise * noise) })
}

// residuals is the direction of the residuals, Aᵀ·(A·x0 - y), and half their squares.
func residuals(l *lossRun, ctx context.Context, v, x0 []float32, _ float64) (float64, error) {
	return l.around(ctx, v, x0, func(*Measurement) float64 { return 1 })
}

// projected is the gradient of a measurement of elements of the variance r² by themselves,
// without the model's derivative: mpgd. Other losses are taken at the prediction.
func projected(l *lossRun, ctx context.Context, v, x0 []float32, sigma float64) (float64, error) {
	noise, r := l.p["noise"], l.radius(sigma)
	return l.around(ctx, v, x0, func(m *Measurement) float64 { return m.spread() / m.Gain / (noise*noise + r*r*m.spread()) })
}

// closedCovariance takes the prediction for the mean of a normal distribution of the
// variance r², of which the measurement has a closed form: pigdm.
func closedCovariance(l *lossRun, ctx context.Context, v, x0 []float32, sigma float64) (float64, error) {
	noise, r := l.p["noise"], l.radius(sigma)
	return l.around(ctx, v, x0, func(m *Measurement) float64 { return 1 / (noise*noise + r*r*m.Gain) })
}

// monteCarlo is the gradient of -log mean exp(-loss) over samples of a normal distribution
// around the prediction: each sample's gradient is weighed by the softmax of the losses.
// With diagonal a linear measurement is weighed element by element, of which it is a product.
func monteCarlo(l *lossRun, ctx context.Context, v, x0 []float32, sigma float64) (float64, error) {
	n, r, noise := int(l.p["samples"]), l.radius(sigma), l.p["noise"]
	xs, seen := make([][]float32, n), make([][]float32, n)
	l.eps = grow(l.eps, len(x0))
	for i := range xs {
		l.m.Noise.Normal(l.eps)
		xs[i] = make([]float32, len(x0))
		sum2(xs[i], 1, x0, r, l.eps)
		seen[i] = xs[i]
		if l.m.Decode != nil {
			var err error
			if seen[i], err = l.m.Decode(ctx, xs[i]); err != nil {
				return 0, err
			}
		}
	}
	totals := make([][]float32, n) // of the samples, in what guides see
	for i := range totals {
		totals[i] = make([]float32, len(seen[i]))
	}
	value := 0.0
	for _, g := range l.guides {
		var one float64
		var err error
		if g.Linear != nil {
			one = g.Linear.monteCarlo(totals, seen, 1/(noise*noise), l.p["diagonal"] > 0)
		} else if one, err = lossOfSamples(ctx, g.Loss, totals, seen); err != nil {
			return 0, err
		}
		value += one
	}
	clear(v)
	l.sample = grow(l.sample, len(x0))
	for i, total := range totals {
		if err := l.undecode(ctx, l.sample, total, xs[i]); err != nil {
			return 0, err
		}
		add(v, 1, l.sample)
	}
	return value, nil
}

// lossOfSamples adds to totals the gradients of samples, weighed by the softmax of their
// losses.
func lossOfSamples(ctx context.Context, loss LossFunc, totals, seen [][]float32) (float64, error) {
	values, grads := make([]float64, len(seen)), make([][]float32, len(seen))
	for i, x := range seen {
		grads[i] = make([]float32, len(x))
		var err error
		if values[i], err = loss(ctx, grads[i], x); err != nil {
			return 0, err
		}
	}
	value := softmin(values)
	for i, g := range grads {
		add(totals[i], values[i], g)
	}
	return value, nil
}

// monteCarlo adds the same of a measurement, of the given precision.
func (m *Measurement) monteCarlo(totals, seen [][]float32, precision float64, diagonal bool) (value float64) {
	n := len(seen)
	rests, weights := make([][]float32, n), make([]float64, n)
	for i, x := range seen {
		rests[i] = m.residual(x)
		weights[i] = precision / 2 * dot(rests[i], rests[i])
	}
	if diagonal {
		for k := range m.Y {
			for i := range rests {
				d := float64(rests[i][k])
				weights[i] = precision / 2 * d * d
			}
			value += softmin(weights)
			for i := range rests {
				rests[i][k] *= float32(precision * weights[i])
			}
		}
	} else {
		value = softmin(weights)
		for i := range rests {
			multiply(rests[i], precision*weights[i])
		}
	}
	for i := range rests {
		part := make([]float32, len(totals[i]))
		m.Transpose(part, rests[i])
		add(totals[i], 1, part)
	}
	return value
}

// softmin replaces losses by their weights, softmax(-loss), and returns -log mean exp(-loss).
func softmin(losses []float64) float64 {
	least := math.Inf(1)
	for _, v := range losses {
		least = min(least, v)
	}
	if math.IsInf(least, 0) || math.IsNaN(least) {
		return math.NaN()
	}
	sum := 0.0
	for i, v := range losses {
		losses[i] = math.Exp(least - v)
		sum += losses[i]
	}
	for i := range losses {
		losses[i] /= sum
	}
	return least - math.Log(sum/float64(len(losses)))
}
