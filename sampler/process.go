package sampler

import (
	"fmt"
	"math"
	"slices"
)

// A ProcessKind says how a process mixes clean samples and noise, and with
// which scaling its nets see the mixture.
type ProcessKind string

// The kinds of processes.
const (
	// KindVP is a variance-preserving diffusion: DDPM, Stable Diffusion. Nets
	// see x/sqrt(1+sigma²).
	KindVP ProcessKind = "vp"
	// KindSubVP is the sub-variance-preserving diffusion of Song et al. 2021. Nets
	// see 2x/(sigma+sqrt(sigma²+4)).
	KindSubVP ProcessKind = "sub_vp"
	// KindVE is a variance-exploding diffusion (Song et al. 2021). Nets see x.
	KindVE ProcessKind = "ve"
	// KindEDM is the diffusion of Karras et al. 2022. Nets see
	// x/sqrt(sigmaData²+sigma²).
	KindEDM ProcessKind = "edm"
	// KindFlow is a rectified flow: Stable Diffusion 3, FLUX. Nets see x.
	KindFlow ProcessKind = "flow"
)

// describe names the kind in an error.
func (k ProcessKind) describe() string {
	switch k {
	case KindSubVP:
		return "a sub-variance-preserving diffusion"
	case KindVE:
		return "a variance-exploding diffusion"
	case KindEDM:
		return "a diffusion of Karras et al. (EDM)"
	case KindFlow:
		return "a flow-matching model"
	}
	return "a variance-preserving diffusion (Stable Diffusion)"
}

// A Process is how a model's training added noise: its noise levels sigma, the
// timestep that belongs to each, and how a clean sample and noise are mixed:
//
//	x = x0 + sigma·eps                in a diffusion, whatever its nets' scaling
//	x = (1-sigma)·x0 + sigma·eps      in a flow, where sigma is at most 1
//
// [Preconditioning] makes a [Denoiser] of a net that was trained with it. A
// Process does not change after it is made.
type Process struct {
	kind               ProcessKind
	levels             []float64
	sigmaData          float64
	alphas             AlphasCumprod // of a discrete process
	sigmaToT, tToSigma func(float64) float64
	netTime            func(sigma float64) float64 // nil is sigmaToT
	terminal           float64                     // see WithTerminal
}

// Kind is the kind of the process.
func (p *Process) Kind() ProcessKind { return p.kind }

// Levels are noise levels that the model was trained at, rising. A process in
// continuous time gives 1000, at even times. They must not be changed.
func (p *Process) Levels() []float64 { return p.levels }

// SigmaMin is the lowest noise level that the model was trained at.
func (p *Process) SigmaMin() float64 { return p.levels[0] }

// SigmaMax is the highest noise level that the model was trained at.
func (p *Process) SigmaMax() float64 { return p.levels[len(p.levels)-1] }

// SigmaToT is the timestep of a noise level. Discrete processes clamp it to the
// trained range; it may be fractional.
func (p *Process) SigmaToT(sigma float64) float64 { return p.sigmaToT(sigma) }

// TToSigma is the noise level at a time t of a schedule. It is the inverse of
// SigmaToT, except where a flow is shifted ([Flow]).
func (p *Process) TToSigma(t float64) float64 { return p.tToSigma(t) }

// NetTime is what the model's net is given for a noise level: SigmaToT, unless
// WithNetTime says otherwise.
func (p *Process) NetTime(sigma float64) float64 {
	if p.netTime != nil {
		return p.netTime(sigma)
	}
	return p.sigmaToT(sigma)
}

// WithNetTime is the process for nets that are given something other than its
// timesteps: 999·t in score_sde, sigma itself in diffusers' NCSN++, ln(sigma/2)
// in EDM's VE nets (table 1 of Karras et al. 2022: c_noise).
func (p *Process) WithNetTime(time func(sigma float64) float64) *Process {
	q := *p
	q.netTime = time
	return &q
}

// WithTerminal is the process of a flow whose schedule of even times, [Linear], is
// stretched so that its last noise level before 0 is this one (shift_terminal of
// the diffusers library: 0.02 in Qwen-Image). 0 is for none; a run of one step
// has none.
func (p *Process) WithTerminal(sigma float64) *Process {
	q := *p
	q.terminal = sigma
	return &q
}

// Scale leads from the notation of this package to that of the process's own
// papers, in which a sample at a noise level is x_t = Scale·x: sqrt(alphas_cumprod)
// in a DDPM. It is 1 where nothing of the clean sample is taken away.
func (p *Process) Scale(sigma float64) float64 {
	switch p.kind {
	case KindVP:
		return 1 / math.Sqrt(1+sigma*sigma)
	case KindSubVP:
		return 2 / (sigma + math.Sqrt(sigma*sigma+4))
	}
	return 1
}

