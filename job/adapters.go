package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/sd/request"
)

// A request's adapters are written as names with their strengths: "style:0.8, other" or,
// with one of the text encoders' own after that, "style:0.8:0.5". A comma in a name has a
// backslash before it, and so has a colon before what could be a strength.

// adaptersKey is the field of adapters in JSON, which may be a list of objects, too.
const adaptersKey = "lora"

// Keys of hashes in AUTOMATIC1111's layout.
const (
	adapterHashesKey = "Lora hashes"
	wordHashesKey    = "TI hashes"
)

func adapters() access[request.Request] {
	return access[request.Request]{KindText, "",
		func(r *request.Request) (string, bool) { return formatAdapters(r.Adapters), len(r.Adapters) > 0 },
		func(r *request.Request, text string) error {
			all, err := parseAdapters(text)
			if err == nil {
				r.Adapters = all
			}
			return err
		},
		func(r *request.Request) { r.Adapters = nil },
	}
}

func formatAdapters(all []request.Adapter) string {
	var parts []string
	for _, a := range all {
		// A backslash before a comma or a colon would stand for the comma or the colon.
		name := strings.NewReplacer(",", `\,`, `\:`, `\\:`).Replace(a.Name)
		if at := strings.LastIndexByte(name, ':'); endsInNumber(name) && name[at-1] != '\\' {
			name = name[:at] + `\` + name[at:]
		}
		strength := a.Strength
		if strength == nil && a.TextStrength != nil {
			strength = request.Float(1)
		}
		for _, s := range []*float64{strength, a.TextStrength} {
			if s != nil {
				name += ":" + formatNumber(*s)
			}
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, ", ")
}

// endsInNumber reports whether the end of a name could be a strength, within its range or not.
func endsInNumber(name string) bool {
	_, strength, err := cutStrength(name)
	return strength != nil || err != nil
}

func parseAdapters(text string) (all []request.Adapter, err error) {
	const comma, colon = "\x00", "\x01"
	if strings.Contains(text, comma) || strings.Contains(text, colon) || len(text) > maxName*request.MaxAdapters {
		return nil, errors.New("must be names with their strengths, such as style:0.8")
	}
	for _, part := range strings.Split(strings.NewReplacer(`\,`, comma, `\:`, colon).Replace(text), ",") {
		part = strings.TrimSpace(part)
		a := request.Adapter{}
		var last, first *float64
		a.Name, last, err = cutStrength(part)
		if err == nil && last != nil {
			a.Name, first, err = cutStrength(a.Name)
		}
		a.Name = strings.NewReplacer(comma, ",", colon, ":").Replace(a.Name)
		switch {
		case err != nil:
			return nil, err
		case a.Name == "":
			return nil, fmt.Errorf("must be names with their strengths, such as style:0.8, got %.80q", text)
		case strings.HasSuffix(a.Name, `\`):
			return nil, fmt.Errorf("a name must not end in a backslash, got %.80q", a.Name)
		case len(a.Name) > maxName:
			return nil, fmt.Errorf("a name must be at most %d bytes, got %d", maxName, len(a.Name))
		case first != nil:
			a.Strength, a.TextStrength = first, last
		default:
			a.Strength = last
		}
		all = append(all, a)
	}
	if len(all) > request.MaxAdapters {
		return nil, fmt.Errorf("must be at most %d adapters, got %d", request.MaxAdapters, len(all))
	}
	return all, nil
}

// cutStrength takes a number after the last colon off a text; nil if there is none.
func cutStrength(text string) (before string, strength *float64, err error) {
	at := strings.LastIndexByte(text, ':')
	if at < 1 {
		return text, nil, nil
	}
	v, err := parseNumber(strings.TrimSpace(text[at+1:]))
	if err != nil {
		return text, nil, nil // a part of the name
	}
	if v < -request.MaxAdapterStrength || v > request.MaxAdapterStrength {
		return text, nil, fmt.Errorf("a strength must be %d to %d, got %g", -request.MaxAdapterStrength, request.MaxAdapterStrength, v)
	}
	return strings.TrimSpace(text[:at]), &v, nil
}

// applyAdapters sets the adapters to a JSON list of objects.
func applyAdapters(r *request.Request, raw json.RawMessage) error {
	var list []struct {
		Name         string   `json:"name"`
		Strength     *float64 `json:"strength"`
		TextStrength *float64 `json:"text_strength"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return fmt.Errorf(`must be a text such as "style:0.8", or a list of objects with name, strength and text_strength: %w`, err)
	}
	if len(list) > request.MaxAdapters {
		return fmt.Errorf("must be at most %d adapters, got %d", request.MaxAdapters, len(list))
	}
	var all []request.Adapter
	for _, a := range list {
		if a.Name == "" || len(a.Name) > maxName || strings.ContainsRune(a.Name, 0) || strings.HasSuffix(a.Name, `\`) {
			return fmt.Errorf("each must have a name of at most %d bytes, which does not end in a backslash", maxName)
		}
		for _, s := range []*float64{a.Strength, a.TextStrength} {
			if s != nil && (*s < -request.MaxAdapterStrength || *s > request.MaxAdapterStrength) {
				return fmt.Errorf("a strength must be %d to %d, got %g", -request.MaxAdapterStrength, request.MaxAdapterStrength, *s)
			}
		}
		all = append(all, request.Adapter(a))
	}
	r.Adapters = all
	return nil
}

// hashesText are names with hashes, as AUTOMATIC1111 writes them.
func hashesText(all []request.Used) string {
	var parts []string
	for _, u := range all {
		parts = append(parts, u.Name+": "+u.Hash)
	}
	return strings.Join(parts, ", ")
}

// readHashes reads them.
func readHashes(text string) (all []request.Used) {
	for _, part := range strings.Split(text, ",") {
		if at := strings.LastIndexByte(part, ':'); at > 0 {
			all = append(all, request.Used{Name: strings.TrimSpace(part[:at]), Hash: strings.TrimSpace(part[at+1:])})
		}
	}
	return all
}
