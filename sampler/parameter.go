package sampler

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Parameter is a number that a sampler or a kind of guidance takes by name,
// as flags and job files give it.
type Parameter struct {
	Name     string  // "eta", "s_noise", …
	Default  float64 // used where no value is given; may be +Inf
	Min, Max float64 // both are allowed; Max is +Inf where there is no bound
	Integer  bool    // whether it must be a whole number
	Help     string  // one line
	counts   bool    // whether it counts the steps of a run
}

// Range describes the values that the parameter takes, as in "0 to 1".
func (p Parameter) Range() string {
	of := ""
	if p.Integer {
		of = "a whole number, "
	}
	low, high := strconv.FormatFloat(p.Min, 'f', -1, 64), strconv.FormatFloat(p.Max, 'f', -1, 64)
	if math.IsInf(p.Max, 1) {
		return of + low + " or more"
	}
	return of + low + " to " + high
}

// check returns a [*ParameterError] for a value outside the range. NaN is
// outside, and infinity where it is not the default.
func (p Parameter) check(of string, v float64) error {
	e := &ParameterError{Of: of, Name: p.Name, Value: v, Range: p.Range()}
	if math.IsInf(v, 1) && !math.IsInf(p.Default, 1) {
		e.Range = "finite"
		return e
	}
	if v >= p.Min && v <= p.Max && !(p.Integer && v != math.Trunc(v)) {
		return nil
	}
	return e
}

// ParameterError reports a value that a sampler or a kind of guidance does not
// take.
type ParameterError struct {
	Of    string   // whose parameter: a name in the registry, such as "euler"
	Name  string   // of the parameter, such as "eta"
	Value float64  // what was given
	Range string   // what it must be; empty where Of has no such parameter
	Takes []string // in that case the names of those that it has
}

func (e *ParameterError) Error() string {
	switch {
	case e.Range != "":
		return fmt.Sprintf("%s must be %s with %s, got %g", e.Name, e.Range, e.Of, e.Value)
	case len(e.Takes) == 0:
		return fmt.Sprintf("%s takes no %s; it takes no parameters", e.Of, e.Name)
	}
	return fmt.Sprintf("%s takes no %s; it takes %s", e.Of, e.Name, listed(e.Takes))
}

// listed joins names: "a", "a and b", "a, b and c".
func listed(names []string) string {
	if n := len(names) - 1; n > 0 {
		return strings.Join(names[:n], ", ") + " and " + names[n]
	}
	return strings.Join(names, "")
}

// fill checks values and returns them with the defaults of those that are not
// given. Every problem is reported, in the order of the parameters and then of
// the names.
func fill(of string, parameters []Parameter, values map[string]float64) (map[string]float64, error) {
	all := make(map[string]float64, len(parameters))
	names := make([]string, len(parameters))
	var problems []error
	for i, p := range parameters {
		v, ok := values[p.Name]
		if !ok {
			v = p.Default
		}
		all[p.Name], names[i] = v, p.Name
		problems = append(problems, p.check(of, v))
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(names, name) {
			problems = append(problems, &ParameterError{Of: of, Name: name, Value: values[name], Takes: names})
		}
	}
	return all, errors.Join(problems...)
}

// With returns the sampler with other Options, given by the names of its
// Parameters; options that are not in values stay as they are. The error joins
// a [*ParameterError] for each value that is out of range or that the sampler
// does not take. The sampler that it is called on does not change.
func (s Sampler) With(values map[string]float64) (Sampler, error) {
	if _, err := fill(s.Name, s.Parameters, values); err != nil {
		return Sampler{}, err
	}
	for name, v := range values {
		s.Options.set(name, v)
	}
	if o := s.Options; o.STMin > o.STMax {
		return Sampler{}, &ParameterError{Of: s.Name, Name: "s_tmin", Value: o.STMin, Range: fmt.Sprintf("at most s_tmax, %g,", o.STMax)}
	}
	s.Stochastic = s.takesNoise(s.Options)
	return s, nil
}

// set sets an option by its parameter's name.
func (o *Options) set(name string, v float64) {
	switch name {
	case "eta":
		o.Eta = v
	case "s_noise":
		o.SNoise = v
	case "s_churn":
		o.SChurn = v
	case "s_tmin":
		o.STMin = v
	case "s_tmax":
		o.STMax = v
	case "order":
		o.Order = int(v)
	case "snr":
		o.SNR = v
	case "corrections":
		o.Corrections = int(v)
	case "rtol":
		o.RTol = v
	case "atol":
		o.ATol = v
	default:
		panic("no option is called " + name) // the registry's own mistake
	}
}

// The parameters of samplers. Where programs give a bound to eta or s_noise it
// is 100 (ComfyUI's nodes).

func eta(usual float64) Parameter {
	return Parameter{Name: "eta", Default: usual, Max: 100, Help: "share of the noise that a step puts back: 0 is deterministic, 1 the full amount"}
}

func sNoise() Parameter {
	return Parameter{Name: "s_noise", Default: 1, Max: 100, Help: "factor of all noise that is added during sampling"}
}

// fresh are the parameters of ancestral and SDE samplers.
func fresh(usualEta float64) []Parameter { return []Parameter{eta(usualEta), sNoise()} }

// churn are those of the stochastic sampler of Karras et al. 2022.
func churn() []Parameter {
	return []Parameter{
		{Name: "s_churn", Max: 1000, Help: "noise added before each step (Karras et al. 2022), spread over all steps"},
		{Name: "s_tmin", Max: math.Inf(1), Help: "lowest noise level at which s_churn adds noise"},
		{Name: "s_tmax", Default: math.Inf(1), Max: math.Inf(1), Help: "highest noise level at which s_churn adds noise"},
		sNoise(),
	}
}

func order(usual, least, most float64) Parameter {
	return Parameter{Name: "order", Default: usual, Min: least, Max: most, Integer: true, Help: "highest order of the method"}
}

// tolerances are those of adaptive samplers.
func tolerances(relative, absolute float64) []Parameter {
	return []Parameter{
		{Name: "rtol", Default: relative, Max: 100, Help: "relative error tolerated in a step"},
		{Name: "atol", Default: absolute, Max: 100, Help: "absolute error tolerated in a step"},
	}
}
