package family

// NormConfig are the numbers of a network's group normalisation. Those that are 0
// are the usual ones.
type NormConfig struct {
	Groups int     // 32
	Eps    float64 // of a UNet's residual blocks 1e-5, of an autoencoder 1e-6
}

// params adds them to the hyperparameters of a network.
func (c NormConfig) params(all map[string][]float64) map[string][]float64 {
	if c.Groups > 0 {
		all["norm_groups"] = one(c.Groups)
	}
	if c.Eps > 0 {
		all["norm_eps"] = []float64{c.Eps}
	}
	return all
}

// apply reads them from the metadata.
func (c *NormConfig) apply(r *Reader, groups, eps string) {
	r.Number(groups, 1, 1<<10, func(v float64) { c.Groups = int(v) })
	r.Number(eps, 1e-12, 1, func(v float64) { c.Eps = v })
}

// describe adds them to the metadata of a file that is written.
func (c NormConfig) describe(groups, eps string, add func(key string, value any)) {
	if c.Groups > 0 {
		add(groups, uint32(c.Groups))
	}
	if c.Eps > 0 {
		add(eps, c.Eps)
	}
}

// describe adds what no shape tells of the autoencoder to the metadata of a file that is
// written.
func (c *VAEConfig) describe(add func(key string, value any)) {
	add(keyScaleFactor, c.ScaleFactor)
	if c.Shift != 0 {
		add(keyShiftFactor, c.Shift)
	}
	if c.Mean != nil {
		add(keyLatentsMean, c.Mean)
		add(keyLatentsStd, c.Std)
	}
	c.Norms.describe(keyVAEGroups, keyVAEEps, add)
}

// applyMetadata reads what a file says about the autoencoder's latents.
func (c *VAEConfig) applyMetadata(r *Reader) {
	r.Number(keyScaleFactor, 1e-6, 1e6, func(v float64) { c.ScaleFactor = float32(v) })
	r.Number(keyShiftFactor, -1e6, 1e6, func(v float64) { c.Shift = float32(v) })
	c.Mean = r.latentNumbers(keyLatentsMean, c.EmbedDim, -1e6)
	c.Std = r.latentNumbers(keyLatentsStd, c.EmbedDim, 1e-6)
	if (c.Mean == nil) != (c.Std == nil) {
		r.Fail("%s and %s must be there together", keyLatentsMean, keyLatentsStd)
	}
	c.Norms.apply(r, keyVAEGroups, keyVAEEps)
}

// latentNumbers reads a number for each channel of latents, from low to a million.
func (r *Reader) latentNumbers(key string, channels int, low float64) []float32 {
	text, ok := r.Model.Metadata[key]
	if !ok {
		return nil
	}
	list, err := floatList(text)
	if err != nil || len(list) != channels {
		r.Fail("%s must be %d numbers, got %.40q", key, channels, text)
		return nil
	}
	out := make([]float32, len(list))
	for i, v := range list {
		if !(v >= low && v <= 1e6) {
			r.Fail("%s must be numbers from %g to 1e+06, got %g", key, low, v)
			return nil
		}
		out[i] = float32(v)
	}
	return out
}
