package request

// Params are a picture's generation parameters, which reproduce it: its request, with
// every default filled in and the picture's own seed, and the model.
type Params struct {
	Request
	Model     string // the file's name without folder and extension
	ModelHash string // the first ten hexadecimal digits of its SHA-256, if known
	Parts

	// Adapters' and textual inversions' files that the picture was drawn with.
	UsedAdapters, UsedWords []Used
}

// Parts are the files whose networks are in place of the model's own; "" where those are
// its own.
type Parts struct {
	VAE          string // the autoencoder's
	VAEHash      string // like ModelHash
	CLIPL, CLIPG string // the text encoders'
	T5, LLM      string
	LLMVision    string // the vision tower's, of LLM
}

// Params are the parameters of the picture with one seed, of whose bits seed has all 64,
// drawn by the model of a name.
// Of input pictures they have only the files' names.
func (q Resolved) Params(model string, seed int64) Params {
	r := q.Request
	r.Image, r.Mask, r.OnEvent, r.PreviewEvery, r.KeepHiresInput = nil, nil, nil, 0, false
	r.PreviewNoisy, r.KeepStages = false, false
	if len(r.Stages) == 0 {
		r.StageSteps = 0
	}
	if r.TAESDPreviewOnly {
		r.TAESD, r.TAESDPreviewOnly = "", false
	}
	r.Guidance = Float(q.Guidance)
	r.Sampler, r.Schedule = q.Sampler.Name, q.Schedule.Name
	if r.Guider == defaultGuider && q.defaultGuider == defaultGuider {
		r.Guider = ""
	}
	r.SetSeed(uint64(seed))
	r.Count = 1
	if q.Image != nil {
		r.Strength = Float(q.Strength)
	}
	if q.Low != nil && q.NoiseLevel > 0 {
		r.NoiseLevel = Int(q.NoiseLevel)
	}
	if q.OnlyMasked {
		r.MaskPadding = Int(q.MaskPadding)
	}
	if q.Refiner != "" {
		r.RefinerAt = Float(q.RefinerAt)
	}
	if t := q.Interpolate; t != nil && t.Seed != nil {
		other := *t
		other.SetSeed(uint64(*t.Seed + seed - q.Seed))
		r.Interpolate = &other
	}
	r.Adapters = nil
	for _, a := range q.Adapters {
		if a.Strength == nil {
			a.Strength = Float(1)
		}
		r.Adapters = append(r.Adapters, a)
	}
	if q.Classifier != "" {
		r.ClassifierScale = Float(q.ClassifierScale)
	}
	r.Controls = controlsWithDefaults(q.Controls)
	r.Hires = nil
	for _, p := range q.Hires {
		h := p.HiresPass
		h.Strength, h.Steps, h.Guidance = Float(p.Strength), p.Steps, Float(p.Request.Guidance)
		h.Sampler, h.Schedule = p.Request.Sampler.Name, p.Request.Schedule.Name
		r.Hires = append(r.Hires, h)
	}
	return Params{Request: r, Model: model, UsedAdapters: q.UsedAdapters, UsedWords: q.UsedWords}
}

// controlsWithDefaults are ControlNets with every default filled in.
func controlsWithDefaults(all []Control) (out []Control) {
	for _, c := range all {
		weight, start, end := c.Numbers()
		c.Weight, c.Start, c.End = &weight, &start, &end
		if c.Mode == "" {
			c.Mode = ControlBalanced
		}
		out = append(out, c)
	}
	return out
}
