package request

import (
	"fmt"
	"math"
)

// Direction is an attached direction of a UNet's deepest features (h-space: Kwon et al. 2022,
// arXiv:2210.10960) that is added to them where the model answers to the prompt.
type Direction struct {
	// Name is the direction's: its file's, without folder and extension.
	Name string

	// Strength is how much of it is added, -MaxDirectionStrength to MaxDirectionStrength;
	// nil means 1.
	Strength *float64

	// Start and End are the fractions of the steps after which it begins and ends, 0 to 1;
	// nil means 0 and 1.
	Start, End *float64
}

// Limits of a request's directions.
const (
	MaxDirections        = 16
	MaxDirectionStrength = 100
)

// Numbers are the strength and the fractions, with defaults.
func (d Direction) Numbers() (strength, start, end float64) {
	return or(d.Strength, 1), or(d.Start, 0), or(d.End, 1)
}

func checkDirections(q *Resolved, e *Error) {
	if len(q.Directions) > MaxDirections {
		e.Add("Directions", "must be at most %d, got %d", MaxDirections, len(q.Directions))
		q.Directions = nil
	}
	for i, d := range q.Directions {
		field := func(name string) string { return fmt.Sprintf("Directions[%d].%s", i, name) }
		strength, start, end := d.Numbers()
		if d.Name == "" {
			e.Add(field("Name"), "must be that of an attached direction")
		}
		if math.IsNaN(strength) || math.Abs(strength) > MaxDirectionStrength {
			e.Add(field("Strength"), "must be -%d to %d, got %g", MaxDirectionStrength, MaxDirectionStrength, strength)
		}
		checkFloat(e, field("Start"), start, 0, 1)
		if checkFloat(e, field("End"), end, 0, 1); end < start {
			e.Add(field("End"), "must be at least Start, %g, got %g", start, end)
		}
	}
}
