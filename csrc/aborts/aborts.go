// Package aborts fails assertions of ggml's, for the test of what happens then.
package aborts

// #cgo CPPFLAGS: -I${SRCDIR}/..
// #cgo CXXFLAGS: -std=c++17
// #include <stdbool.h>
// bool sdgo_fail_assertion(char *text, int size);
import "C"

import _ "github.com/sdgo/sdgo/csrc/core" // errors, contexts, ggml

// Provoke makes a tensor of a type that there is not, with ggml's C code, and
// returns the error that comes of it.
func Provoke() (text string, ok bool) {
	var buffer [512]C.char
	ok = bool(C.sdgo_fail_assertion(&buffer[0], C.int(len(buffer))))
	return C.GoString(&buffer[0]), ok
}
