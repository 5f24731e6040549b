package job

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/request"
)

// Samplers and kinds of guidance have numbers of their own, which a request has in
// maps. A sampler's are fields, and stand in an object of JSON; those of guidance
// follow its name.

// Keys of JSON objects with numbers by their names.
const (
	samplerOptionsKey  = "sampler_options"
	guidanceKey        = "guidance"
	guidanceOptionsKey = "guidance_options"
)

type options = map[string]float64

// samplerOptions are the fields of all numbers that samplers take. Their bounds are the
// widest that a sampler has.
func samplerOptions() (all []Field) {
	forms := optionForms()
	for _, o := range []struct{ name, a1111, arg, help string }{
		{"eta", "Eta", "X", "share of fresh noise in a step: 0 is deterministic, 1 all of it"},
		{"s_noise", "Sigma noise", "X", "factor of all noise that is added in steps"},
		{"s_churn", "Sigma churn", "X", "noise added before each step (Karras et al. 2022)"},
		{"s_tmin", "Sigma tmin", "X", "lowest noise level at which s-churn adds noise"},
		{"s_tmax", "Sigma tmax", "X", "highest noise level at which s-churn adds noise"},
		{"order", "Solver order", "N", "highest order of the sampler's method"},
		{"snr", "Corrector SNR", "X", "signal-to-noise ratio of the corrector of pc"},
		{"corrections", "Corrections", "N", "steps of the corrector of pc before each step"},
		{"rtol", "Relative tolerance", "X", "relative error that an adaptive sampler tolerates"},
		{"atol", "Absolute tolerance", "X", "absolute error that an adaptive sampler tolerates"},
	} {
		f := Field{
			Path: "SamplerOptions." + o.name, Flag: strings.ReplaceAll(o.name, "_", "-"), Object: samplerOptionsKey, A1111: o.a1111, Arg: o.arg, For: All,
			Help: o.help, Default: "the sampler's",
			of:   option(forms[o.name], o.name, func(r *req) *options { return &r.SamplerOptions }),
			read: readSamplerOption,
		}
		if o.name == "eta" {
			f.text, f.read = etaText, readEta
		}
		if slices.Contains([]string{"eta", "s_noise", "s_churn", "s_tmin", "s_tmax"}, o.name) {
			f.API = o.name
		}
		all = append(all, f)
	}
	return all
}

// optionForms are the numbers that some sampler takes, by their names: worked out once,
// since the table is made for each flag that is set.
var optionForms = sync.OnceValue(func() map[string]form[float64] {
	widest := map[string]sampler.Parameter{}
	for _, s := range sampler.Samplers() {
		for _, p := range s.Parameters {
			if known, ok := widest[p.Name]; ok {
				p.Min, p.Max = min(p.Min, known.Min), max(p.Max, known.Max)
			}
			widest[p.Name] = p
		}
	}
	forms := map[string]form[float64]{}
	for name, p := range widest {
		forms[name] = optionForm(p.Min, p.Max, p.Integer)
	}
	return forms
})

// optionForm are the numbers from low to high.
func optionForm(low, high float64, whole bool) form[float64] {
	bounds := fmt.Sprintf("%g to %g", low, high)
	if math.IsInf(high, 1) {
		bounds = fmt.Sprintf("%g or more", low)
	}
	parse := parseNumber
	kind := KindNumber
	if whole {
		kind = KindInteger
		parse = func(text string) (float64, error) {
			v, err := strconv.Atoi(text)
			if err != nil && !errors.Is(err, strconv.ErrRange) {
				return 0, fmt.Errorf("must be a whole number, got %.40q", text)
			}
			return float64(v), nil
		}
	}
	return form[float64]{kind, bounds, func(text string) (float64, error) {
		v, err := parse(text)
		if err == nil && (v < low || v > high) {
			err = fmt.Errorf("must be %s, got %.40s", bounds, text)
		}
		if err != nil {
			return 0, err
		}
		return v, nil
	}, formatNumber}
}

// option is the number of the field in its object.
func (f Field) option() string {
	_, name, _ := strings.Cut(f.Path, ".")
	return name
}

// readSamplerOption reads a number that the sampler takes.
func readSamplerOption(f Field, d *reading) {
	if strings.HasPrefix(d.program, "stable-diffusion.cpp") { // it writes one for all samplers, few of which use it
		return
	}
	before := d.params.SamplerOptions
	if !d.set(f, f.A1111) {
		return
	}
	s := d.sampler
	if s.Name == "" {
		s, _ = sampler.Lookup("euler_a") // a request's
	}
	if _, err := s.With(d.params.SamplerOptions); err != nil {
		d.params.SamplerOptions = before
		d.refuse(f.A1111, oneLine(err))
	}
}

