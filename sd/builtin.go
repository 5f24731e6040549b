package sd

import (
	"errors"
	"sync/atomic"
)

// ErrNoModel is what [Open] returns for an empty path in a program without a
// built-in model.
var ErrNoModel = errors.New("no model is given: name a .safetensors, .gguf or .ckpt file or a diffusers folder, or import package builtin")

// builtin is the model that an empty path stands for.
type builtin struct {
	name string
	data []byte
}

// Builtin is the model that an empty path of [Open] stands for: its name, and the bytes
// of its file, which must not be changed. ok is false in a program without one.
func Builtin() (name string, data []byte, ok bool) {
	b := registered()
	if b == nil {
		return "", nil, false
	}
	return b.name, b.data, true
}

// theBuiltin is written once, while the program starts.
var theBuiltin atomic.Pointer[builtin]

func registered() *builtin { return theBuiltin.Load() }

// RegisterBuiltin makes a model, the bytes of a .gguf or .safetensors file,
// what an empty path stands for. It is called by the init function of a
// package that embeds one, as decoders register with package image, so that
// programs that don't import such a package don't carry a model. The bytes
// must not change. A second call panics: it is a mistake in the program.
func RegisterBuiltin(name string, data []byte) {
	if !theBuiltin.CompareAndSwap(nil, &builtin{name, data}) {
		panic("sd: RegisterBuiltin called twice")
	}
}
