package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// callables are what a pickle of tensors may call, and what the call means
// here. Nothing else is called, or even looked at.
var callables = map[global]func(m *machine, args tuple) (any, error){
	{"collections", "OrderedDict"}:                  orderedDict,
	{"torch._utils", "_rebuild_tensor_v2"}:          rebuildTensor,
	{"torch._utils", "_rebuild_tensor"}:             rebuildTensor,
	{"torch._utils", "_rebuild_tensor_v3"}:          rebuildTyped,
	{"torch._utils", "_rebuild_parameter"}:          firstArgument,
	{"torch", "Size"}:                               firstArgument,
	{"torch", "device"}:                             nothing,
	{"numpy.core.multiarray", "scalar"}:             nothing,
	{"numpy._core.multiarray", "scalar"}:            nothing,
	{"numpy", "dtype"}:                              nothing,
	{"_codecs", "encode"}:                           nothing,
	{"__builtin__", "set"}:                          nothing,
	{"builtins", "set"}:                             nothing,
	{"torch.nn.modules.container", "ParameterDict"}: parameterDict,
	untyped:                                nil,
	{"torch.serialization", "_get_layout"}: nothing,
	{"pytorch_lightning.callbacks.model_checkpoint", // the key of a dictionary in Stable Diffusion 1's files
		"ModelCheckpoint"}: nil,
}

// global pushes a name, if it is one that tensors need.
func (m *machine) global(op byte) error {
	var g global
	var err error
	if op == opGlobal {
		if g.module, err = m.line(); err == nil {
			g.name, err = m.line()
		}
	} else {
		name, e1 := m.pop()
		module, e2 := m.pop()
		err = errors.Join(e1, e2)
		var ok1, ok2 bool
		g.name, ok1 = name.(string)
		g.module, ok2 = module.(string)
		if err == nil && !(ok1 && ok2) {
			err = errors.New("the pickle names a global by something that is no string")
		}
	}
	if err != nil {
		return err
	}
	_, storage := storageTypes[strings.Replace(g.name, "Tensor", "Storage", 1)] // "tensors" of a tar archive names classes of tensors
	_, element := elementTypes[g.name]
	_, callable := callables[g]
	if !callable && !((storage || element) && g.module == "torch") && !m.mayBeObject(g) {
		return &RefusedError{strings.ToValidUTF8(g.module+"."+g.name, "?")}
	}
	return m.push(g)
}

// call interprets a call of what is on the stack below its arguments.
func (m *machine) call() error {
	a, err := m.pop()
	if err != nil {
		return err
	}
	f, err := m.pop()
	if err != nil {
		return err
	}
	g, ok := f.(global)
	args, ok2 := a.(tuple)
	if !ok || !ok2 {
		return errors.New("the pickle calls something that has no name")
	}
	do := callables[g]
	if do == nil && m.plain {
		do = objectCallables[g]
	}
	if do == nil {
		return &RefusedError{g.module + "." + g.name + "()"}
	}
	v, err := do(m, args)
	if err != nil {
		return err
	}
	return m.push(v)
}

// build sets an object's attributes. A ParameterDict has its parameters there.
// Those of dictionaries and of values that no tensor needs are ignored; nothing
// else has any.
func (m *machine) build() error {
	state, err := m.pop()
	if err != nil {
		return err
	}
	v, err := top[any](m)
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *dict:
		attributes, ok := state.(*dict)
		if !ok || !v.parameters {
			return nil
		}
		if own, ok := attributes.get("_parameters").(*dict); ok {
			v.keys, v.values = append(v.keys, own.keys...), append(v.values, own.values...)
			return m.charge(len(own.keys))
		}
		return nil
	case *object:
		attributes, ok := state.(*dict)
		if !ok || v.state != nil {
			return errors.New("the pickle sets attributes of an object that has them, or to something else")
		}
		v.state = attributes
		return nil
	case opaque, *view:
		return nil
	}
	return errors.New("the pickle sets attributes of something that has none")
}

