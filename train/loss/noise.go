package loss

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/train/random"
)

// Times are distributions of the times that training draws.
const (
	Uniform     = "uniform"      // the levels of the process, all as often (Ho et al. 2020)
	LogNormal   = "log_normal"   // ln(sigma) is normal (Karras et al. 2022, section 5)
	LogitNormal = "logit_normal" // of a flow: sigma = 1/(1+exp(-u)) with normal u (Esser et al. 2024, arXiv:2403.03206)
)

// TimesNames are the distributions.
func TimesNames() []string { return []string{Uniform, LogNormal, LogitNormal} }

// Options say how noise is added.
type Options struct {
	Process    *sampler.Process
	Prediction sampler.Prediction

	// Times is one of TimesNames, "" the process's usual one. Mean and Deviation are those
	// of LogNormal and LogitNormal; with Deviation 0 they are the published ones: -1.2 and
	// 1.2, 0 and 1.
	Times           string
	Mean, Deviation float64

	// Gamma, above 0, is min-SNR's: the usual 5.
	Gamma float64

	// NoiseOffset adds to all pixels of a channel the same noise, of this deviation
	// (Guttenberg 2023), so that pictures may become darker or lighter as a whole. 0 to 1.
	NoiseOffset float64
}

// Noiser makes noisy samples.
type Noiser struct {
	o    Options
	pair *sampler.Preconditioning
}

// NewNoiser checks the options.
func NewNoiser(o Options) (*Noiser, error) {
	pair, err := sampler.Precondition(o.Process, o.Prediction)
	if err != nil {
		return nil, err
	}
	kind := o.Process.Kind()
	if o.Times == "" {
		o.Times = map[sampler.ProcessKind]string{sampler.KindEDM: LogNormal, sampler.KindFlow: LogitNormal}[kind]
	}
	if o.Times == "" {
		o.Times = Uniform
	}
	if o.Deviation == 0 && o.Times == LogNormal {
		o.Mean, o.Deviation = -1.2, 1.2
	} else if o.Deviation == 0 {
		o.Mean, o.Deviation = 0, 1
	}
	switch {
	case !slices.Contains(TimesNames(), o.Times):
		err = fmt.Errorf("times must be %s, got %.40q", strings.Join(TimesNames(), " or "), o.Times)
	case (o.Times == LogitNormal) != (kind == sampler.KindFlow) && o.Times != Uniform:
		err = fmt.Errorf("times %s do not go with a process of kind %s", o.Times, kind)
	case !(o.Deviation > 0 && o.Deviation < 100) || !(math.Abs(o.Mean) < 100):
		err = fmt.Errorf("the times' mean must be -100 to 100 and their deviation above 0 to 100, got %g and %g", o.Mean, o.Deviation)
	case !(o.Gamma >= 0 && o.Gamma < 1e6):
		err = fmt.Errorf("min-SNR's gamma must be 0 or more, got %g", o.Gamma)
	case o.Gamma > 0 && kind == sampler.KindFlow:
		err = errors.New("min-SNR is for diffusions, not for flows")
	case !(o.NoiseOffset >= 0 && o.NoiseOffset <= 1):
		err = fmt.Errorf("the noise offset must be 0 to 1, got %g", o.NoiseOffset)
	}
	return &Noiser{o, pair}, err
}

// Sigma draws a level of noise.
func (n *Noiser) Sigma(s *random.Source) float64 {
	switch n.o.Times {
	case LogNormal:
		return math.Exp(n.o.Mean + n.o.Deviation*s.NormFloat64())
	case LogitNormal:
		return 1 / (1 + math.Exp(-n.o.Mean-n.o.Deviation*s.NormFloat64()))
	}
	levels := n.o.Process.Levels()
	return levels[s.IntN(len(levels))]
}

// Noise draws the noise of a sample of channels times some pixels.
func (n *Noiser) Noise(eps []float32, channels int, s *random.Source) {
	s.Normal(eps)
	if n.o.NoiseOffset == 0 {
		return
	}
	size := len(eps) / channels
	for c := range channels {
		offset := float32(n.o.NoiseOffset * s.NormFloat64())
		for i := c * size; i < (c+1)*size; i++ {
			eps[i] += offset
		}
	}
}

// Time is what the network is given for a level of noise.
func (n *Noiser) Time(sigma float64) float64 { return n.o.Process.NetTime(sigma) }

// Mix writes to x what the network sees of a clean sample x0 with noise eps, and to target
// what it should predict. The slices have one length and do not overlap.
func (n *Noiser) Mix(x, target, x0, eps []float32, sigma float64) error {
	if len(target) != len(x) || len(x0) != len(x) || len(eps) != len(x) {
		return fmt.Errorf("a sample, its target and its noise must have %d elements, got %d, %d and %d", len(x), len(x0), len(target), len(eps))
	}
	_, _, in := n.pair.Scalings(sigma)
	alpha := n.o.Process.Alpha(sigma)
	a, b, err := n.parts(sigma)
	if err != nil {
		return err
	}
	for i, v := range x0 {
		clean, noise := float64(v), float64(eps[i])
		x[i] = float32(in * (alpha*clean + sigma*noise))
		target[i] = float32(a*clean + b*noise)
	}
	return nil
}

// parts are the factors of the clean sample and of the noise in the target. They follow
// from x0 = cSkip·x + cOut·target with x = alpha·x0 + sigma·eps, without the differences of
// nearly equal numbers at low levels of noise.
func (n *Noiser) parts(sigma float64) (ofClean, ofNoise float64, err error) {
	switch n.o.Prediction {
	case sampler.PredictEpsilon:
		return 0, 1, nil
	case sampler.PredictScaledScore:
		return 0, -1, nil
	case sampler.PredictScore:
		return 0, -1 / sigma, nil
	case sampler.PredictSample:
		return 1, 0, nil
	case sampler.PredictFlow:
		return -1, 1, nil
	}
	if n.o.Prediction == sampler.PredictConsistency {
		return 0, 0, errors.New("consistency models are not trained on targets")
	}
	// v and EDM's F: (x0 - cSkip·(x0 + sigma·eps)) / cOut
	skip, out, _ := n.pair.Scalings(sigma)
	return (1 - skip) / out, -skip * sigma / out, nil
}

// Weight is what the loss at a level of noise counts: 1, or with gamma above 0 min-SNR's
// min(SNR, gamma) of x0, in terms of what the network predicts.
func (n *Noiser) Weight(sigma float64) float64 {
	if n.o.Gamma == 0 {
		return 1
	}
	// An error of the prediction is 1/|cOut| times that of x0.
	_, out, _ := n.pair.Scalings(sigma)
	snr := 1 / (sigma * sigma)
	return min(snr, n.o.Gamma) * out * out
}
