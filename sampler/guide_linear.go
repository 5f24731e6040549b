package sampler

import "fmt"

// Coefficients are those of the model's answers, in the order of Guider.Answers, in the
// guided prediction at a noise level, where that is a sum of answers: of cfg, pag and
// instruct_pix2pix. sigmas are the run's. Other kinds have none, which is an error.
func (g Guidance) Coefficients(sigmas Sigmas, sigma float64) ([]float64, error) {
	within := func(start, stop string) bool {
		hi, lo := g.levels(sigmas, start, stop)
		return lo < sigma && sigma <= hi
	}
	all := make([]float64, len(g.Guider.Answers))
	if g.limited() {
		low, high := g.Parameters["sigma_min"], g.Parameters["sigma_max"]
		if !within("start", "stop") || sigma <= low || sigma > high {
			for i, a := range g.Guider.Answers {
				if a == AnswerCond {
					all[i] = 1
				}
			}
			return all, nil
		}
	}
	switch g.Guider.Name {
	case "cfg":
		if g.Parameters["channels"] == 0 {
			all[0], all[1] = g.Scale, 1-g.Scale
			return all, nil
		}
	case "pag":
		all[0], all[1] = g.Scale, 1-g.Scale
		if within("pag_start", "pag_stop") {
			all[0], all[2] = all[0]+g.Parameters["pag_scale"], -g.Parameters["pag_scale"]
		}
		return all, nil
	case "instruct_pix2pix":
		return composed(1, g.Parameters["image_scale"]-g.Scale, g.Scale), nil
	}
	return nil, fmt.Errorf("guidance %s is no sum of predictions, whose derivative is known", g.Guider.Name)
}
