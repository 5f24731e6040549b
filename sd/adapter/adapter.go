// Package adapter makes models draw with adapters: files of changes to their weights, such
// as LoRAs, and textual inversions. The files stay apart from the model, whose weights do
// not change.
package adapter

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
)

// Adapter is an open file of changes to weights. Its methods may be called from any
// goroutine.
type Adapter struct {
	file *convert.Adapter

	mutex   sync.RWMutex // held for reading while the file's numbers are read
	closed  bool
	matched map[*convert.Model]*match
}

// match is what an adapter changes of a model.
type match struct {
	changes   []convert.AdapterChange
	unmatched []string
	err       error
}

// Open opens a file of changes: see [convert.OpenAdapter].
func Open(path string) (*Adapter, error) {
	file, err := convert.OpenAdapter(path)
	if err != nil {
		return nil, err
	}
	return Of(file), nil
}

// Of are the changes of a file that is open.
func Of(file *convert.Adapter) *Adapter {
	return &Adapter{file: file, matched: map[*convert.Model]*match{}}
}

// Name is the adapter's name in requests: its file's, without folder and extension.
func (a *Adapter) Name() string { return a.file.Name }

// Alias is the name that its trainer gave it, or "".
func (a *Adapter) Alias() string { return a.file.Alias }

// Hash is what pictures' parameters know it by.
func (a *Adapter) Hash() string { return a.file.Hash }

// Embeddings are the textual inversions that are bundled with it.
func (a *Adapter) Embeddings() []*Embedding {
	var all []*Embedding
	for i := range a.file.Embeddings {
		all = append(all, &Embedding{&a.file.Embeddings[i]})
	}
	return all
}

// Close unmaps the file. Requests that name it fail from then on; pictures that are being
// drawn with it are finished.
func (a *Adapter) Close() error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	return a.file.Close()
}

// Closed reports whether it was closed.
func (a *Adapter) Closed() bool {
	a.mutex.RLock()
	defer a.mutex.RUnlock()
	return a.closed
}

// use keeps the file open until release.
func (a *Adapter) use() (release func() error, err error) {
	a.mutex.RLock()
	if a.closed {
		a.mutex.RUnlock()
		return nil, engine.ErrClosed
	}
	return func() error {
		defer a.mutex.RUnlock()
		return a.file.Intact()
	}, nil
}

// match finds what the adapter changes of a model, once.
func (a *Adapter) match(m *convert.Model) *match {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if known, ok := a.matched[m]; ok {
		return known
	}
	found := &match{}
	switch targets, err := convert.NewAdapterTargets(m); {
	case a.closed:
		return &match{err: engine.ErrClosed}
	case err != nil:
		found.err = err
	default:
		found.changes, found.unmatched, found.err = a.file.Match(targets)
	}
	if len(a.matched) >= maxMatched {
		clear(a.matched)
	}
	a.matched[m] = found
	return found
}

// maxMatched bounds the models for which an adapter keeps what it changes.
const maxMatched = 8

// Use is an adapter with its strengths for text encoders and the denoiser.
type Use struct {
	*Adapter
	Text, Denoiser float64
}

// Set are the adapters of a request, ready for the networks of one model. The nil set is
// empty.
type Set struct {
	key      string
	denoiser *engine.Adaptation
	text     *engine.Adaptation
}

// Denoiser is the denoiser's adaptation; nil for none.
func (s *Set) Denoiser() *engine.Adaptation {
	if s == nil {
		return nil
	}
	return s.denoiser
}

// Text is the adaptation of all text encoders; nil for none.
func (s *Set) Text() *engine.Adaptation {
	if s == nil {
		return nil
	}
	return s.text
}

// Sets keeps the sets that a model drew with last, so that requests with the same
// adapters share passes, and one after another copies nothing.
type Sets struct {
	mutex  sync.Mutex
	recent []*Set // the last one first
	warned map[string]bool
}

// maxSets bounds the sets that are kept: as many as a network keeps graphs.
const maxSets = 2

