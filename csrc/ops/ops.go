// Package ops compiles the operators that networks are written in (ops.h), twice:
// with this library's kernels and with ggml's own operators, for any device. It
// exports nothing to Go.
package ops

// #cgo CPPFLAGS: -I${SRCDIR}/..
// #cgo CXXFLAGS: -std=c++17 -Wall -Wextra
// #cgo !asan CXXFLAGS: -O3
// #cgo windows CPPFLAGS: -D__USE_MINGW_ANSI_STDIO=1
import "C"

import (
	_ "github.com/sdgo/sdgo/csrc/core"
	_ "github.com/sdgo/sdgo/csrc/kernels"
)
