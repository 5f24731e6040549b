package family

import (
	"fmt"
	"slices"

	"github.com/sdgo/sdgo/convert/model"
)

// pixelClasses are a model's classes in JSON.
type pixelClasses struct {
	Count int    `json:"count,omitempty"`
	Null  *int   `json:"null,omitempty"` // the number of the one that stands for none
	Input string `json:"input"`
}

// beside describes what a model has beside its networks: its process and classes.
func (c *Pixel) beside() []model.Network {
	var all []model.Network
	if !c.Classifier {
		text := c.Process.summary()
		if c.Sampler != "" {
			text += ", drawn with " + c.Sampler
		}
		if c.Schedule != "" {
			text += ", timesteps of " + c.Schedule
		}
		all = append(all, model.Network{Key: "process", Name: "process", Config: c.Process, Summary: text})
	}
	classes, text := pixelClasses{Count: c.Classes, Input: c.ClassInput}, fmt.Sprintf("0 to %d", c.Classes-1)
	switch {
	case c.ClassInput == ClassValue:
		text = "a number from 0 to 1"
	case c.Classes == 0:
		return all
	case c.NullClass >= 0:
		classes.Null = &c.NullClass
		text += fmt.Sprintf("; %d stands for none", c.NullClass)
	}
	return append(all, model.Network{Key: "class", Name: "class", Config: classes, Summary: text})
}

// summary is a process in words.
func (p *Process) summary() string {
	betas := map[string]string{"linear": "linear betas", "scaled_linear": "betas whose roots are linear", "cosine": "cosine betas"}[p.Betas]
	switch p.Kind {
	case ProcessDDPM:
		if slices.Contains([]string{"linear", "scaled_linear"}, p.Betas) {
			betas += fmt.Sprintf(" from %g to %g", p.BetaStart, p.BetaEnd)
		}
		return fmt.Sprintf("DDPM of %d steps, %s, %s variance", p.Steps, betas, map[string]string{"fixed_small": "small", "fixed_large": "large", "learned_range": "learned"}[p.Variance])
	case ProcessConsistency:
		return fmt.Sprintf("consistency, noise from %g to %g", p.SigmaMin, p.SigmaMax)
	case ProcessVE:
		return fmt.Sprintf("variance-exploding SDE, noise from %g to %g", p.SigmaMin, p.SigmaMax)
	case ProcessVP:
		return "variance-preserving SDE"
	case ProcessSubVP:
		return "sub-variance-preserving SDE"
	case ProcessEDM:
		return fmt.Sprintf("EDM, noise from %g to %g", p.SigmaMin, p.SigmaMax)
	}
	return p.Kind
}
