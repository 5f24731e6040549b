// Package classes has the names of the classes that class-conditional models draw: a
// model's own, or those of ImageNet's 1000 classes.
package classes

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/sdgo/sdgo/internal/nearest"
)

// Names are those of a model's classes, by their numbers. A class may have several,
// with commas between them.
type Names []string

// The names of ImageNet's classes. See third_party/licenses/imagenet-names.txt.
//
//go:embed imagenet.txt
var imageNetText string

var imageNet = sync.OnceValue(func() Names { return strings.Split(strings.TrimSuffix(imageNetText, "\n"), "\n") })

// ImageNet returns the names of the 1000 classes of ImageNet's challenge (ILSVRC 2012),
// in the order in which all models number them. They must not be changed.
func ImageNet() Names { return imageNet() }

// Of returns the names of a model with so many classes: its file's own, if there are
// any, else ImageNet's if there are 1000, else none.
func Of(count int, own []string) Names {
	switch {
	case len(own) > 0:
		return own
	case count == len(ImageNet()):
		return ImageNet()
	}
	return nil
}

// Labels are a file's own names of its classes: a JSON list of count texts, or nothing.
func Labels(text string, count int) (Names, error) {
	if text == "" {
		return nil, nil
	}
	var names Names
	if err := json.Unmarshal([]byte(text), &names); err != nil || len(names) != count {
		return nil, fmt.Errorf("must be a JSON list of %d names", count)
	}
	return names, nil
}

// Name is the first name of a class, or "" if it has none.
func (n Names) Name(class int) string {
	if class < 0 || class >= len(n) {
		return ""
	}
	name, _, _ := strings.Cut(n[class], ",")
	return strings.TrimSpace(name)
}

// Find finds one of count classes by its number, 0 to count-1, or by one of its names,
// whose case and spaces do not matter. The error says what would be right: the numbers,
// those of several classes that share the name, or the name that is most like it.
func (n Names) Find(text string, count int) (int, error) {
	text = strings.TrimSpace(text)
	if v, err := strconv.Atoi(text); err == nil || text != "" && strings.Trim(text, "+-0123456789") == "" {
		if err != nil || v < 0 || v >= count {
			return 0, fmt.Errorf("must be 0 to %d, got %.40s", count-1, text)
		}
		return v, nil
	}
	if len(n) == 0 {
		return 0, fmt.Errorf("must be a number, 0 to %d, because the model's classes have no names, got %.80q", count-1, text)
	}
	key := fold(text)
	var found []int
	best, least := "", 1<<30
	for i, names := range n[:min(count, len(n))] {
		if fold(names) == key && strings.Contains(names, ",") {
			return i, nil // all of them at once
		}
		for name := range strings.SplitSeq(names, ",") {
			name = strings.TrimSpace(name)
			if fold(name) == key {
				found = append(found, i)
				break
			}
			if d := nearest.Distance(key, fold(name)); d < least {
				best, least = name, d
			}
		}
	}
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("no class is called %.80q; did you mean %q? It may be a number, too, 0 to %d", text, best, count-1)
	case 1:
		return found[0], nil
	}
	var all []string
	for _, i := range found {
		all = append(all, fmt.Sprintf("%d (%s)", i, n[i]))
	}
	return 0, fmt.Errorf("several classes are called %q; it must be a number: %s", text, strings.Join(all, ", "))
}

// fold makes names comparable: lower case, words with one space between them.
func fold(name string) string {
	if len(name) > 500 {
		name = name[:500] // longer than any; the distance is quadratic
	}
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == ' ' || r == '_' || r == '\t' }), " ")
}
