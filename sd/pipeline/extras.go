package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/sd/adapter"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/request"
)

// Extras are what a request draws with beside the model: adapters, and words with
// vectors of their own.
type Extras struct {
	Adapters *adapter.Set // nil for none
	Words    []*adapter.Embedding
}

// ExtrasOf are those for a model that takes part: a refiner gets no adapters, which are
// made for the base model.
func (d Drawing) ExtrasOf(p *Pipeline) Extras {
	if p == d.model {
		return d.extras
	}
	return Extras{Words: d.extras.Words}
}

// denoiserOf is the adaptation of a model's denoiser; nil for none.
func (d Drawing) denoiserOf(p *Pipeline) *engine.Adaptation { return d.ExtrasOf(p).Adapters.Denoiser() }

// attachExtras finds the adapters that a request and its prompt name, and the words.
func attachExtras(d *Drawing, with Attached, e *request.Error) {
	p := d.model
	for _, name := range slices.Sorted(maps.Keys(with.Words)) {
		d.extras.Words = append(d.extras.Words, with.Words[name])
	}
	uses := make([]adapter.Use, 0, len(d.Adapters))
	d.UsedAdapters = nil
	use := func(field string, a request.Adapter) {
		found, err := with.adapter(a.Name)
		if err != nil {
			e.Add(field, "%v", err)
			return
		}
		text, denoiser := a.Strengths()
		uses = append(uses, adapter.Use{Adapter: found, Text: text, Denoiser: denoiser})
		d.UsedAdapters = append(d.UsedAdapters, request.Used{Name: found.Name(), Hash: found.Hash()})
		for _, w := range found.Embeddings() {
			if with.Words[w.Name()] == nil {
				d.extras.Words = append(d.extras.Words, w)
			}
		}
	}
	for i, a := range d.Adapters {
		use(fmt.Sprintf("Adapters[%d]", i), a)
	}
	for _, tag := range prompt.Tags(d.Prompt) {
		a, err := adapterOf(tag)
		if err != nil {
			e.Add("Prompt", "%v", err)
			continue
		}
		use("Prompt", a)
	}
	others := map[string]string{"NegativePrompt": d.NegativePrompt}
	if t := d.Interpolate; t != nil && t.Prompt != nil {
		others["Interpolate.Prompt"] = *t.Prompt
	}
	for i, edit := range d.Edits {
		others[editField(i)] = edit.Prompt
	}
	for _, field := range slices.Sorted(maps.Keys(others)) {
		if tags := prompt.Tags(others[field]); len(tags) > 0 {
			e.Add(field, "%s: extra networks are for the whole picture: only the prompt may name them", tags[0])
		}
	}
	uses = append(uses, faces(d.Controls, with.Controls)...)
	var err error
	if d.extras.Adapters, err = p.sets.Get(p.Host.Weights, uses, p.Host.Warn); err != nil {
		e.Add("Adapters", "%v", err)
	}
	for i := range d.passes {
		d.passes[i].drawing.extras = d.extras
	}
	d.UsedWords = usedWords(*d)
}

// faces are the changes to the UNet's attention that IP-Adapters of faces come with. They are
// made in all steps and whole, as in the diffusers library, unless the adapter has nothing to say.
func faces(all []request.Control, with map[string]control.Network) (uses []adapter.Use) {
	for _, c := range all {
		weight, _, _ := c.Numbers()
		if ip, ok := with[c.Name].(*control.IPAdapter); ok && ip.LoRA() != nil && weight != 0 {
			uses = append(uses, adapter.Use{Adapter: ip.LoRA(), Denoiser: 1})
		}
	}
	return uses
}

// usedWords are those whose names are in the prompts.
func usedWords(d Drawing) (used []request.Used) {
	text := strings.ToLower(d.Prompt + "\n" + d.NegativePrompt)
	if t := d.Interpolate; t != nil && t.Prompt != nil {
		text += "\n" + strings.ToLower(*t.Prompt)
	}
	for _, edit := range d.Edits {
		text += "\n" + strings.ToLower(edit.Prompt)
	}
	for _, w := range d.extras.Words {
		if strings.Contains(text, strings.ToLower(w.Name())) && w.Hash() != "" {
			used = append(used, request.Used{Name: w.Name(), Hash: w.Hash()})
		}
	}
	return used
}