// oneLine is an error without new lines, which joined errors have.
func oneLine(err error) error {
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// guidanceKind is a kind of guidance with its numbers: "apg", "cfg_rescale:phi=0.7",
// "pag:pag_scale=2,stop=0.8". The name may be empty where there are numbers: those are
// of the usual kind.
func guidanceKind() access[req] {
	return withNumbers("a kind of guidance", "cfg_rescale:phi=0.7", func(r *req) (*string, *map[string]float64) { return &r.Guider, &r.GuiderOptions }, checkGuider)
}

// stepCache is a step cache with its numbers: "easy", "taylor:every=3,order=2".
func stepCache() access[req] {
	return withNumbers("a step cache", "easy:threshold=0.05", func(r *req) (*string, *map[string]float64) { return &r.Cache, &r.CacheOptions },
		func(name string, numbers options) error {
			c, err := sampler.LookupStepCache(name)
			if err == nil {
				_, err = c.With(numbers)
			}
			return err
		})
}

// withNumbers is a name with numbers. what it is, and an example of it, are for errors.
func withNumbers(what, example string, of func(r *req) (name *string, numbers *map[string]float64), check func(name string, numbers options) error) access[req] {
	return access[req]{KindText, "",
		func(r *req) (string, bool) {
			name, numbers := of(r)
			text := *name
			if list := optionsText(*numbers, ","); list != "" {
				text += ":" + list
			}
			return text, text != ""
		},
		func(r *req, text string) error {
			name, list, more := strings.Cut(text, ":")
			numbers, err := parseOptions(list, ",")
			switch {
			case len(text) > maxName:
				return fmt.Errorf("must be %s, got %d bytes", what, len(text))
			case err != nil:
				return err
			case more && len(numbers) == 0 || text == "":
				return fmt.Errorf("must be %s and its numbers, as in %s, got %q", what, example, text)
			}
			if err := check(name, numbers); err != nil {
				return oneLine(err)
			}
			to, all := of(r)
			*to, *all = name, numbers
			return nil
		},
		func(r *req) {
			name, numbers := of(r)
			*name, *numbers = "", nil
		},
	}
}

// checkGuider checks a kind of guidance and its numbers.
func checkGuider(name string, numbers options) error {
	g, err := sampler.LookupGuider(cmp.Or(name, "cfg"))
	if err != nil {
		return err
	}
	if g.Repeats {
		return fmt.Errorf("%s is what AND makes of any kind of guidance: write AND between the prompts", g.Name)
	}
	if _, err := g.With(g.Scale.Default, numbers); err != nil {
		return oneLine(err)
	}
	return nil
}

// optionsText writes numbers by their names. Infinity is the default of what may be
// infinite, and is left out.
func optionsText(numbers options, separator string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(numbers)) {
		if v := numbers[name]; !math.IsInf(v, 1) {
			all = append(all, name+"="+formatNumber(v))
		}
	}
	return strings.Join(all, separator)
}

// parseOptions reads what optionsText writes.
func parseOptions(text, separator string) (options, error) {
	if text == "" {
		return nil, nil
	}
	numbers := options{}
	for one := range strings.SplitSeq(text, separator) {
		name, value, ok := strings.Cut(one, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return nil, fmt.Errorf("must have numbers by their names, as in phi=0.7, got %.40q", one)
		}
		if _, twice := numbers[name]; twice {
			return nil, fmt.Errorf("%.40s is there twice", name)
		}
		v, err := parseNumber(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("%.40s %w", name, err)
		}
		numbers[name] = v
	}
	return numbers, nil
}

const guiderOptionsKey = "Guidance options" // in pictures

func guidanceText(f Field, r *request.Request) (all []kv) {
	if r.Guider != "" {
		all = append(all, kv{f.A1111, r.Guider})
	}
	if numbers := optionsText(r.GuiderOptions, " "); numbers != "" {
		all = append(all, kv{guiderOptionsKey, numbers})
	}
	return all
}

