package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Model is the bare net: for x, already scaled to what the net was trained
// on, and a timestep t, which may be fractional, it writes its raw prediction
// to dst. Slices are as in [Denoiser].
type Model func(ctx context.Context, dst, x []float32, t float64) error

// A BatchModel is a bare net that answers for several conditions at once: it
// writes one prediction to each slice of dst, and leaves out those that are
// nil. Otherwise as [Model].
type BatchModel func(ctx context.Context, dst [][]float32, x []float32, t float64) error

// Prediction is what a net predicts about a noisy sample, whose clean sample is
// x0 and whose noise is eps.
type Prediction string

// The predictions.
const (
	PredictEpsilon Prediction = "epsilon" // eps (Ho et al. 2020)
	PredictV       Prediction = "v"       // (eps - sigma·x0)/sqrt(sigma²+1) (Salimans and Ho 2022)
	PredictSample  Prediction = "sample"  // x0
	PredictEDM     Prediction = "edm"     // the net F of Karras et al. 2022, equation 7
	PredictScore   Prediction = "score"   // -eps/sigma (Song et al. 2021)
	PredictFlow    Prediction = "flow"    // the velocity eps - x0 of a flow (Liu et al. 2022)

	PredictScaledScore Prediction = "scaled_score" // -eps: sigma times the score, as VE nets have it before they divide
	PredictConsistency Prediction = "consistency"  // F of a consistency model (Song et al. 2023, equation 5 and appendix C)
)

// Check returns an error for an unknown prediction.
func (p Prediction) Check() error {
	known := []string{"epsilon", "v", "sample", "edm", "score", "flow", "scaled_score", "consistency"}
	if slices.Contains(known, string(p)) {
		return nil
	}
	last := len(known) - 1
	return fmt.Errorf("prediction must be %s or %s, got %q", strings.Join(known[:last], ", "), known[last], string(p))
}

// Preconditioning is a process with what nets of it predict: all that turns
// the bare net F into a denoiser,
//
//	D(x, sigma) = cSkip·x + cOut·F(cIn·x, t),
//
// after table 1 of Karras et al. 2022 and k-diffusion's wrappers. [Precondition]
// makes it.
type Preconditioning struct {
	process    *Process
	prediction Prediction
}

// Precondition pairs a process with a prediction. The error says which
// predictions belong to the process: epsilon, v and sample to KindVP, epsilon to
// KindSubVP, edm, v and consistency to KindEDM, score, scaled_score and epsilon
// to KindVE, flow and sample to KindFlow.
func Precondition(process *Process, prediction Prediction) (*Preconditioning, error) {
	if process == nil {
		return nil, errors.New("a prediction must have a process, got nil")
	}
	if err := prediction.Check(); err != nil {
		return nil, err
	}
	if !process.kind.takes(prediction) {
		var names []string
		for _, p := range process.kind.predictions() {
			names = append(names, string(p))
		}
		return nil, fmt.Errorf("prediction of a process of kind %s must be %s, got %s", process.kind, strings.Join(names, " or "), prediction)
	}
	return &Preconditioning{process, prediction}, nil
}

// Process is the process of the pair.
func (p *Preconditioning) Process() *Process { return p.process }

// Prediction is the prediction of the pair.
func (p *Preconditioning) Prediction() Prediction { return p.prediction }

// Scalings returns the coefficients at a noise level above 0.
func (p *Preconditioning) Scalings(sigma float64) (cSkip, cOut, cIn float64) {
	data := p.process.sigmaData
	s2, d2 := sigma*sigma, data*data
	cIn = p.process.Scale(sigma)
	if p.process.kind == KindEDM {
		cIn = 1 / math.Sqrt(s2+d2)
	}
	switch p.prediction {
	case PredictV:
		return d2 / (s2 + d2), -sigma * data * cIn, cIn
	case PredictEDM:
		return d2 / (s2 + d2), sigma * data * cIn, cIn
	case PredictConsistency: // the identity at the lowest noise level
		above := sigma - p.process.SigmaMin()
		return d2 / (above*above + d2), above * data * cIn, cIn
	case PredictSample:
		return 0, 1, cIn
	case PredictScore:
		return 1, s2, cIn
	case PredictScaledScore:
		return 1, sigma, cIn
	default: // epsilon, and the velocity of a flow
		return 1, -sigma, cIn
	}
}

// Target writes to dst what a perfect net would predict for the noisy sample x
// of a clean sample x0: what training compares a net with. dst may be x0 or x.
func (p *Preconditioning) Target(dst, x0, x []float32, sigma float64) {
	cSkip, cOut, _ := p.Scalings(sigma)
	sum2(dst, 1/cOut, x0, -cSkip/cOut, x)
}

// Denoiser makes a denoiser of a net. It reuses a scratch slice: two goroutines
// need two denoisers.
func (p *Preconditioning) Denoiser(model Model) Denoiser {
	var scaled []float32
	return func(ctx context.Context, dst, x []float32, sigma float64) error {
		cSkip, cOut, cIn := p.Scalings(sigma)
		scaled = scaleInto(scaled, x, cIn)
		if err := model(ctx, dst, scaled, p.process.NetTime(sigma)); err != nil {
			return err
		}
		sum2(dst, cOut, dst, cSkip, x)
		return nil
	}
}

// BatchDenoiser is Denoiser for a net that answers for several conditions.
func (p *Preconditioning) BatchDenoiser(model BatchModel) BatchDenoiser {
	var scaled []float32
	return func(ctx context.Context, dst [][]float32, x []float32, sigma float64) error {
		cSkip, cOut, cIn := p.Scalings(sigma)
		scaled = scaleInto(scaled, x, cIn)
		if err := model(ctx, dst, scaled, p.process.NetTime(sigma)); err != nil {
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

// grow returns s with length n, in new memory if it is too short.
func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}