// adapterOf reads a tag: <lora:name:text:denoiser>, as in AUTOMATIC1111. A strength that
// is left out is 1, the denoiser's that of the text encoders; te= and unet= name them.
func adapterOf(tag prompt.Tag) (a request.Adapter, err error) {
	if tag.Kind != "lora" && tag.Kind != "lyco" {
		return a, fmt.Errorf("%s: the extra networks of prompts are <lora:name:strength>, and <lyco:…> for the same", tag)
	}
	if tag.Name == "" {
		return a, fmt.Errorf("%s: it has no name", tag)
	}
	a.Name = tag.Name
	var text, denoiser *float64
	positions := 0
	for _, arg := range tag.Args {
		key, value, named := strings.Cut(arg, "=")
		if !named {
			key, value = []string{"te", "unet", "dyn"}[min(positions, 2)], arg
			positions++
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || v != v || v < -request.MaxAdapterStrength || v > request.MaxAdapterStrength {
			return a, fmt.Errorf("%s: a strength must be a number from -%d to %d, got %.40q", tag, request.MaxAdapterStrength, request.MaxAdapterStrength, value)
		}
		switch strings.TrimSpace(key) {
		case "te":
			text = &v
		case "unet":
			denoiser = &v
		case "dyn":
			return a, fmt.Errorf("%s: a part of the rank (dyn) is not supported", tag)
		default:
			return a, fmt.Errorf("%s: %.40q is no parameter; there are te and unet", tag, key)
		}
	}
	if denoiser == nil {
		denoiser = text
	}
	a.Strength, a.TextStrength = denoiser, text
	if text == nil && denoiser != nil { // unet= alone
		a.TextStrength = request.Float(1)
	}
	return a, nil
}

// adapter finds an attached adapter by its name, by the name that its trainer gave it,
// or by either with letters of another case, where there is one of that name alone.
func (a Attached) adapter(name string) (*adapter.Adapter, error) {
	if found := a.Adapters[name]; found != nil {
		return found, nil
	}
	all := slices.Sorted(maps.Keys(a.Adapters))
	for _, same := range []func(x *adapter.Adapter) bool{
		func(x *adapter.Adapter) bool { return x.Alias() == name },
		func(x *adapter.Adapter) bool { return strings.EqualFold(x.Name(), name) },
		func(x *adapter.Adapter) bool { return strings.EqualFold(x.Alias(), name) },
	} {
		var found []*adapter.Adapter
		for _, key := range all {
			if same(a.Adapters[key]) {
				found = append(found, a.Adapters[key])
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return nil, fmt.Errorf("%d attached adapters are called %.80q: name one by its file, such as %.80q", len(found), name, found[0].Name())
		}
	}
	if len(all) == 0 {
		return nil, errors.New(strconv.Quote(name) + ": no adapter is attached")
	}
	return nil, fmt.Errorf("no adapter %.80q is attached; there are %.200q", name, all[:min(len(all), 5)])
}

// CheckOpen returns [engine.ErrClosed] if a request names an adapter that was closed.
func (a Attached) CheckOpen(r request.Request) error {
	names := AdapterNames(r.Prompt)
	for _, one := range r.Adapters {
		names = append(names, one.Name)
	}
	for _, name := range names {
		if found, err := a.adapter(name); err == nil && found.Closed() {
			return engine.ErrClosed
		}
	}
	return nil
}

// AdapterNames are the names of adapters in a prompt.
func AdapterNames(text string) (names []string) {
	for _, tag := range prompt.Tags(text) {
		if tag.Kind == "lora" || tag.Kind == "lyco" {
			names = append(names, tag.Name)
		}
	}
	return names
}
