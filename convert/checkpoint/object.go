package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// This file reads pickles that torch.save did not write and that carry Python code:
// pickle.dump of objects whose classes NVIDIA's torch_utils.persistence keeps as source text
// (EDM and EDM2, Karras et al. 2022 and 2024). An object is its class's name and its
// attributes here; the source text is never looked at, and nothing is run.

// object is an instance of a class that the file brings along, or of torch's containers of
// modules.
type object struct {
	class string
	state *dict // its attributes; nil before they are set
}

// Object is what a checkpoint says of the object that its tensors are part of.
type Object struct {
	Class string

	// Fields are its attributes, and what it was made from where an attribute does not
	// say that: nil, bool, int64, float64, string, and lists of them as []any.
	Fields map[string]any

	// Modules are the classes of its modules, by name.
	Modules map[string]string

	// Encoder is the class of what made the pictures it learned: "" without one.
	Encoder string
}

// persistentObject begins pickles of this kind. What objectCallables has is let in only
// after it was named.
var persistentObject = global{"torch_utils.persistence", "_reconstruct_persistent_obj"}

// objectCallables are what such a pickle may call beside callables.
var objectCallables map[global]func(m *machine, args tuple) (any, error)

func init() { // they call what refers to them
	objectCallables = map[global]func(m *machine, args tuple) (any, error){
		persistentObject:                             reconstruct,
		{"dnnlib.util", "EasyDict"}:                  func(*machine, tuple) (any, error) { return &dict{}, nil },
		{"torch.nn.modules.container", "ModuleDict"}: container("ModuleDict"),
		{"torch.nn.modules.container", "ModuleList"}: container("ModuleList"),
		{"torch.nn.modules.container", "Sequential"}: container("Sequential"),
		{"torch.nn.modules.linear", "Identity"}:      container("Identity"),
		{"torch.storage", "_load_from_bytes"}:        nestedStorage,
		{"numpy.core.multiarray", "_reconstruct"}:    nothing,
		{"numpy._core.multiarray", "_reconstruct"}:   nothing,
		{"numpy", "ndarray"}:                         nil,
	}
}

// mayBeObject lets a plain pickle's objects in.
func (m *machine) mayBeObject(g global) bool {
	if !m.plain {
		return false
	}
	_, ok := objectCallables[g]
	m.objectSeen = m.objectSeen || g == persistentObject
	return ok && (m.objectSeen || g == global{"dnnlib.util", "EasyDict"})
}

func container(class string) func(m *machine, args tuple) (any, error) {
	return func(*machine, tuple) (any, error) { return &object{class: class}, nil }
}

// reconstruct is _reconstruct_persistent_obj({type, version, module_src, class_name, state}).
func reconstruct(_ *machine, args tuple) (any, error) {
	if len(args) != 1 {
		return nil, errors.New("the pickle makes an object of something else than a description")
	}
	meta, ok := args[0].(*dict)
	if !ok || meta.get("type") != any("class") {
		return nil, errors.New("the pickle makes an object of something else than a description of a class")
	}
	class, ok1 := meta.get("class_name").(string)
	state, ok2 := meta.get("state").(*dict)
	if !ok1 || !ok2 || len(class) > maxName {
		return nil, errors.New("the pickle describes an object without the name of its class and its state")
	}
	return &object{class: class, state: state}, nil
}

// nestedStorage is torch.storage._load_from_bytes(b): b is a file of its own, in the format
// before 1.6, that holds nothing but a storage.
func nestedStorage(m *machine, args tuple) (any, error) {
	if len(args) != 1 {
		return nil, errors.New("the pickle reads a storage of something else than bytes")
	}
	data, ok := args[0].([]byte)
	if !ok {
		return nil, errors.New("the pickle reads a storage of something else than bytes")
	}
	if err := m.charge(32); err != nil { // one machine costs as much
		return nil, err
	}
	inner := newMachine(data, len(data))
	inner.steps = m.steps
	if magic, err := inner.run(); err != nil || magic != any(legacyMagic) {
		return nil, errors.Join(err, errors.New("a storage in the pickle that torch did not write"))
	}
	value, err := inner.legacy()
	m.steps = inner.steps
	if err != nil {
		return nil, fmt.Errorf("a storage in the pickle: %w", err)
	}
	s, ok := value.(*storage)
	if !ok {
		return nil, errors.New("the pickle reads a storage of bytes that hold something else")
	}
	return s, nil
}

// networkOf is the network of a snapshot, of which trainings write several parts: "ema", the
// average over training's steps, is what draws.
func networkOf(root any) (*object, *dict, error) {
	if o, ok := root.(*object); ok {
		return o, nil, nil
	}
	d, ok := root.(*dict)
	if !ok {
		return nil, nil, errors.New("the pickle holds no network")
	}
	if o, ok := d.get("ema").(*object); ok {
		return o, d, nil
	}
	var names []string
	for i, v := range d.values {
		if o, ok := v.(*object); ok && len(names) < 10 {
			names = append(names, brief(d.keys[i])+" ("+cut(o.class)+")")
		}
	}
	return nil, nil, fmt.Errorf(`the pickle holds no network "ema", which EDM's training writes; it has %s`, strings.Join(names, ", "))
}

