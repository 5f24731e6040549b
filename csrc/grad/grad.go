// Package grad compiles the derivatives of networks: a tape of the operators that a
// network is written in, and what follows from it backwards. It exports nothing to Go.
package grad

// #cgo CPPFLAGS: -I${SRCDIR}/..
// #cgo CXXFLAGS: -std=c++17 -Wall -Wextra
// #cgo !asan CXXFLAGS: -O3
// #cgo windows CPPFLAGS: -D__USE_MINGW_ANSI_STDIO=1
import "C"

import (
	_ "github.com/sdgo/sdgo/csrc/core"
	_ "github.com/sdgo/sdgo/csrc/ops"
)