// persistent takes torch's description of a storage: ("storage", type, key,
// location, elements), and in the older format what part of another storage
// it is, if any.
func (m *machine) persistent(op byte) error {
	if op == opPersID && m.objects != nil {
		id, err := m.line()
		if err != nil {
			return err
		}
		return m.object(id)
	}
	if op == opPersID {
		return errors.New("the pickle names a storage by a line of text, which torch never does")
	}
	v, err := m.pop()
	if err != nil {
		return err
	}
	if m.objects != nil {
		return m.object(v)
	}
	id, ok := v.(tuple)
	if !ok || len(id) < 5 || len(id) > 6 || id[0] != any("storage") {
		return errors.New("the pickle describes a storage in a way that torch does not")
	}
	if len(id) == 6 && id[5] != nil {
		return errors.New("a storage that is a part of another one; saving the file with a newer torch resolves that")
	}
	g, ok1 := id[1].(global)
	key, ok2 := id[2].(string)
	count, ok3 := id[4].(int64)
	typ, ok4 := storageTypes[g.name]
	if g == untyped {
		typ, ok4 = element{"U8", 1}, true
	}
	if !ok1 || !ok2 || !ok3 || !ok4 || count < 0 || count > math.MaxInt64/typ.size {
		return errors.New("the pickle describes a storage in a way that torch does not")
	}
	s := m.storages[key]
	if s == nil {
		s = &storage{element: typ, key: key, count: count}
		m.storages[key] = s
	}
	if s.element != typ || s.count != count {
		return fmt.Errorf("the pickle describes storage %q in two ways", cut(key))
	}
	return m.push(s)
}

// untyped is the class of storages that are bytes only.
var untyped = global{"torch.storage", "UntypedStorage"}

var errTensor = errors.New("the pickle describes a tensor in a way that torch does not")

// rebuildTensor is torch._utils._rebuild_tensor_v2(storage, storage_offset,
// size, stride, …).
func rebuildTensor(_ *machine, args tuple) (any, error) {
	if len(args) < 4 {
		return nil, errTensor
	}
	s, ok := args[0].(*storage)
	if !ok {
		return nil, errTensor
	}
	return rebuild(s, s.element, args)
}

// rebuildTyped is torch._utils._rebuild_tensor_v3(storage, storage_offset,
// size, stride, requires_grad, backward_hooks, dtype, …).
func rebuildTyped(_ *machine, args tuple) (any, error) {
	if len(args) < 7 {
		return nil, errTensor
	}
	s, ok1 := args[0].(*storage)
	g, ok2 := args[6].(global)
	e, ok3 := elementTypes[g.name]
	if !ok1 || !ok2 || !ok3 {
		return nil, errTensor
	}
	return rebuild(s, e, args)
}

func rebuild(s *storage, e element, args tuple) (any, error) {
	offset, ok1 := args[1].(int64)
	shape, ok2 := integers(args[2])
	strides, ok3 := integers(args[3])
	if !ok1 || !ok2 || !ok3 {
		return nil, errTensor
	}
	return newView(s, e, offset, shape, strides)
}

func integers(v any) ([]int64, bool) {
	t, ok := v.(tuple)
	if !ok || len(t) > 64 {
		return nil, false
	}
	all := make([]int64, len(t))
	for i, x := range t {
		if all[i], ok = x.(int64); !ok {
			return nil, false
		}
	}
	return all, true
}

// orderedDict is a dictionary of the pairs it is given, which come later for
// all that torch writes.
func orderedDict(m *machine, args tuple) (any, error) {
	d := &dict{}
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := args[0].(*list)
	if !ok {
		return nil, errors.New("the pickle makes a dictionary of something else")
	}
	if err := m.charge(len(pairs.items)); err != nil {
		return nil, err
	}
	for _, p := range pairs.items {
		var kv []any
		switch p := p.(type) {
		case tuple:
			kv = p
		case *list:
			kv = p.items
		}
		if len(kv) != 2 {
			return nil, errors.New("the pickle makes a dictionary of something else")
		}
		if err := d.set(kv); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// parameterDict is an empty torch.nn.ParameterDict, which textual inversions
// have.
func parameterDict(*machine, tuple) (any, error) { return &dict{parameters: true}, nil }

func firstArgument(_ *machine, args tuple) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("the pickle lacks an argument")
	}
	return args[0], nil
}

// nothing replaces values that no tensor needs.
func nothing(*machine, tuple) (any, error) { return opaque("nothing"), nil }
