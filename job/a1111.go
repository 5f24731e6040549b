// Package job is requests as text: as AUTOMATIC1111's parameters in pictures, as JSON
// and as flags.
package job

import (
	"fmt"
	"image"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/sd/request"
)

// settings collects a line of settings in AUTOMATIC1111's layout.
type settings struct{ strings.Builder }

func (s *settings) add(key string, value any) {
	if s.Len() > 0 {
		s.WriteString(", ")
	}
	fmt.Fprintf(s, "%s: %v", key, value)
}

// number writes an optional number.
func (s *settings) number(key string, value *float64) {
	if value != nil {
		s.add(key, strconv.FormatFloat(*value, 'g', -1, 64))
	}
}

// Text returns parameters in AUTOMATIC1111's layout: the prompt, a line for the
// negative prompt if there is one, and a line of settings. version is the library's.
func Text(p request.Params, version string) string {
	var s settings
	s.add("Steps", p.Steps)
	s.add("Sampler", p.Sampler)
	s.add("Schedule type", p.Schedule)
	s.number("CFG scale", p.Guidance)
	s.add("Seed", p.Seed)
	s.add("Size", fmt.Sprintf("%dx%d", p.Width, p.Height))
	s.number("Denoising strength", p.Strength)
	s.number("Image CFG scale", p.ImageGuidance)
	s.inpainting(p.Request)
	s.interpolation(p.Interpolate)
	s.hires(p)
	if p.TAESD != "" {
		s.add("VAE Decoder", "TAESD")
	}
	if p.ModelHash != "" {
		s.add("Model hash", p.ModelHash)
	}
	if p.Model != "" {
		s.add("Model", quoted(p.Model))
	}
	if p.Refiner != "" {
		s.add("Refiner", quoted(p.Refiner))
		s.number("Refiner switch at", p.RefinerAt)
	}
	s.number("Aesthetic score", p.AestheticScore)
	s.number("Negative aesthetic score", p.NegativeAestheticScore)
	for _, m := range p.MicroConditions() {
		if m.Value != (image.Point{}) {
			s.add(microKeys[m.Field], fmt.Sprintf("%dx%d", m.Value.X, m.Value.Y))
		}
	}
	if p.ClipSkip > 1 {
		s.add("Clip skip", p.ClipSkip)
	}
	if p.DeepCache > 1 {
		s.add("Deep cache", p.DeepCache)
	}
	s.add("RNG", p.RNG)
	s.add("Version", "sdgo "+version)
	text := p.Prompt
	if p.NegativePrompt != "" {
		text += "\nNegative prompt: " + p.NegativePrompt
	}
	return text + "\n" + s.String()
}

var microKeys = map[string]string{"OriginalSize": "Original size", "TargetSize": "Target size", "CropTopLeft": "Crop top left"}

// inpainting writes what belongs to a mask.
func (s *settings) inpainting(p request.Request) {
	if p.OnlyMasked {
		s.add("Inpaint area", "Only masked")
		if p.MaskPadding != nil {
			s.add("Masked area padding", *p.MaskPadding)
		}
	}
	if p.MaskGrow != 0 {
		s.add("Mask grow", p.MaskGrow)
	}
	if p.MaskBlur != 0 {
		s.add("Mask blur", p.MaskBlur)
	}
	if p.MaskFeather != nil {
		s.add("Mask feather", *p.MaskFeather)
	}
	if p.Canvas != (image.Point{}) {
		s.add("Canvas", fmt.Sprintf("%dx%d", p.Canvas.X, p.Canvas.Y))
	}
}

// interpolation writes what AUTOMATIC1111 writes of variation seeds; it has no word
// for prompts.
func (s *settings) interpolation(t *request.Interpolation) {
	if t == nil {
		return
	}
	if t.Seed != nil {
		s.add("Variation seed", *t.Seed)
		s.add("Variation seed strength", t.At)
	}
	if t.Prompt != nil {
		s.add("Towards", quoted(*t.Prompt))
		s.add("Towards at", t.At)
	}
}

// hires writes what AUTOMATIC1111 writes of a second pass; it has no word for further
// ones, whose settings get a number.
func (s *settings) hires(p request.Params) {
	for i, h := range p.Hires {
		name := "Hires"
		if i > 0 {
			name = fmt.Sprintf("Hires %d", i+1)
		}
		strength := "Denoising strength"
		if i > 0 || p.Strength != nil {
			strength = name + " denoising strength"
		}
		s.number(strength, h.Strength)
		if h.Width == 0 && h.Height == 0 {
			s.add(name+" upscale", h.Scale)
		} else {
			s.add(name+" resize", fmt.Sprintf("%dx%d", h.Width, h.Height))
		}
		if h.Steps != p.Steps {
			s.add(name+" steps", h.Steps)
		}
		s.add(name+" upscaler", quoted(h.Upscaler))
		if h.Sampler != p.Sampler {
			s.add(name+" sampler", h.Sampler)
		}
		if h.Schedule != p.Schedule {
			s.add(name+" schedule type", h.Schedule)
		}
		if h.Guidance != nil && (p.Guidance == nil || *h.Guidance != *p.Guidance) {
			s.number(name+" CFG Scale", h.Guidance)
		}
	}
}

// quoted writes a setting's value as AUTOMATIC1111 does: as a JSON string
// where it would otherwise end the setting.
func quoted(s string) string {
	if strings.ContainsAny(s, ",:\n\"") {
		return strconv.Quote(s)
	}
	return s
}
