package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert"
)

// maxTriggers are the tags that info shows of what a LoRA was trained with.
const maxTriggers = 20

// familyAdapter is what package convert calls files of changes to weights.
const familyAdapter = "lora"

// jsonAdapter is what info --json shows of an adapter.
type jsonAdapter struct {
	Error    string         `json:"error,omitempty"` // why it cannot be used; nothing else is there then
	Name     string         `json:"name,omitempty"`
	Alias    string         `json:"alias,omitempty"` // the name that its trainer gave it
	Kinds    []string       `json:"kinds,omitempty"`
	Ranks    []int          `json:"ranks,omitempty"`
	Alphas   []float64      `json:"alphas,omitempty"`
	Base     string         `json:"base,omitempty"`   // the models that it is for
	Layers   map[string]int `json:"layers,omitempty"` // that it changes, of each network
	Triggers []jsonTrigger  `json:"triggers,omitempty"`
	Hash     string         `json:"hash,omitempty"`
	Fits     *jsonFit       `json:"fits,omitempty"` // with --model
}

type jsonTrigger struct {
	Tag   string `json:"tag"`
	Count int    `json:"count"` // of pictures
}

// jsonFit says whether an adapter goes with a model.
type jsonFit struct {
	Model     string   `json:"model"`
	Fits      bool     `json:"fits"`
	Layers    int      `json:"layers,omitempty"`    // that are in the model
	Unmatched []string `json:"unmatched,omitempty"` // those that are not
	Error     string   `json:"error,omitempty"`
}

// adapterFacts are those of an adapter's file; nil of any other. model, if not empty, is
// one that it may go with.
func adapterFacts(m *convert.Model, model string) (*jsonAdapter, error) {
	if m.Family != familyAdapter {
		if model != "" {
			return nil, fmt.Errorf("%s is %s: what it goes with is not known", m.Path, m.Description)
		}
		return nil, nil
	}
	a, err := convert.OpenAdapter(m.Path)
	if err != nil && model == "" { // what else is known of it is shown
		return &jsonAdapter{Error: err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	defer a.Close()
	i := a.Info()
	out := &jsonAdapter{Name: a.Name, Alias: a.Alias, Kinds: i.Kinds, Ranks: i.Ranks, Alphas: i.Alphas, Base: i.Base, Hash: a.Hash, Layers: map[string]int{}}
	for part, n := range i.Parts {
		out.Layers[string(part)] = n
	}
	for _, t := range i.Triggers[:min(len(i.Triggers), maxTriggers)] {
		out.Triggers = append(out.Triggers, jsonTrigger(t))
	}
	if model == "" {
		return out, nil
	}
	base, err := convert.Open(model)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	out.Fits = &jsonFit{Model: model}
	targets, err := convert.NewAdapterTargets(base)
	if err == nil {
		var changes []convert.AdapterChange
		changes, out.Fits.Unmatched, err = a.Match(targets)
		out.Fits.Layers = len(changes)
	}
	if out.Fits.Fits = err == nil; err != nil {
		out.Fits.Error = err.Error()
	}
	return out, nil
}

// lines are what info shows for people: of a file that is no adapter, its numbers.
func (a *jsonAdapter) lines(m *convert.Model, line func(name, format string, args ...any)) {
	if a == nil {
		for _, p := range m.Properties {
			line(strings.ReplaceAll(p.Name, "_", " "), "%d", p.Value)
		}
		return
	}
	if a.Error != "" {
		line("not usable", "%s", a.Error)
		return
	}
	line("kind", "%s", strings.Join(a.Kinds, ", "))
	if a.Alias != "" && a.Alias != a.Name {
		line("also called", "%s", a.Alias)
	}
	if len(a.Ranks) > 0 {
		text := strings.Trim(fmt.Sprint(a.Ranks), "[]")
		if len(a.Alphas) > 0 {
			text += ", alpha " + strings.Trim(fmt.Sprint(a.Alphas), "[]")
		}
		line("rank", "%s", text)
	}
	if a.Base != "" {
		line("for", "%s", a.Base)
	}
	var layers []string
	for _, part := range []struct{ key, name string }{{"unet", "UNet"}, {"text", "text encoder"}, {"text2", "second text encoder"}} {
		if n := a.Layers[part.key]; n > 0 {
			layers = append(layers, fmt.Sprintf("%d of the %s", n, part.name))
		}
	}
	if len(layers) > 0 {
		line("layers", "%s", strings.Join(layers, ", "))
	}
	var tags []string
	for _, t := range a.Triggers {
		tags = append(tags, fmt.Sprintf("%s (%d)", t.Tag, t.Count))
	}
	if len(tags) > 0 {
		line("trained with", "%s", strings.Join(tags, ", "))
	}
	line("hash", "%s", a.Hash)
	switch fit := a.Fits; {
	case fit == nil:
	case !fit.Fits:
		line("fits", "no: %s", fit.Error)
	case len(fit.Unmatched) > 0:
		line("fits", "%s, but for %d layers that it does not have, such as %s", fit.Model, len(fit.Unmatched), slices.Min(fit.Unmatched))
	default:
		line("fits", "%s: all %d layers", fit.Model, fit.Layers)
	}
}
