package sampler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/internal/nearest"
)

// A Sampler is a sampling algorithm as the registry has it.
type Sampler struct {
	Name        string   // as in "dpm++2m"
	Aliases     []string // names in other programs
	Description string   // one line
	Schedule    string   // name of the schedule that suits it, with which AUTOMATIC1111 runs it
	OwnSchedule bool     // whether Schedule is used where a run names none, instead of "discrete"
	Stochastic  bool     // whether it draws noise with these Options
	// CFGPP is whether it is a sampler of CFG++ (Chung et al. 2024,
	// arXiv:2406.08070), which takes the noise from the unguided prediction. It
	// finds that in Options.Uncond, where guidance leaves it ([GuidedModel]).
	// Usual scales are 0.5 to 2.
	CFGPP bool
	// Variance is what the steps of ancestral sampling as models were trained have,
	// where guidance by classifiers shifts their mean ([ClassifierMean]); "" of others.
	Variance StepVariance
	// Parameters are the numbers that it takes by name ([Sampler.With]).
	Parameters []Parameter
	// Options have the defaults of Parameters, until With changes them.
	Options Options
	// Func is the algorithm. Sample runs it.
	Func Func
}

// Sample runs the sampler. It is Func, except where Options.Process is a flow
// and the sampler adds noise in its steps: that runs in the notation of
// diffusions.
func (s Sampler) Sample(ctx context.Context, denoise Denoiser, x []float32, sigmas Sigmas, noise Noise, o Options) error {
	if o.Process != nil && o.Process.kind == KindFlow && s.takesNoise(o) && !s.has("s_churn") {
		return onFlow(s.Func)(ctx, denoise, x, sigmas, noise, o)
	}
	return s.Func(ctx, denoise, x, sigmas, noise, o)
}

// takesNoise reports whether the sampler draws noise with other options.
func (s Sampler) takesNoise(o Options) bool {
	switch {
	case s.has("eta"):
		return o.Eta > 0
	case s.has("s_churn"):
		return o.SChurn > 0
	}
	return s.Stochastic
}

// has reports whether the sampler has a parameter.
func (s Sampler) has(name string) bool {
	return slices.ContainsFunc(s.Parameters, func(p Parameter) bool { return p.Name == name })
}

// A Schedule is a way to choose noise levels, as the registry has it.
type Schedule struct {
	Name        string
	Aliases     []string // names in other programs
	Description string   // one line
	// For lists the kinds of processes that it suits ([Schedule.Check]); nil: all.
	For []ProcessKind
	// Steps, if above 0, is the one number of steps that the schedule has.
	Steps int
	// Sigmas gives n+1 noise levels, strictly falling, the last of them 0.
	Sigmas ScheduleFunc
}

// Check returns an [*UnsuitableError] if the schedule does not suit models of a
// process: one for flows has no meaning for Stable Diffusion, and a table of
// Stable Diffusion's noise levels none for a flow.
func (s Schedule) Check(p *Process) error {
	if s.For == nil || slices.Contains(s.For, p.kind) {
		return nil
	}
	return &UnsuitableError{Schedule: s.Name, For: s.For, Kind: p.kind}
}

// UnsuitableError reports a schedule for processes of another kind.
type UnsuitableError struct {
	Schedule string
	For      []ProcessKind // that it is for
	Kind     ProcessKind   // that was asked about
}

func (e *UnsuitableError) Error() string {
	var kinds []string
	for _, k := range e.For {
		kinds = append(kinds, k.describe())
	}
	return fmt.Sprintf("schedule %s is for %s, and this is %s", e.Schedule, strings.Join(kinds, " or "), e.Kind.describe())
}

// UnknownError reports a name that is not in the registry.
type UnknownError struct {
	Kind    string // "sampler", "schedule" or "guidance"
	Name    string
	Nearest string   // the known name that is most like it
	Names   []string // all names, where they are few
}

func (e *UnknownError) Error() string {
	if len(e.Names) > 0 {
		return fmt.Sprintf("unknown %s %q; did you mean %q? There are %s", e.Kind, e.Name, e.Nearest, listed(e.Names))
	}
	return fmt.Sprintf("unknown %s %q; did you mean %q?", e.Kind, e.Name, e.Nearest)
}

// Samplers returns all samplers, the usual ones first.
func Samplers() []Sampler { return samplers() }

// Schedules returns all schedules, the usual ones first.
func Schedules() []Schedule { return schedules() }

