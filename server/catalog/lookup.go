package catalog

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// NotFoundError says that a name is of no model, or of several.
type NotFoundError struct {
	Name    string
	What    string   // "model", "upscaler" …
	Names   []string // that there are, or that match
	Many    bool     // the name is the beginning of all of them
	Several bool     // all of them are called so
}

func (e *NotFoundError) Error() string {
	text := fmt.Sprintf("%s %.80q not found; there are: ", e.What, e.Name)
	switch {
	case e.Many:
		text = fmt.Sprintf("%.80q is the beginning of several names: ", e.Name)
	case e.Several:
		text = fmt.Sprintf("several files are called %.80q; name one of them in full: ", e.Name)
	case len(e.Names) == 0:
		return fmt.Sprintf("%s %.80q not found; the server has none", e.What, e.Name)
	}
	list := e.Names
	if len(list) > 20 {
		list = append(list[:20:20], "…")
	}
	return text + strings.Join(list, ", ")
}

// Lookup finds a model of some kinds by its name, its file's name, its title or its
// hash, whatever the case, or by a beginning that only one has. The error is a
// [*NotFoundError].
func (c *Catalog) Lookup(what, name string, kinds ...Kind) (Entry, error) {
	all := c.Entries(kinds...)
	wanted := strings.ToLower(strings.TrimSpace(name))
	var begin []Entry
	fail := &NotFoundError{Name: name, What: what}
	for _, e := range all {
		names := []string{e.Name, e.File, e.Title()}
		if e.Hash != "" {
			names = append(names, e.Hash, e.ShortHash(), e.Hash[:8], e.File+" ["+e.Hash[:8]+"]", e.Name+" ["+e.ShortHash()+"]", e.Name+" ["+e.Hash[:8]+"]")
		}
		for _, n := range names {
			if strings.ToLower(n) == wanted {
				return e, nil
			}
		}
		fail.Names = append(fail.Names, e.Name)
		if wanted != "" && (strings.HasPrefix(strings.ToLower(e.Name), wanted) || strings.HasPrefix(strings.ToLower(e.File), wanted) || len(wanted) >= 6 && strings.HasPrefix(e.Hash, wanted)) {
			begin = append(begin, e)
		}
	}
	if len(begin) == 1 {
		return begin[0], nil
	}
	if len(begin) > 1 {
		fail.Many, fail.Names = true, namesOf(begin)
	}
	return Entry{}, fail
}

// LookupAdapter finds the adapter that a prompt or a request names: by its name, its file's
// or the one that its trainer gave it; with letters of another case only where there is no
// other. The error is a [*NotFoundError].
func (c *Catalog) LookupAdapter(name string) (Entry, error) {
	all := c.Entries(LoRA)
	for _, same := range []func(a, b string) bool{func(a, b string) bool { return a == b }, strings.EqualFold} {
		for _, names := range []func(e Entry) []string{
			func(e Entry) []string { return []string{e.Name, e.File, strings.TrimSuffix(e.File, path.Ext(e.File))} },
			func(e Entry) []string { return []string{e.Adapter.Alias} },
		} {
			found := slices.DeleteFunc(slices.Clone(all), func(e Entry) bool {
				return name == "" || !slices.ContainsFunc(names(e), func(n string) bool { return same(n, name) })
			})
			switch len(found) {
			case 0:
			case 1:
				return found[0], nil
			default:
				return Entry{}, &NotFoundError{Name: name, What: "LoRA", Names: namesOf(found), Several: true}
			}
		}
	}
	return Entry{}, &NotFoundError{Name: name, What: "LoRA", Names: namesOf(all)}
}

func namesOf(all []Entry) (names []string) {
	for _, e := range all {
		names = append(names, e.Name)
	}
	return names
}
