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
		Steps: p.Steps, CFGScale: p.Guidance, Sampler: p.Sampler, Schedule: p.Schedule,
		Seed: p.Seed, RNG: string(p.RNG), ClipSkip: p.ClipSkip, DeepCache: p.DeepCache, Strength: p.Strength, Model: p.Model,
		Decoder: p.Decoder, To: p.TowardsPrompt, ToSeed: p.TowardsSeed,
	}
	if p.TowardsPrompt != nil || p.TowardsSeed != nil {
		j.At = &p.TowardsAt
	}
	for _, s := range p.Stages {
		j.Stages = append(j.Stages, jsonStage{s.Width, s.Height, s.Upscaler, s.Strength, s.Steps, s.Sampler, s.Schedule, s.Guidance})
	}
	return j
}