// SchedulesFor returns the schedules that suit a process.
func SchedulesFor(p *Process) []Schedule {
	return slices.DeleteFunc(schedules(), func(s Schedule) bool { return s.Check(p) != nil })
}

// Guiders returns all kinds of guidance, the usual ones first.
func Guiders() []Guider { return guiders() }

// Lookup finds a sampler by its name or by one that ComfyUI, AUTOMATIC1111,
// diffusers or stable-diffusion.cpp have for it. Case, spaces, hyphens and
// underscores do not matter. AUTOMATIC1111's names that end in a schedule
// ("DPM++ 2M Karras") set the sampler's Schedule and OwnSchedule. The error is an
// [*UnknownError].
func Lookup(name string) (Sampler, error) {
	s, err := find("sampler", name, samplers(), Sampler.names)
	if err == nil {
		return s, nil
	}
	words := strings.FieldsFunc(name, func(r rune) bool { return r == ' ' || r == '_' || r == '-' })
	if n := len(words) - 1; n > 0 {
		s, unknown := find("sampler", strings.Join(words[:n], " "), samplers(), Sampler.names)
		schedule, none := LookupSchedule(words[n])
		if unknown == nil && none == nil {
			s.Schedule, s.OwnSchedule = schedule.Name, true
			return s, nil
		}
	}
	return Sampler{}, err
}

// LookupSchedule finds a schedule as [Lookup] finds a sampler, or makes one of a
// name of [Respacing].
func LookupSchedule(name string) (Schedule, error) {
	s, err := find("schedule", name, schedules(), Schedule.names)
	if text, ok := respacings[fold(name)]; ok && err != nil {
		s, err := Respacing(text)
		s.Name = fold(name)
		return s, err
	}
	if rest := strings.TrimPrefix(name, "ddim"); err != nil && rest != "" && strings.Trim(rest, "0123456789, ") == "" {
		return Respacing(name)
	}
	return s, err
}

// LookupGuider finds a kind of guidance as [Lookup] finds a sampler. Its
// error lists the names that there are.
func LookupGuider(name string) (Guider, error) {
	g, err := find("guidance", name, guiders(), Guider.names)
	if unknown := (*UnknownError)(nil); errors.As(err, &unknown) {
		for _, g := range guiders() {
			unknown.Names = append(unknown.Names, g.Name)
		}
	}
	return g, err
}

func (s Sampler) names() []string  { return append([]string{s.Name}, s.Aliases...) }
func (s Schedule) names() []string { return append([]string{s.Name}, s.Aliases...) }
func (g Guider) names() []string   { return append([]string{g.Name}, g.Aliases...) }

// find finds an entry of a registry by one of its names.
func find[T any](kind, name string, all []T, names func(T) []string) (T, error) {
	key := fold(name)
	var known []string
	for _, entry := range all {
		for _, n := range names(entry) {
			if fold(n) == key {
				return entry, nil
			}
			known = append(known, n)
		}
	}
	var none T
	return none, &UnknownError{Kind: kind, Name: name, Nearest: alike(name, known)}
}

// DefaultSchedule is the name of the schedule of a run that names none:
// "discrete", except for samplers of distilled models, which were trained at
// certain noise levels, and for names that end in a schedule.
func (s Sampler) DefaultSchedule() string {
	if s.OwnSchedule {
		return s.Schedule
	}
	return "discrete"
}

// LookupSchedule finds a schedule for a run of the sampler: "automatic" is its
// Schedule, as in AUTOMATIC1111, and other names are those of [LookupSchedule].
func (s Sampler) LookupSchedule(name string) (Schedule, error) {
	if fold(name) == "automatic" && s.Schedule != "" {
		name = s.Schedule
	}
	return LookupSchedule(name)
}

// fold makes names comparable: lower case, without separators, and with
// "dpmpp" for "dpm++".
func fold(name string) string {
	name = strings.ToLower(name)
	name = strings.ReplaceAll(name, "++", "pp")
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -_()\t", r) {
			return -1
		}
		return r
	}, name)
}

// alike returns the name with the least edit distance; the first of equals.
func alike(name string, names []string) string {
	best, least := "", 1<<30
	key := fold(name)
	if len(key) > 100 {
		key = key[:100] // the rest can't matter, and the distance is quadratic
	}
	for _, n := range names {
		if d := nearest.Distance(key, fold(n)); d < least {
			best, least = n, d
		}
	}
	return best
}
