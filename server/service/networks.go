package service

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/catalog"
	"github.com/sdgo/sdgo/server/wire"
)

// told makes a prompt the class of a model that draws without text, for interfaces that
// have no field for it.
func (s *Service) told(e catalog.Entry, r *request.Request, told bool) error {
	class := strings.TrimSpace(r.Prompt)
	if e.Textless == nil || !told || r.Class != "" {
		return nil
	}
	if class != "" && e.Textless.Classes == 0 && !e.Textless.Number {
		return wrong("Prompt", "the model %q draws freely, without text: the prompt must be empty", e.Name)
	}
	r.Class, r.Prompt = class, ""
	return nil
}

// networks collects what a request names beside its model.
type networks struct {
	catalog *catalog.Catalog
	all     []wire.Model
}

// add takes an entry of the catalog in a role, under a name.
func (n *networks) add(m wire.Model, e catalog.Entry) {
	m.Path = e.Path
	if m.IsExtra() {
		m.Modified = e.Modified.UnixNano()
	}
	if !slices.Contains(n.all, m) {
		n.all = append(n.all, m)
	}
}

// find finds a network of some kinds, and returns its name in the catalog.
func (n *networks) find(field, what, role, name string, kinds ...catalog.Kind) (string, error) {
	e, err := n.catalog.Lookup(what, name, kinds...)
	if err != nil {
		return "", notFound(field, err)
	}
	n.add(wire.Model{Role: role, Name: e.Name}, e)
	return e.Name, nil
}

// wrong is an error of a field.
func wrong(field, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	return &Error{Status: http.StatusBadRequest, Code: "invalid_request", Param: field, Message: text, Problems: []wire.Problem{{Field: field, Message: text}}}
}

func notFound(field string, err error) error {
	return &Error{Status: http.StatusNotFound, Code: "model_not_found", Param: field, Message: err.Error()}
}

// attach looks up the networks, adapters and textual inversions that a request names.
// Names of the request become those of the catalog; a prompt stays as it is.
func (s *Service) attach(e catalog.Entry, r *request.Request) ([]wire.Model, error) {
	n := &networks{catalog: s.Catalog}
	var err error
	if r.Refiner != "" {
		if r.Refiner, err = n.find("Refiner", "refiner", wire.RoleRefiner, r.Refiner, catalog.Refiner, catalog.Checkpoint); err != nil {
			return nil, err
		}
	}
	if r.TAESD != "" {
		if r.TAESD, err = n.find("TAESD", "tiny autoencoder", wire.RoleTAESD, r.TAESD, catalog.TAESD); err != nil {
			return nil, err
		}
	}
	if err := n.controls(r); err != nil {
		return nil, err
	}
	if err := n.guides(r); err != nil {
		return nil, err
	}
	if len(r.Directions) > 0 {
		return nil, &Error{Status: http.StatusBadRequest, Code: "unsupported", Param: "Directions", Message: "the server has no directions yet: leave them out"}
	}
	r.Stages = slices.Clone(r.Stages)
	for i, name := range r.Stages {
		if r.Stages[i], err = n.find(fmt.Sprintf("Stages[%d]", i), "model", wire.RoleStage, name, catalog.Checkpoint); err != nil {
			return nil, err
		}
	}
	r.Hires = slices.Clone(r.Hires)
	for i := range r.Hires {
		name := r.Hires[i].Upscaler
		if name == "" || s.IsFilter(name) {
			continue
		}
		if r.Hires[i].Upscaler, err = n.find(fmt.Sprintf("Hires[%d].Upscaler", i), "upscaler", wire.RoleESRGAN, name, catalog.Upscaler); err != nil {
			return nil, err
		}
	}
	if err := n.adapters(r); err != nil {
		return nil, err
	}
	if e.Textless == nil && !e.Transformer { // whose text encoders take none
		err = n.words(r)
	}
	return n.all, err
}

