package job

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/sd/request"
)

// A request's edits are written as a list with commas: + or - and what the picture is moved
// towards or away from, each followed by its numbers, as in "+glasses,scale=7,-beard". A comma
// in a text has a backslash before it.

// editFlags are the fields of semantic guidance.
func editFlags() []Field {
	return []Field{
		{
			Path: "Edits.Prompt", Also: []string{"Edits.Away", "Edits.Scale", "Edits.Threshold", "Edits.WarmUp", "Edits.CoolDown", "Edits.Weight"},
			Flag: "edit", A1111: "Edit", Arg: "±TEXT[,KEY=X…]", For: Texts,
			Help: "what the picture is moved towards (+) or away from (-) while it is drawn (SEGA), with scale (5), threshold (0.9), warmup (10), cooldown and weight (1), such as +glasses,scale=7",
			of:   edits(),
		},
		{
			Path: "EditMomentum", Flag: "edit-momentum", A1111: "Edit momentum", Arg: "X", For: Texts,
			Help: "share of earlier steps' changes that is added to a step's", Default: "0.1",
			of: optional(decimal(0, 1), func(r *req) **float64 { return &r.EditMomentum }),
		},
		{
			Path: "EditBeta", Flag: "edit-beta", A1111: "Edit beta", Arg: "X", For: Texts,
			Help: "how much of them is remembered from step to step", Default: "0.4",
			of: optional(decimal(0, 1), func(r *req) **float64 { return &r.EditBeta }),
		},
	}
}

// editNumbers are the numbers of an edit, in the order in which they are written.
func editNumbers() []struct {
	key string
	of  access[request.Edit]
} {
	type item = struct {
		key string
		of  access[request.Edit]
	}
	return []item{
		{"scale", optional(decimal(0, request.MaxEditScale), func(e *request.Edit) **float64 { return &e.Scale })},
		{"threshold", optional(decimal(0, 1), func(e *request.Edit) **float64 { return &e.Threshold })},
		{"warmup", optional(whole(0, request.MaxSteps), func(e *request.Edit) **int { return &e.WarmUp })},
		{"cooldown", optional(whole(1, request.MaxSteps), func(e *request.Edit) **int { return &e.CoolDown })},
		{"weight", optional(decimal(0, request.MaxEditWeight), func(e *request.Edit) **float64 { return &e.Weight })},
	}
}

func edits() access[req] {
	return access[req]{KindText, "",
		func(r *req) (string, bool) { return formatEdits(r.Edits), len(r.Edits) > 0 },
		func(r *req, text string) error {
			all, err := parseEdits(text)
			if err == nil {
				r.Edits = all
			}
			return err
		},
		func(r *req) { r.Edits = nil },
	}
}

func formatEdits(all []request.Edit) string {
	var parts []string
	for i := range all {
		e := &all[i]
		sign := "+"
		if e.Away {
			sign = "-"
		}
		parts = append(parts, sign+strings.TrimSpace(e.Prompt))
		for _, n := range editNumbers() {
			if text, ok := n.of.get(e); ok {
				parts = append(parts, n.key+"="+text)
			}
		}
	}
	for i, part := range parts {
		parts[i] = escapeCommas(part, i == len(parts)-1)
	}
	return strings.Join(parts, ",")
}

// escapeCommas writes a value of a list that [splitList] reads: the backslashes before each
// comma, that of the list after it, too, are doubled.
func escapeCommas(value string, last bool) string {
	pieces := strings.Split(value, ",")
	for i, p := range pieces {
		if i < len(pieces)-1 || !last {
			pieces[i] = p + p[len(strings.TrimRight(p, `\`)):]
		}
	}
	return strings.Join(pieces, `\,`)
}

func parseEdits(text string) (all []request.Edit, err error) {
	for _, part := range splitList(text) {
		if away := strings.HasPrefix(part, "-"); away || strings.HasPrefix(part, "+") {
			if len(all) == request.MaxEdits {
				return nil, fmt.Errorf("must be at most %d edits", request.MaxEdits)
			}
			prompt, err := longText().parse(strings.TrimSpace(part[1:]))
			if err == nil && prompt == "" {
				err = fmt.Errorf("must have a text after %s, such as %sglasses", part[:1], part[:1])
			}
			if err != nil {
				return nil, err
			}
			all = append(all, request.Edit{Prompt: prompt, Away: away})
			continue
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("must be + or - and a text, such as +glasses or -beard,scale=7, got %.80q", part)
		}
		if err := setEditNumber(&all[len(all)-1], part); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// setEditNumber sets a number of an edit, "scale=7".
func setEditNumber(e *request.Edit, part string) error {
	key, text, ok := strings.Cut(part, "=")
	for _, n := range editNumbers() {
		if !ok || n.key != key {
			continue
		}
		if _, twice := n.of.get(e); twice {
			return fmt.Errorf("%s has %s twice", strconv.Quote(e.Prompt), key)
		}
		if err := n.of.set(e, text); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	return fmt.Errorf("%.40q is neither an edit, which begins with + or -, nor scale=, threshold=, warmup=, cooldown= or weight=; a comma in a text has a backslash before it", part)
}
