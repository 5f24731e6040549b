package pixel

import (
	"fmt"
	"math"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
)

// Process makes the process that a file describes, with the time that the network is
// given, and what the network predicts.
func Process(c convert.PixelProcess, bars []float64) (*sampler.Process, sampler.Prediction, error) {
	switch c.Kind {
	case convert.ProcessDDPM:
		return ddpm(c, bars)
	case convert.ProcessVE:
		if !(c.SigmaMin > 0 && c.SigmaMin < c.SigmaMax) {
			return nil, "", fmt.Errorf("sigma_min and sigma_max of a VE model must be above 0 and rise, got %g and %g", c.SigmaMin, c.SigmaMax)
		}
		time := math.Log
		if !c.UnitRange { // the noise of pixels from -1 to 1 is twice that of pixels from 0 to 1
			time = func(sigma float64) float64 { return math.Log(sigma / 2) }
		}
		return sampler.VESDE(c.SigmaMin, c.SigmaMax).WithNetTime(time), sampler.PredictScaledScore, nil
	case convert.ProcessVP:
		return timed(sampler.VPSDE()), sampler.PredictEpsilon, betas(c)
	case convert.ProcessSubVP:
		return timed(sampler.SubVPSDE()), sampler.PredictEpsilon, betas(c)
	case convert.ProcessEDM, convert.ProcessConsistency:
		if !(c.SigmaMin > 0 && c.SigmaMin < c.SigmaMax && c.SigmaData > 0) {
			return nil, "", fmt.Errorf("sigma_min, sigma_max and sigma_data must be above 0, and the first two rise, got %g, %g and %g", c.SigmaMin, c.SigmaMax, c.SigmaData)
		}
		p := sampler.EDM(c.SigmaMin, c.SigmaMax, c.SigmaData) // log(sigma)/4
		if c.Kind == convert.ProcessEDM {
			return p, sampler.PredictEDM, nil
		}
		return p.WithNetTime(func(sigma float64) float64 { return 250 * math.Log(sigma+1e-44) }), sampler.PredictConsistency, nil
	}
	return nil, "", fmt.Errorf("process %.40q is not known", c.Kind)
}

// timed gives the network 999·t, as score_sde does.
func timed(p *sampler.Process) *sampler.Process {
	return p.WithNetTime(func(sigma float64) float64 { return 999 * p.SigmaToT(sigma) })
}

// betas checks that those of a continuous process are the published ones.
func betas(c convert.PixelProcess) error {
	if c.BetaStart != 0 && c.BetaStart != 0.1 || c.BetaEnd != 0 && c.BetaEnd != 20 {
		return fmt.Errorf("beta_start and beta_end of a VP or sub-VP model must be 0.1 and 20, got %g and %g", c.BetaStart, c.BetaEnd)
	}
	return nil
}

// ddpm is a chain in discrete time: of the file's own products, else of its betas.
func ddpm(c convert.PixelProcess, bars []float64) (*sampler.Process, sampler.Prediction, error) {
	alphas := sampler.AlphasCumprod(bars)
	if bars == nil {
		name := map[string]string{"cosine": "squaredcos_cap_v2"}[c.Betas]
		if name == "" {
			name = c.Betas
		}
		var err error
		if alphas, err = sampler.NewAlphasCumprod(name, c.BetaStart, c.BetaEnd, c.Steps); err != nil {
			return nil, "", err
		}
	}
	p, err := sampler.NewDiscrete(alphas)
	return p, sampler.Prediction(c.Prediction), err
}