// Get is the set of some adapters for a model. Strengths of 0 are left out; a set of
// nothing is nil. warn is told once of layers that the model does not have.
func (s *Sets) Get(m *convert.Model, uses []Use, warn func(format string, args ...any) error) (*Set, error) {
	key := ""
	for _, u := range uses {
		if found := u.match(m); found.err != nil {
			return nil, found.err
		} else if err := s.warn(u.Adapter, found, warn); err != nil {
			return nil, err
		}
		if u.Text != 0 || u.Denoiser != 0 {
			key += fmt.Sprintf("%p:%v:%v ", u.Adapter, u.Text, u.Denoiser)
		}
	}
	if key == "" {
		return nil, nil
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if i := slices.IndexFunc(s.recent, func(o *Set) bool { return o.key == key }); i >= 0 {
		set := s.recent[i]
		s.recent = slices.Insert(slices.Delete(s.recent, i, i+1), 0, set)
		return set, nil
	}
	set := &Set{key: key, denoiser: adaptation(m, uses, false), text: adaptation(m, uses, true)}
	s.recent = append([]*Set{set}, s.recent[:min(len(s.recent), maxSets-1)]...)
	return set, nil
}

// warn tells of layers that are not in the model, once for each adapter.
func (s *Sets) warn(a *Adapter, found *match, warn func(format string, args ...any) error) error {
	s.mutex.Lock()
	known := s.warned[a.file.Path]
	if s.warned == nil {
		s.warned = map[string]bool{}
	}
	s.warned[a.file.Path] = true
	s.mutex.Unlock()
	if known || len(found.unmatched) == 0 {
		return nil
	}
	return warn("%s: %d of its %d layers are not in the model and are left out, such as %s", a.Name(), len(found.unmatched),
		len(found.unmatched)+len(found.changes), strings.Join(found.unmatched[:min(3, len(found.unmatched))], ", "))
}

// adaptation is what some adapters change of the text encoders, or of the denoiser.
func adaptation(m *convert.Model, uses []Use, text bool) *engine.Adaptation {
	byWeight := map[string][]convert.AdapterUse{}
	var order []string
	var adapters []*Adapter
	for _, u := range uses {
		strength := u.Use(text)
		if strength == 0 {
			continue
		}
		adapters = append(adapters, u.Adapter)
		for _, c := range u.match(m).changes {
			if c.Part.IsText() != text {
				continue
			}
			if byWeight[c.Weight] == nil {
				order = append(order, c.Weight)
			}
			byWeight[c.Weight] = append(byWeight[c.Weight], convert.AdapterUse{Change: c, Strength: strength})
		}
	}
	if len(order) == 0 {
		return nil
	}
	changes := make([]engine.WeightChange, len(order))
	for i, name := range order {
		changes[i] = weightChange(name, byWeight[name])
	}
	return engine.NewAdaptation(changes, func() (func() error, error) { return useAll(adapters) })
}

// Use is the strength for text encoders, or for the denoiser.
func (u Use) Use(text bool) float64 {
	if text {
		return u.Text
	}
	return u.Denoiser
}

// weightChange is the change of a weight by one or several adapters: products of thin
// matrices, or what is in place of the weight where one of them is something else.
func weightChange(name string, uses []convert.AdapterUse) engine.WeightChange {
	c := engine.WeightChange{Tensor: name}
	for _, u := range uses {
		l, ok := u.LowRank()
		if !ok {
			return engine.WeightChange{Tensor: name, Whole: func(weight []float32) ([]float32, error) { return convert.PatchWeight(weight, uses) }}
		}
		c.LowRank = append(c.LowRank, engine.LowRank{Down: l.Down, Mid: l.Mid, Up: l.Up, Rank: l.Rank, Scale: l.Scale * u.Strength, Row: u.Row()})
	}
	return c
}

// useAll keeps the files of several adapters open until release.
func useAll(all []*Adapter) (release func() error, err error) {
	var releases []func() error
	release = func() (err error) {
		for _, r := range releases {
			if broken := r(); broken != nil {
				err = broken
			}
		}
		return err
	}
	for i, a := range all {
		if slices.Contains(all[:i], a) {
			continue
		}
		r, err := a.use()
		if err != nil {
			release()
			return nil, err
		}
		releases = append(releases, r)
	}
	return release, nil
}
