package family

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Recognise finds what a file is by the names of its tensors.
func Recognise(all []model.Stored) (Recognised, error) {
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.Name
	}
	slices.Sort(names)
	for _, f := range table {
		for _, look := range f.Looks {
			if !slices.ContainsFunc(look.Names, func(pattern string) bool { return !matchesOne(pattern, names) }) {
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
