package job

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/sd/request"
)

// access is how a value in an S is read, set and cleared as text. What copies of the
// S share, a list of passes or another picture, is copied before it changes.
type access[S any] struct {
	kind   Kind
	bounds string
	get    func(s *S) (text string, ok bool) // not ok is the zero value, which is not written
	set    func(s *S, text string) error     // changes nothing where it returns an error
	clear  func(s *S)
}

// plain is a value whose zero is its default.
func plain[S any, T comparable](f form[T], at func(*S) *T) access[S] {
	var zero T
	return access[S]{f.kind, f.bounds,
		func(s *S) (string, bool) { return f.format(*at(s)), *at(s) != zero },
		func(s *S, text string) error {
			v, err := f.parse(text)
			if err == nil {
				*at(s) = v
			}
			return err
		},
		func(s *S) { *at(s) = zero },
	}
}

// optional is a value whose default is nil.
func optional[S, T any](f form[T], at func(*S) **T) access[S] {
	return access[S]{f.kind, f.bounds,
		func(s *S) (string, bool) {
			if *at(s) == nil {
				return "", false
			}
			return f.format(**at(s)), true
		},
		func(s *S, text string) error {
			v, err := f.parse(text)
			if err == nil {
				*at(s) = &v
			}
			return err
		},
		func(s *S) { *at(s) = nil },
	}
}

// joined is a value that is several of an S's: a width and a height.
func joined[S any, T comparable](f form[T], get func(*S) T, set func(*S, T)) access[S] {
	var zero T
	return access[S]{f.kind, f.bounds,
		func(s *S) (string, bool) { return f.format(get(s)), get(s) != zero },
		func(s *S, text string) error {
			v, err := f.parse(text)
			if err == nil {
				set(s, v)
			}
			return err
		},
		func(s *S) { set(s, zero) },
	}
}

// option is the number of one name in a map, which a request has for what samplers
// and kinds of guidance take: SamplerOptions["eta"].
func option[S any](f form[float64], name string, at func(*S) *map[string]float64) access[S] {
	change := func(s *S, change func(map[string]float64)) {
		m := make(map[string]float64, len(*at(s))+1)
		for k, v := range *at(s) {
			m[k] = v
		}
		if change(m); len(m) == 0 {
			m = nil
		}
		*at(s) = m
	}
	return access[S]{f.kind, f.bounds,
		func(s *S) (string, bool) {
			v, ok := (*at(s))[name]
			return f.format(v), ok && !math.IsInf(v, 1) // what may be infinite is so by default
		},
		func(s *S, text string) error {
			v, err := f.parse(text)
			if err == nil {
				change(s, func(m map[string]float64) { m[name] = v })
			}
			return err
		},
		func(s *S) { change(s, func(m map[string]float64) { delete(m, name) }) },
	}
}

// namesOf is a list of names with commas, at most so many.
func namesOf(what string, most int, at func(*request.Request) *[]string) access[request.Request] {
	one := name[string](KindText, what, nil)
	return access[request.Request]{KindText, "",
		func(r *request.Request) (string, bool) { return strings.Join(*at(r), ","), len(*at(r)) > 0 },
		func(r *request.Request, text string) error {
			list := strings.Split(text, ",")
			if len(list) > most {
				return fmt.Errorf("must be at most %d names, got %d", most, len(list))
			}
			for i, n := range list {
				list[i] = strings.TrimSpace(n)
				if _, err := one.parse(list[i]); err != nil {
					return err
				}
			}
			*at(r) = list
			return nil
		},
		func(r *request.Request) { *at(r) = nil },
	}
}

// other is a value of the picture that a request's is on the way to. That picture is
// there as soon as one of its values is.
func other(of access[request.Interpolation]) access[request.Request] {
	return access[request.Request]{of.kind, of.bounds,
		func(r *request.Request) (string, bool) {
			if r.Interpolate == nil {
				return "", false
			}
			return of.get(r.Interpolate)
		},
		func(r *request.Request, text string) error {
			var t request.Interpolation
			if r.Interpolate != nil {
				t = *r.Interpolate
			}
			err := of.set(&t, text)
			if err == nil {
				r.Interpolate = &t
			}
			return err
		},
		func(r *request.Request) {
			if r.Interpolate == nil {
				return
			}
			t := *r.Interpolate
			of.clear(&t)
			if r.Interpolate = &t; t == (request.Interpolation{}) {
				r.Interpolate = nil
			}
		},
	}
}

// always is a value that is written even where it is the zero value.
func always[S any](of access[S]) access[S] {
	get := of.get
	of.get = func(s *S) (string, bool) {
		text, _ := get(s)
		return text, true
	}
	return of
}

// eachPass is a value of every hires pass: a list with commas, whose last value holds
// for the passes after it, too. Where instead is not empty the list says how many passes
// there are; instead is then the flag of apart, which says the same.
func eachPass(of access[request.HiresPass], instead string, apart access[request.HiresPass]) access[request.Request] {
	set := func(r *request.Request, text string) error {
		n := strings.Count(text, ",") + 1
		if n > request.MaxHires {
			return fmt.Errorf("must be at most %d values, one a pass, got %d", request.MaxHires, n)
		}
		passes := slices.Clone(r.Hires)
		switch {
		case instead != "":
			for _, p := range passes {
				if _, ok := apart.get(&p); ok {
					return fmt.Errorf("both this and %s say how large the picture becomes; give one of them", instead)
				}
			}
			passes = resized(passes, n)
		case len(passes) == 0:
			return errors.New("there is no hires pass that it could be for; hires 2x asks for one")
		case n > len(passes):
			return fmt.Errorf("must be at most one value a pass, got %d values for %d", n, len(passes))
		}
		list := strings.Split(text, ",")
		for i := range passes {
			if err := of.set(&passes[i], strings.TrimSpace(list[min(i, n-1)])); err != nil {
				return err
			}
		}
		r.Hires = passes
		return nil
	}
	return access[request.Request]{of.kind, of.bounds, nil, set, func(r *request.Request) {
		r.Hires = slices.Clone(r.Hires)
		for i := range r.Hires {
			of.clear(&r.Hires[i])
		}
	}}
}

// resized are passes brought to a number: what the last one has holds for those after
// it.
func resized(passes []request.HiresPass, n int) []request.HiresPass {
	if len(passes) == 0 {
		return make([]request.HiresPass, n)
	}
	for len(passes) < n {
		passes = append(passes, passes[len(passes)-1])
	}
	return passes[:n]
}
