package sampler

import (
	"context"
	"fmt"
	"math"
)

// A Model is the bare net: for x, already scaled to what the net was trained
// on, and a timestep t, which may be fractional, it writes its raw prediction
// to dst. Slices are as in [Denoiser].
type Model func(ctx context.Context, dst, x []float32, t float64) error

// A ModelPair evaluates the net for two conditions at once. cond or uncond is
// nil where that answer is not wanted.
type ModelPair func(ctx context.Context, cond, uncond, x []float32, t float64) error

// Prediction is what a net predicts about x = x0 + sigma·eps.
type Prediction string

// The predictions.
const (
	PredictEpsilon Prediction = "epsilon" // eps (Ho et al. 2020)
	PredictV       Prediction = "v"       // (eps - sigma·x0)/sqrt(sigma²+1) (Salimans and Ho 2022)
	PredictSample  Prediction = "sample"  // x0
	PredictEDM     Prediction = "edm"     // the preconditioned net of Karras et al. 2022
	PredictFlow    Prediction = "flow"    // eps - x0, where x = (1-sigma)·x0 + sigma·eps (Liu et al. 2022)
)

// Check returns an error for an unknown prediction.
func (p Prediction) Check() error {
	switch p {
	case PredictEpsilon, PredictV, PredictSample, PredictEDM, PredictFlow:
		return nil
	}
	return fmt.Errorf("prediction %q: epsilon, v, sample, edm or flow wanted", string(p))
}

// Scalings gives the coefficients with which the net F makes a denoiser,
//
//	D(x, sigma) = cSkip·x + cOut·F(cIn·x, t),
//
// after table 1 of Karras et al. 2022 and k-diffusion's external.py. sigmaData
// is the data's standard deviation, 1 for all but EDM models.
func (p Prediction) Scalings(sigma, sigmaData float64) (cSkip, cOut, cIn float64) {
	s2, d2 := sigma*sigma, sigmaData*sigmaData
	cIn = 1 / math.Sqrt(s2+d2)
	switch p {
	case PredictV:
		return d2 / (s2 + d2), -sigma * sigmaData * cIn, cIn
	case PredictEDM:
		return d2 / (s2 + d2), sigma * sigmaData * cIn, cIn
	case PredictSample:
		return 0, 1, cIn
	case PredictFlow:
		return 1, -sigma, 1
	default:
		return 1, -sigma, cIn
	}
}

// NewDenoiser makes a denoiser of a net. It reuses a scratch slice: two
// goroutines need two denoisers.
func NewDenoiser(p Prediction, process Process, model Model) Denoiser {
	return EDMDenoiser(p, process, 1, model)
}

// EDMDenoiser is [NewDenoiser] for data of another standard deviation than 1.
func EDMDenoiser(p Prediction, process Process, sigmaData float64, model Model) Denoiser {
	var scaled []float32
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		cSkip, cOut, cIn := p.Scalings(sigma, sigmaData)
		scaled = scaleInto(scaled, x, cIn)
		if err := model(ctx, dst, scaled, process.SigmaToT(sigma)); err != nil {
			return err
		}
		sum2(dst, cOut, dst, cSkip, x)
		return nil
	}
}

// NewPair makes a pair of denoisers, for guidance, of a net that answers for
// two conditions at once. It reuses a scratch slice like [NewDenoiser].
func NewPair(p Prediction, process Process, model ModelPair) Pair {
	var scaled []float32
	return func(ctx context.Context, cond, uncond, x []float32, sigma float64) error {
		cSkip, cOut, cIn := p.Scalings(sigma, 1)
		scaled = scaleInto(scaled, x, cIn)
		if err := model(ctx, cond, uncond, scaled, process.SigmaToT(sigma)); err != nil {
			return err
		}
		sum2(cond, cOut, cond, cSkip, x[:len(cond)])
		sum2(uncond, cOut, uncond, cSkip, x[:len(uncond)])
		return nil
	}
}

// A ModelMany evaluates the net for several conditions at once, one for each
// slice of dst.
type ModelMany func(ctx context.Context, dst [][]float32, x []float32, t float64) error

// NewMany is [NewPair] for any number of conditions.
func NewMany(p Prediction, process Process, model ModelMany) Many {
	var scaled []float32
	return func(ctx context.Context, dst [][]float32, x []float32, sigma float64) error {
		cSkip, cOut, cIn := p.Scalings(sigma, 1)
		scaled = scaleInto(scaled, x, cIn)
		if err := model(ctx, dst, scaled, process.SigmaToT(sigma)); err != nil {
			return err
		}
		for _, d := range dst {
			sum2(d, cOut, d, cSkip, x[:len(d)])
		}
		return nil
	}
}

// scaleInto writes a·x to dst, which it makes if it is too short.
func scaleInto(dst, x []float32, a float64) []float32 {
	dst = grow(dst, len(x))
	sum2(dst, a, x, 0, x)
	return dst
}

// grow gives s the length n, in new memory only if it has to.
func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}
