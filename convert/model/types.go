package model

import "github.com/sdgo/sdgo/convert/dtype"

// words are what safetensors files, and package checkpoint, call the types that
// tensors can have.
var words = map[string]dtype.Type{
	"F32": dtype.F32, "F16": dtype.F16, "BF16": dtype.BF16, "F64": dtype.F64,
	"F8_E4M3": dtype.F8_E4M3, "F8_E5M2": dtype.F8_E5M2,
	"I8": dtype.I8, "I16": dtype.I16, "I32": dtype.I32, "I64": dtype.I64,
}

// TypeOf is the type that safetensors files call by a word, if weights can have
// it.
func TypeOf(word string) (t dtype.Type, ok bool) {
	t, ok = words[word]
	return t, ok
}

// WordOf is what safetensors files call a type; for one that they lack, ggml's
// name.
func WordOf(t dtype.Type) string {
	for word, typ := range words {
		if typ == t {
			return word
		}
	}
	return t.String()
}
