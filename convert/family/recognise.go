package family

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Recognise finds what a file is by the names of its tensors, and by their shapes.
func Recognise(all []model.Stored) (Recognised, error) {
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.Name
	}
	slices.Sort(names)
	for _, f := range table {
		for _, look := range f.Looks {
			if look.fits(names) && (f.Fits == nil || f.Fits(all)) && f.ownsMost(all) {
				return Recognised{f, look.Description}, nil
			}
		}
	}
	for _, f := range table {
		if f.Guess == nil {
			continue
		}
		if description := f.Guess(all); description != "" {
			return Recognised{f, description}, nil
		}
	}
	if len(names) == 0 {
		return Recognised{}, fmt.Errorf("a file without tensors: %w", model.ErrUnrecognized)
	}
	return Recognised{}, fmt.Errorf("none of its %d tensors belongs to a known kind of model (%.80q, …): %w", len(names), names[0], model.ErrUnrecognized)
}

// fits reports whether a file looks so; names are its sorted tensors' names.
func (l Look) fits(names []string) bool {
	return !slices.ContainsFunc(l.Names, func(pattern string) bool {
		without, found := strings.CutPrefix(pattern, "!")
		return matchesOne(without, names) == found
	})
}

// ownsMost reports whether the family's tensors hold at least half of a file's numbers.
func (f *Family) ownsMost(all []model.Stored) bool {
	if f.Owns == nil {
		return true
	}
	own, whole := 0.0, 0.0
	for _, t := range all {
		n := 1.0
		for _, d := range t.Shape {
			n *= float64(d)
		}
		if whole += n; f.Owns(t.Name) {
			own += n
		}
	}
	return own >= whole/2
}

// beginsWith reports whether a name begins with one of several prefixes.
func beginsWith(name string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// Lookup is the family of a name, or nil.
func Lookup(name string) *Family {
	for _, f := range table {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// InFolder is the first family whose components a diffusers folder has, or nil.
func InFolder(has func(component string) bool) *Family {
	for _, f := range table {
		if f.Folder != nil && !slices.ContainsFunc(f.Folder.Components, func(c string) bool { return !has(c) }) {
			return f
		}
	}
	return nil
}

// matchesOne reports whether a pattern matches one of the sorted names.
func matchesOne(pattern string, names []string) bool {
	if !strings.Contains(pattern, "*") {
		_, found := slices.BinarySearch(names, pattern)
		return found
	}
	pieces := strings.Split(pattern, "*")
	return slices.ContainsFunc(names, func(name string) bool { return matches(pieces, name) })
}

// matches reports whether a name consists of pieces with any text between them.
func matches(pieces []string, name string) bool {
	rest, ok := strings.CutPrefix(name, pieces[0])
	last := len(pieces) - 1
	for _, p := range pieces[1:last] {
		var found bool
		_, rest, found = strings.Cut(rest, p)
		ok = ok && found
	}
	return ok && strings.HasSuffix(rest, pieces[last])
}
