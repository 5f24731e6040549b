// Package aborts makes an assertion of ggml's fail, to test that it becomes an error.
package aborts

// #cgo CPPFLAGS: -I${SRCDIR}/..
// #cgo CXXFLAGS: -std=c++17
// #include <stdbool.h>
// bool sdgo_fail_assertion(char *text, int size);
import "C"

import _ "github.com/sdgo/sdgo/csrc/core" // errors, contexts, ggml

// Provoke makes a tensor of a type that does not exist, with ggml's C code, and returns
// the error.
func Provoke() (text string, ok bool) {
	var buffer [512]C.char
	ok = bool(C.sdgo_fail_assertion(&buffer[0], C.int(len(buffer))))
	return C.GoString(&buffer[0]), ok
}