// collectObject gathers the tensors of a network and what is said of it.
func collectObject(root any, size int) (*File, error) {
	o, beside, err := networkOf(root)
	if err != nil {
		return nil, err
	}
	c := newCollector(size)
	if err := c.module("", o, 0); err != nil {
		return nil, err
	}
	if len(c.all) == 0 {
		return nil, errors.New("the file holds no tensors")
	}
	about := &Object{Class: o.class, Fields: map[string]any{}, Modules: map[string]string{}}
	if made, ok := o.state.get("_init_kwargs").(*dict); ok {
		about.add(made)
	}
	about.add(o.state)
	if modules, ok := o.state.get("_modules").(*dict); ok {
		for i, v := range modules.values {
			name, ok1 := modules.keys[i].(string)
			if inner, ok2 := v.(*object); ok1 && ok2 {
				about.Modules[cut(name)] = cut(inner.class)
			}
		}
	}
	if beside != nil {
		if encoder, ok := beside.get("encoder").(*object); ok {
			about.Encoder = cut(encoder.class)
		}
	}
	return &File{Tensors: c.all, Object: about}, nil
}

// Bounds of what is kept of an object's attributes.
const (
	maxFields     = 256
	maxFieldText  = 200
	maxFieldItems = 64
)

// add takes an object's attributes that are plain values. Names that begin with "_" are
// torch's and the wrapper's own, and "training" says how the object was used last.
func (o *Object) add(d *dict) {
	for i, key := range d.keys {
		name, ok := key.(string)
		if !ok || name == "" || len(name) > maxFieldText || name[0] == '_' || name == "training" || len(o.Fields) >= maxFields {
			continue
		}
		if v, ok := plain(d.values[i]); ok {
			o.Fields[name] = v
		}
	}
}

// plain copies a value that is no object.
func plain(v any) (any, bool) {
	var items []any
	switch v := v.(type) {
	case nil, bool, int64:
		return v, true
	case float64:
		return v, !math.IsNaN(v)
	case string:
		return v, len(v) <= maxFieldText
	case tuple:
		items = v
	case *list:
		items = v.items
	default:
		return nil, false
	}
	if len(items) > maxFieldItems {
		return nil, false
	}
	all := []any{}
	for _, item := range items {
		switch item.(type) {
		case tuple, *list:
			return nil, false
		}
		one, ok := plain(item)
		if !ok {
			return nil, false
		}
		all = append(all, one)
	}
	return all, true
}

// maxModules bounds how deep modules are nested.
const maxModules = 12

// module visits a module's tensors, and those of the modules within.
func (c *collector) module(prefix string, o *object, depth int) error {
	if o.state == nil {
		return fmt.Errorf("module %q has no attributes", cut(prefix))
	}
	if depth > maxModules {
		return fmt.Errorf("modules must be nested at most %d deep", maxModules)
	}
	for _, kind := range []string{"_parameters", "_buffers"} {
		tensors, ok := o.state.get(kind).(*dict)
		if !ok {
			continue
		}
		named := &dict{} // without what is None
		for i, v := range tensors.values {
			if _, ok := v.(*view); ok {
				named.keys, named.values = append(named.keys, tensors.keys[i]), append(named.values, v)
			}
		}
		if err := c.walk(prefix, named, 3); err != nil {
			return err
		}
	}
	modules, ok := o.state.get("_modules").(*dict)
	if !ok {
		return nil
	}
	for i, v := range modules.values {
		inner, ok1 := v.(*object)
		name, ok2 := modules.keys[i].(string)
		if c.visits--; c.visits < 0 {
			return errors.New("its modules are entangled")
		}
		switch {
		case v == nil:
		case !ok1 || !ok2:
			return fmt.Errorf("module %q holds something that is no module", cut(prefix))
		default:
			if len(prefix)+len(name) > maxName {
				return fmt.Errorf("a name must be at most %d bytes, got %d", maxName, len(prefix)+len(name))
			}
			if err := c.module(prefix+name+".", inner, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// averaged puts the averages that score_sde keeps of the parameters in place of these: a
// list without names, in the order in which the model has them. Buffers, and the
// frequencies, which are not trained, have none.
func averaged(root *dict) (*dict, error) {
	own, ok1 := root.get("model").(*dict)
	ema, ok2 := root.get("ema").(*dict)
	if !ok1 || !ok2 {
		return nil, nil
	}
	shadow, ok := ema.get("shadow_params").(*list)
	if !ok {
		return nil, nil
	}
	out, next := &dict{}, 0
	for i, key := range own.keys {
		name, _ := key.(string)
		v, ok := own.values[i].(*view)
		if !ok {
			continue
		}
		if !isTrained(name) {
			out.keys, out.values = append(out.keys, key), append(out.values, v)
			continue
		}
		if next >= len(shadow.items) {
			return nil, fmt.Errorf("the list ema.shadow_params has %d tensors, fewer than the model's parameters", len(shadow.items))
		}
		average, ok := shadow.items[next].(*view)
		if !ok || !slices.Equal(average.shape, v.shape) {
			return nil, fmt.Errorf("tensor %d of the list ema.shadow_params is no average of %q: their shapes differ", next, cut(name))
		}
		out.keys, out.values = append(out.keys, key), append(out.values, average)
		next++
	}
	if next != len(shadow.items) {
		return nil, fmt.Errorf("the list ema.shadow_params has %d tensors, the model has %d parameters", len(shadow.items), next)
	}
	return out, nil
}

// isTrained reports whether a tensor of a score-based model is a parameter that is trained.
func isTrained(name string) bool {
	return !strings.HasSuffix(name, "all_modules.0.W") && name != "sigmas" && !strings.HasSuffix(name, ".sigmas")
}