// Alpha is the factor of the clean sample at a noise level, 0 or more:
// x = Alpha·x0 + sigma·eps. It is 1 in a diffusion and 1-sigma in a flow.
func (p *Process) Alpha(sigma float64) float64 {
	if p.kind == KindFlow {
		return max(1-sigma, 0)
	}
	return 1
}

// InitialNoise writes to x the sample that a run begins with at noise level
// sigma: the clean sample x0 (the latent of a picture; nil stands for zeros)
// mixed with noise. x0 is as long as x, and must not overlap it.
func (p *Process) InitialNoise(x, x0 []float32, sigma float64, noise Noise) {
	noise.Normal(x)
	multiply(x, sigma)
	if x0 != nil {
		add(x, p.Alpha(sigma), x0)
	}
}

// UnitNoise writes to x the noise that a run begins with whose samples have the
// variance 1 in the network's scale, whatever the noise level sigma: the diffusers
// library's DDPM and DDIM. At the highest levels it is [Process.InitialNoise].
func (p *Process) UnitNoise(x []float32, sigma float64, noise Noise) {
	noise.Normal(x)
	multiply(x, 1/p.Scale(sigma))
}

// AddNoise is the forward process q(x_t | x_0), in place: it turns a clean
// sample x into a noisy one.
func (p *Process) AddNoise(x []float32, sigma float64, noise Noise) {
	eps := make([]float32, len(x))
	noise.Normal(eps)
	if a := p.Alpha(sigma); a != 1 {
		multiply(x, a)
	}
	add(x, sigma, eps)
}

// NewDiscrete makes the process of a DDPM in discrete time (Ho et al. 2020,
// arXiv:2006.11239), from at least two numbers that fall strictly between 1
// and 0. Its timesteps are the integers from 0 to len(alphas)-1; between them log(sigma) is linear in
// t, as in k-diffusion's DiscreteSchedule.
func NewDiscrete(alphas AlphasCumprod) (*Process, error) {
	if len(alphas) < 2 {
		return nil, fmt.Errorf("alphas_cumprod must be at least 2 numbers, got %d", len(alphas))
	}
	sigmas, logs := make([]float64, len(alphas)), make([]float64, len(alphas))
	for i, a := range alphas {
		if !(a > 0 && a < 1) || i > 0 && !(a < alphas[i-1]) {
			return nil, fmt.Errorf("alphas_cumprod[%d] must be between 0 and 1 and less than the one before, got %g", i, a)
		}
		// k-diffusion keeps both tables in float32, and a model's timestep is
		// found from them.
		a32 := float32(a)
		sigmas[i] = float64(float32(math.Sqrt(float64((1 - a32) / a32))))
		logs[i] = math.Log(sigmas[i])
	}
	return &Process{
		kind: KindVP, levels: sigmas, sigmaData: 1, alphas: slices.Clone(alphas),
		sigmaToT: func(sigma float64) float64 { return inverse(logs, math.Log(sigma)) },
		tToSigma: func(t float64) float64 { return math.Exp(interpolate(logs, t)) },
	}, nil
}

// StableDiffusion is the process of Stable Diffusion 1.x, 2.x and SDXL.
func StableDiffusion() *Process {
	alphas, err := NewAlphasCumprod("scaled_linear", 0.00085, 0.012, 1000)
	if err != nil {
		panic(err) // constants
	}
	p, err := NewDiscrete(alphas)
	if err != nil {
		panic(err)
	}
	return p
}

// interpolate returns the value of a table at a fractional index, clamped.
func interpolate(table []float64, t float64) float64 {
	last := float64(len(table) - 1)
	if !(t > 0) {
		return table[0]
	}
	if t >= last {
		return table[len(table)-1]
	}
	i := int(t)
	w := t - float64(i)
	return (1-w)*table[i] + w*table[i+1]
}

// inverse returns the fractional index at which a rising table has a value,
// clamped.
func inverse(table []float64, v float64) float64 {
	lo, hi := 0, len(table)-1
	if !(v > table[lo]) {
		return 0
	}
	if v >= table[hi] {
		return float64(hi)
	}
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; table[mid] <= v {
			lo = mid
		} else {
			hi = mid
		}
	}
	return float64(lo) + (v-table[lo])/(table[hi]-table[lo])
}

// predictions lists what nets of a process can predict.
func (k ProcessKind) predictions() []Prediction {
	switch k {
	case KindSubVP:
		return []Prediction{PredictEpsilon}
	case KindVE:
		return []Prediction{PredictScore, PredictScaledScore, PredictEpsilon}
	case KindEDM:
		return []Prediction{PredictEDM, PredictV, PredictConsistency}
	case KindFlow:
		return []Prediction{PredictFlow, PredictSample}
	}
	return []Prediction{PredictEpsilon, PredictV, PredictSample}
}

// Takes reports whether nets of the process can predict that.
func (p *Process) Takes(what Prediction) bool { return p.kind.takes(what) }

func (k ProcessKind) takes(p Prediction) bool { return slices.Contains(k.predictions(), p) }
