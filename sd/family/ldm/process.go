package ldm

import (
	"fmt"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
)

// processOf is the process that a file's model was trained with: that of EDM, the
// file's noise schedule, or Stable Diffusion's own, with zero terminal SNR if the file
// says so.
func processOf(w *convert.Model) (*sampler.Process, error) {
	if e := w.EDM; e != nil {
		return sampler.EDM(e.SigmaMin, e.SigmaMax, e.SigmaData), nil
	}
	process := sampler.StableDiffusion()
	if w.AlphasCumprod != nil {
		var err error
		if process, err = sampler.NewDiscrete(w.AlphasCumprod); err != nil {
			return nil, err
		}
	}
	if w.ZeroSNR {
		return process.ZeroTerminalSNR()
	}
	return process, nil
}

// prediction is the sampler's word for what a UNet predicts: what files call epsilon
// is the network F of Karras et al. 2022 in a process of theirs. "" is left to a trial
// run, which EDM does not have.
func prediction(name string, process *sampler.Process) (sampler.Prediction, error) {
	p := sampler.Prediction(name)
	if process.Kind() == sampler.KindEDM && (p == "" || p == sampler.PredictEpsilon) {
		p = sampler.PredictEDM
	}
	if p == "" {
		return p, nil
	}
	if _, err := sampler.Precondition(process, p); err != nil {
		return p, fmt.Errorf("prediction %s: %w", name, err)
	}
	return p, nil
}
