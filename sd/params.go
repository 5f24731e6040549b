package sd

import (
	"fmt"
	"strconv"
	"strings"
)

// TextKeyword is the keyword of the PNG text chunk that galleries read
// generation parameters from.
const TextKeyword = "parameters"

// Params are a picture's parameters with every default resolved.
type Params struct {
	Prompt, NegativePrompt string
	Width, Height          int
	Steps                  int
	Guidance               float64
	Sampler, Schedule      string
	Seed                   int64
	RNG                    RNG
	ClipSkip               int
	DeepCache              int     // as in the request; 0 and 1 are off
	Strength               float64 // how much of a picture was painted anew; 0 without one
	OnlyMasked             bool    // Width x Height is the size that the part around the mask was painted at,
	MaskPadding            int     // with so many of the picture's pixels around the mask
	Refiner                string  // the name of the model that made the last steps, behind the fraction RefinerAt; "" without one
	RefinerAt              float64
	Stages                 []StageParams
	TowardsPrompt          *string // of the picture that this one is on the way to, nil without one,
	TowardsSeed            *int64  // and that one's seed;
	TowardsAt              float64 // how far, 0 to 1
	Decoder                string  // "TAESD" where that decoded the picture, else ""
	Model                  string  // the file's name without its folder and ending
	ModelHash              string  // the first ten hexadecimal digits of its SHA-256, if known
}

// Text returns the parameters in AUTOMATIC1111's layout: the prompt, a line
// for the negative prompt if there is one, and a line of settings.
func (p Params) Text() string {
	var b strings.Builder
	b.WriteString(p.Prompt)
	if p.NegativePrompt != "" {
		b.WriteString("\nNegative prompt: " + p.NegativePrompt)
	}
	fmt.Fprintf(&b, "\nSteps: %d, Sampler: %s, Schedule type: %s, CFG scale: %s, Seed: %d, Size: %dx%d",
		p.Steps, p.Sampler, p.Schedule, strconv.FormatFloat(p.Guidance, 'g', -1, 64), p.Seed, p.Width, p.Height)
	if p.Strength > 0 {
		b.WriteString(", Denoising strength: " + strconv.FormatFloat(p.Strength, 'g', -1, 64))
	}
	if p.OnlyMasked {
		fmt.Fprintf(&b, ", Inpaint area: Only masked, Masked area padding: %d", p.MaskPadding)
	}
	b.WriteString(p.towardsText())
	b.WriteString(p.hiresText())
	if p.Decoder != "" {
		b.WriteString(", VAE Decoder: " + quoted(p.Decoder))
	}
	if p.ModelHash != "" {
		b.WriteString(", Model hash: " + p.ModelHash)
	}
	if p.Model != "" {
		b.WriteString(", Model: " + quoted(p.Model))
	}
	if p.Refiner != "" {
		b.WriteString(", Refiner: " + quoted(p.Refiner) + ", Refiner switch at: " + strconv.FormatFloat(p.RefinerAt, 'g', -1, 64))
	}
	if p.ClipSkip > 1 {
		fmt.Fprintf(&b, ", Clip skip: %d", p.ClipSkip)
	}
	if p.DeepCache > 1 {
		fmt.Fprintf(&b, ", Deep cache: %d", p.DeepCache)
	}
	fmt.Fprintf(&b, ", RNG: %s, Version: sdgo %s", p.RNG, Version)
	return b.String()
}

// quoted writes a setting's value as AUTOMATIC1111 does: as a JSON string
// where it would otherwise end the setting.
func quoted(s string) string {
	if strings.ContainsAny(s, ",:\n\"") {
		return strconv.Quote(s)
	}
	return s
}
