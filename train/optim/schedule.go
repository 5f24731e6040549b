package optim

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Schedule is how the learning rate changes: it rises during the warm-up from 1/Warmup of
// its value to all of it, then stays, or falls until the last step.
type Schedule struct {
	Kind   string // one of [ScheduleKinds]
	Warmup int    // steps, 0 or more
	Steps  int    // of the whole training, at least 1
}

// ScheduleKinds are the kinds of schedules: "constant" stays, "cosine" falls as half of a
// cosine (Loshchilov and Hutter 2017, arXiv:1608.03983), "linear" in a line.
func ScheduleKinds() []string { return []string{"constant", "cosine", "linear"} }

// Check returns an error for numbers out of range.
func (s Schedule) Check() error {
	switch {
	case !slices.Contains(ScheduleKinds(), s.Kind):
		return fmt.Errorf("the schedule must be %s, got %.40q", strings.Join(ScheduleKinds(), " or "), s.Kind)
	case s.Steps < 1:
		return fmt.Errorf("steps must be at least 1, got %d", s.Steps)
	case s.Warmup < 0 || s.Warmup >= s.Steps && s.Warmup > 0:
		return fmt.Errorf("warm-up steps must be 0 to %d, one less than the steps, got %d", s.Steps-1, s.Warmup)
	}
	return nil
}

// Factor is what the learning rate is multiplied by at a step, which counts from 0.
func (s Schedule) Factor(step int) float64 {
	if step < s.Warmup {
		return float64(step+1) / float64(s.Warmup)
	}
	done := float64(step-s.Warmup) / float64(max(s.Steps-s.Warmup, 1))
	done = min(max(done, 0), 1)
	switch s.Kind {
	case "cosine":
		return (1 + math.Cos(math.Pi*done)) / 2
	case "linear":
		return 1 - done
	}
	return 1
}