// adapters finds those that a request and the tags of its prompt name.
func (n *networks) adapters(r *request.Request) error {
	r.Adapters = slices.Clone(r.Adapters)
	for i, a := range r.Adapters {
		e, err := n.catalog.LookupAdapter(a.Name)
		if err != nil {
			return wrong("Adapters", "%v", err)
		}
		r.Adapters[i].Name = e.Name
		n.add(wire.Model{Role: wire.RoleLoRA, Name: e.Name}, e)
	}
	if len(r.Adapters) > request.MaxAdapters {
		return nil // which the request's own check refuses
	}
	for _, tag := range prompt.Tags(r.Prompt) {
		if tag.Kind != "lora" && tag.Kind != "lyco" {
			return wrong("Prompt", "%.80s: the extra networks of prompts are <lora:name:strength>, and <lyco:…> for the same", tag)
		}
		e, err := n.catalog.LookupAdapter(tag.Name)
		if err != nil {
			return wrong("Prompt", "%v", err)
		}
		n.add(wire.Model{Role: wire.RoleLoRA, Name: tag.Name}, e)
		if len(n.all) > maxNetworks {
			return wrong("Prompt", "a request may name at most %d networks", maxNetworks)
		}
	}
	return nil
}

// controls finds a request's ControlNets, and the image encoders of those that need one.
func (n *networks) controls(r *request.Request) error {
	r.Controls = slices.Clone(r.Controls)
	if len(r.Controls) > request.MaxControls {
		return nil // which the request's own check refuses
	}
	for i, c := range r.Controls {
		if c.Name == request.Reference { // a picture that the model itself sees
			continue
		}
		field := fmt.Sprintf("Controls[%d].Name", i)
		e, err := n.catalog.Lookup("ControlNet", c.Name, catalog.Control)
		if err != nil {
			return notFound(field, err)
		}
		vision, need, ok := n.catalog.VisionFor(e)
		if need && !ok {
			return wrong(field, "%s needs an image encoder of CLIP, and there is none that fits in the server's models", e.Name)
		}
		r.Controls[i].Name = e.Name
		n.add(wire.Model{Role: wire.RoleControl, Name: e.Name, CLIPVision: vision.Path}, e)
	}
	return nil
}

// maxNetworks bounds what a request names.
const maxNetworks = 128

// words finds the textual inversions whose names are in the prompts.
func (n *networks) words(r *request.Request) error {
	text := r.Prompt + "\n" + r.NegativePrompt
	if t := r.Interpolate; t != nil && t.Prompt != nil {
		text += "\n" + *t.Prompt
	}
	found := map[string]string{} // word → name
	for _, e := range mentioned(n.catalog, text) {
		word := strings.ToLower(e.WordOf())
		if other, ok := found[word]; ok {
			return wrong("Prompt", "the embedding %.80q may be %s or %s", word, other, e.Name)
		}
		found[word] = e.Name
		n.add(wire.Model{Role: wire.RoleEmbedding, Name: e.Name}, e)
		if len(n.all) > maxNetworks {
			return wrong("Prompt", "a request may name at most %d networks", maxNetworks)
		}
	}
	return nil
}

// Mentioned are the textual inversions whose words are in a text.
func (s *Service) Mentioned(text string) []catalog.Entry { return mentioned(s.Catalog, text) }

func mentioned(c *catalog.Catalog, text string) (all []catalog.Entry) {
	text = strings.ToLower(text)
	for _, e := range c.Entries(catalog.Embedding) {
		if mentions(text, strings.ToLower(e.WordOf())) {
			all = append(all, e)
		}
	}
	return all
}

// mentions reports whether a text has a word that is not a part of a longer one.
func mentions(text, word string) bool {
	for at := 0; word != ""; {
		i := strings.Index(text[at:], word)
		if i < 0 {
			return false
		}
		at += i
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		after, _ := utf8.DecodeRuneInString(text[at+len(word):])
		first, _ := utf8.DecodeRuneInString(word)
		last, _ := utf8.DecodeLastRuneInString(word)
		if !(joined(before) && joined(first)) && !(joined(last) && joined(after)) {
			return true
		}
		at += len(word)
	}
	return false
}

// joined reports whether a character joins with others like it to a word.
func joined(r rune) bool { return unicode.IsLetter(r) }
