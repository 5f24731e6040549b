package sd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sdgo/sdgo/convert"
)

// ErrNoModel is what [Open] returns for an empty path in a program without a
// built-in model.
var ErrNoModel = errors.New("no model is given: name a .safetensors, .gguf or .ckpt file or a diffusers folder, or import package builtin")

// BuiltinPrefix begins a path that names a built-in model.
const BuiltinPrefix = "builtin:"

// builtin is a model that a path without a file stands for.
type builtin struct {
	name string
	data []byte
}

// Builtin is the model that an empty path of [Open] stands for: its name, and the bytes
// of its file, which must not be changed. ok is false in a program without one.
func Builtin() (name string, data []byte, ok bool) {
	all := registered()
	if len(all) == 0 {
		return "", nil, false
	}
	return all[0].name, all[0].data, true
}

// theBuiltins are written while the program starts.
var theBuiltins atomic.Pointer[[]builtin]

func registered() []builtin {
	if all := theBuiltins.Load(); all != nil {
		return *all
	}
	return nil
}

// RegisterBuiltin makes a model, the bytes of a .gguf or .safetensors file, one that
// [Open] opens by its name after BuiltinPrefix; the first one is also what an empty
// path stands for. It is called by the init function of a package that embeds one, as
// decoders register with package image, so that programs that don't import such a
// package don't carry a model. The bytes must not change. A second model of the same
// name panics: it is a mistake in the program.
func RegisterBuiltin(name string, data []byte) {
	all := registered()
	if slices.Contains(Builtins(), name) {
		panic("sd: RegisterBuiltin called twice for " + name)
	}
	all = append(slices.Clip(all), builtin{name, data})
	theBuiltins.Store(&all)
}

// Builtins are the names of the built-in models.
func Builtins() (names []string) {
	for _, b := range registered() {
		names = append(names, b.name)
	}
	return names
}

// BuiltinData are the bytes of the file of the built-in model of a name, which must not be
// changed; nil if there is none.
func BuiltinData(name string) []byte {
	for _, b := range registered() {
		if b.name == name {
			return b.data
		}
	}
	return nil
}

// builtinOf finds the built-in model that a path names; nil for a file's.
func builtinOf(path string) (*builtin, error) {
	all := registered()
	name, named := strings.CutPrefix(path, BuiltinPrefix)
	switch {
	case path == "" && len(all) == 0:
		return nil, ErrNoModel
	case path == "":
		return &all[0], nil
	case !named:
		return nil, nil
	}
	for _, b := range all {
		if b.name == name {
			return &b, nil
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no built-in model %.80q: the program has none", name)
	}
	return nil, fmt.Errorf("no built-in model %.80q: there is %s", name, strings.Join(Builtins(), ", "))
}

// OpenWeights opens what [Open] does, without its networks: to look at.
func OpenWeights(path string) (*convert.Model, error) {
	switch b, err := builtinOf(path); {
	case err != nil:
		return nil, err
	case b != nil:
		return convert.OpenBytes(b.name, b.data)
	}
	return convert.Open(path)
}
