package cli

import "github.com/sdgo/sdgo/sd"

// jsonParams are what a picture was made with, named like the flags: the params of
// an image event.
type jsonParams struct {
	Prompt    string  `json:"prompt"`
	Negative  string  `json:"negative"`
	Width     int     `json:"width"`
	Height    int     `json:"height"`
	Steps     int     `json:"steps"`
	CFGScale  float64 `json:"cfg_scale"`
	Sampler   string  `json:"sampler"`
	Schedule  string  `json:"schedule"`
	Seed      int64   `json:"seed"`
	RNG       string  `json:"rng"`
	ClipSkip  int     `json:"clip_skip"`            // 0: the model's own
	DeepCache int     `json:"deep_cache,omitempty"` // 1 is off
	Strength  float64 `json:"strength,omitempty"`
	Model     string  `json:"model"`

	Decoder string      `json:"decoder,omitempty"` // "TAESD" where that decoded the picture
	To      *string     `json:"to,omitempty"`      // prompt and seed of the other end of an interpolation,
	ToSeed  *int64      `json:"to_seed,omitempty"`
	At      *float64    `json:"at,omitempty"` // and the position, 0 to 1
	Stages  []jsonStage `json:"stages,omitempty"`
}

// jsonStage are the parameters of a further pass.
type jsonStage struct {
	Width    int     `json:"width"`
	Height   int     `json:"height"`
	Upscaler string  `json:"upscaler"`
	Strength float64 `json:"strength"`
	Steps    int     `json:"steps"`
	Sampler  string  `json:"sampler"`
	Schedule string  `json:"schedule"`
	CFGScale float64 `json:"cfg_scale"`
}

func paramsJSON(p sd.Params) jsonParams {
	j := jsonParams{
		Prompt: p.Prompt, Negative: p.NegativePrompt, Width: p.Width, Height: p.Height,
		Steps: p.Steps, CFGScale: *p.Guidance, Sampler: p.Sampler, Schedule: p.Schedule,
		Seed: p.Seed, RNG: string(p.RNG), ClipSkip: p.ClipSkip, DeepCache: p.DeepCache, Model: p.Model,
	}
	if p.Strength != nil {
		j.Strength = *p.Strength
	}
	if p.TAESD != "" {
		j.Decoder = "TAESD"
	}
	if t := p.Interpolate; t != nil {
		j.To, j.ToSeed, j.At = t.Prompt, t.Seed, &t.At
	}
	width, height := p.Width, p.Height
	for _, h := range p.Hires {
		side := func(n int) int { return int(float64(n)*h.Scale) / 8 * 8 }
		if width, height = side(width), side(height); h.Width > 0 {
			width, height = h.Width, h.Height
		}
		j.Stages = append(j.Stages, jsonStage{width, height, h.Upscaler, *h.Strength, h.Steps, h.Sampler, h.Schedule, *h.Guidance})
	}
	return j
}
