package job

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/sd/request"
)

// A request's directions are written as a list with commas: the name of each, followed by its
// numbers, as in "smile.safetensors,strength=1.5,end=0.6". A comma in a name has a backslash
// before it; a name that looks like a number has name= before it.

// directionFlags is the field of directions of deepest features.
func directionFlags() []Field {
	return []Field{{
		Path: "Directions.Name", Also: []string{"Directions.Strength", "Directions.Start", "Directions.End"},
		Flag: "direction", A1111: "Direction", Arg: "FILE[,KEY=X…]", For: Texts,
		Help: "directions of the UNet's deepest features (h-space; sdgo direction makes some), with strength (1), and start (0) and end (1) as fractions of the steps",
		of:   directions(),
		text: directionsText, read: readDirections,
	}}
}

// directionNumbers are the numbers of a direction, in the order in which they are written.
func directionNumbers() []struct {
	key string
	of  access[request.Direction]
} {
	type item = struct {
		key string
		of  access[request.Direction]
	}
	return []item{
		{"strength", optional(decimal(-request.MaxDirectionStrength, request.MaxDirectionStrength), func(d *request.Direction) **float64 { return &d.Strength })},
		{"start", optional(decimal(0, 1), func(d *request.Direction) **float64 { return &d.Start })},
		{"end", optional(decimal(0, 1), func(d *request.Direction) **float64 { return &d.End })},
	}
}

const directionName = "name="

// isDirectionNumber reports whether a part of the list is no plain name.
func isDirectionNumber(part string) bool {
	for _, n := range directionNumbers() {
		if strings.HasPrefix(part, n.key+"=") {
			return true
		}
	}
	return false
}

func directions() access[req] {
	return access[req]{KindText, "",
		func(r *req) (string, bool) { return formatDirections(r.Directions), len(r.Directions) > 0 },
		func(r *req, text string) error {
			all, err := parseDirections(text)
			if err == nil {
				r.Directions = all
			}
			return err
		},
		func(r *req) { r.Directions = nil },
	}
}

func formatDirections(all []request.Direction) string {
	var parts []string
	for i := range all {
		name := all[i].Name
		if isDirectionNumber(name) || strings.HasPrefix(name, directionName) {
			name = directionName + name
		}
		parts = append(parts, name)
		for _, n := range directionNumbers() {
			if text, ok := n.of.get(&all[i]); ok {
				parts = append(parts, n.key+"="+text)
			}
		}
	}
	for i, part := range parts {
		parts[i] = escapeCommas(part, i == len(parts)-1)
	}
	return strings.Join(parts, ",")
}

func parseDirections(text string) (all []request.Direction, err error) {
	form := name[string](KindText, "a direction's file", nil)
	for _, part := range splitList(text) {
		if !isDirectionNumber(part) {
			if len(all) == request.MaxDirections {
				return nil, fmt.Errorf("must be at most %d directions", request.MaxDirections)
			}
			name, err := form.parse(strings.TrimPrefix(part, directionName))
			if err != nil {
				return nil, err
			}
			all = append(all, request.Direction{Name: name})
			continue
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("must begin with a file, as in smile.safetensors,strength=2, got %.80q", part)
		}
		last := &all[len(all)-1]
		key, text, _ := strings.Cut(part, "=")
		for _, n := range directionNumbers() {
			if n.key != key {
				continue
			}
			if _, twice := n.of.get(last); twice {
				return nil, fmt.Errorf("%.40q has %s twice", last.Name, key)
			}
			if err := n.of.set(last, text); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return all, nil
}

// directionsText writes directions without the folders of their files.
func directionsText(f Field, r *request.Request) []kv {
	if len(r.Directions) == 0 {
		return nil
	}
	all := slices.Clone(r.Directions)
	for i := range all {
		all[i].Name = lastPart(all[i].Name)
	}
	return []kv{{f.A1111, formatDirections(all)}}
}

// readDirections reads them.
func readDirections(f Field, d *reading) {
	text, ok := d.take(f.A1111)
	if !ok {
		return
	}
	all, err := parseDirections(text)
	for _, one := range all {
		if strings.ContainsAny(one.Name, `/\`) {
			err = errors.New("must name directions without folders")
		}
	}
	if err != nil {
		d.refuse(f.A1111, err)
		return
	}
	d.params.Directions = all
}