// readGuidance reads a kind of guidance and its numbers. A number in its place is
// another program's scale.
func readGuidance(f Field, d *reading) {
	r := &d.params.Request
	value, ok := d.look(f.A1111)
	if _, err := parseNumber(value); ok && err != nil {
		d.take(f.A1111)
		g, err := sampler.LookupGuider(value)
		if err == nil {
			err = checkGuider(g.Name, nil)
		}
		if err != nil {
			d.refuse(f.A1111, err)
			return
		}
		r.Guider = g.Name
	}
	if value, ok = d.take(guiderOptionsKey); !ok {
		return
	}
	numbers, err := parseOptions(value, " ")
	if err == nil {
		err = checkGuider(r.Guider, numbers)
	}
	if err != nil {
		d.refuse(guiderOptionsKey, err)
		return
	}
	r.GuiderOptions = numbers
}

// applySamplerOptions sets fields to the numbers of an object.
func applySamplerOptions(r *request.Request, all []Field, raw json.RawMessage, given map[string]json.RawMessage) error {
	if isNull(raw) {
		r.SamplerOptions = nil
		return nil
	}
	members, err := numbersOf(raw)
	if err != nil {
		return err
	}
	var names []string
	for _, f := range all {
		if f.Object == samplerOptionsKey {
			names = append(names, f.option())
		}
	}
	for _, m := range members {
		i := slices.IndexFunc(all, func(f Field) bool { return f.Object == samplerOptionsKey && f.option() == m.Key })
		if i < 0 {
			return fmt.Errorf("%.80s: no sampler takes it; there are %s", m.Key, strings.Join(names, ", "))
		}
		if _, twice := given[all[i].Key]; twice {
			return fmt.Errorf("%s is there twice, beside the object, too", m.Key)
		}
		if err := all[i].apply(r, m.Value); err != nil {
			return fmt.Errorf("%s %w", m.Key, err)
		}
	}
	return nil
}

// applyGuidanceOptions adds the numbers of an object to those of the guidance. with is
// what the same object says of the guidance, or nil.
func applyGuidanceOptions(r *request.Request, raw, with json.RawMessage) error {
	if isNull(raw) {
		r.GuiderOptions = nil
		return nil
	}
	members, err := numbersOf(raw)
	if err != nil {
		return err
	}
	numbers := maps.Clone(r.GuiderOptions)
	if numbers == nil {
		numbers = options{}
	}
	for _, m := range members {
		if _, twice := numbers[m.Key]; twice && with != nil {
			return fmt.Errorf("%.80s is there twice, in %s, too", m.Key, guidanceKey)
		}
		if isNull(m.Value) {
			delete(numbers, m.Key)
			continue
		}
		text, err := textOf(KindNumber, m.Value)
		if err == nil {
			numbers[m.Key], err = parseNumber(text)
		}
		if err != nil {
			return fmt.Errorf("%.80s %w", m.Key, err)
		}
	}
	if len(numbers) == 0 {
		numbers = nil
	}
	if err := checkGuider(r.Guider, numbers); err != nil {
		return err
	}
	r.GuiderOptions = numbers
	return nil
}

// numbersOf reads an object of numbers.
func numbersOf(raw json.RawMessage) ([]Member, error) {
	if !bytes.HasPrefix(raw, []byte("{")) {
		return nil, fmt.Errorf(`must be an object of numbers, such as {"eta": 0.5}, got %.40s`, raw)
	}
	return Members(raw)
}

// numbers writes an object of numbers, if there are any.
func (c *encoder) numbers(field, key string, all options) {
	finite := options{}
	for name, v := range all {
		if !math.IsInf(v, 1) {
			finite[name] = v
		}
	}
	if len(finite) == 0 {
		return
	}
	data, err := json.Marshal(finite)
	if err != nil {
		c.problems.Add(field, "must be finite numbers, got %v", all)
	}
	c.key(key)
	c.b.Write(data)
}

// Blame returns the field that a problem of [request.Request.Resolve] is of, as [Find]
// does, and the problem's text, in which the field is not named once more. Of the numbers
// of samplers the text alone says which it is.
func Blame(p request.Problem) (f Field, text string, ok bool) {
	if p.Field == "SamplerOptions" {
		words := strings.FieldsFunc(p.Text, func(r rune) bool { return r == ' ' || r == ';' })
		for _, f := range samplerOptions() {
			name := f.option()
			if len(words) > 3 && (words[0] == name || words[1] == "takes" && words[2] == "no" && words[3] == name) {
				f, _ = Find(f.Path)
				return f, strings.TrimPrefix(p.Text, name+" "), true
			}
		}
	}
	f, ok = Find(p.Field)
	return f, p.Text, ok
}
