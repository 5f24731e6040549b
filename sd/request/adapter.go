package request

import "math"

// Adapter is an attached adapter, such as a LoRA, that a request draws with.
type Adapter struct {
	// Name is the adapter's: its file's, without folder and extension, or the name that
	// its trainer gave it.
	Name string

	// Strength is how much of it the denoiser gets, -MaxAdapterStrength to
	// MaxAdapterStrength: 1 is as it was trained, 0 nothing. nil means 1.
	Strength *float64

	// TextStrength is how much the text encoders get; nil means Strength.
	TextStrength *float64
}

// Limits of a request's adapters.
const (
	MaxAdapters        = 64
	MaxAdapterStrength = 100
)

// Strengths are those for text encoders and the denoiser, with defaults.
func (a Adapter) Strengths() (text, denoiser float64) {
	denoiser = 1
	if a.Strength != nil {
		denoiser = *a.Strength
	}
	text = denoiser
	if a.TextStrength != nil {
		text = *a.TextStrength
	}
	return text, denoiser
}

// Used is a file that a picture was drawn with: its name and the beginning of its hash.
type Used struct{ Name, Hash string }

func (q *Resolved) checkAdapters(e *Error) {
	if len(q.Adapters) > MaxAdapters {
		e.Add("Adapters", "must be at most %d, got %d", MaxAdapters, len(q.Adapters))
	}
	for _, a := range q.Adapters[:min(len(q.Adapters), MaxAdapters)] {
		if a.Name == "" {
			e.Add("Adapters", "each must have a Name")
		}
		for _, s := range []*float64{a.Strength, a.TextStrength} {
			if s != nil && (math.IsNaN(*s) || math.Abs(*s) > MaxAdapterStrength) {
				e.Add("Adapters", "%.80q: strengths must be -%d to %d, got %g", a.Name, MaxAdapterStrength, MaxAdapterStrength, *s)
			}
		}
	}
}
