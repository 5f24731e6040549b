// Package nets compiles the networks, one file each, and the table of their
// names. It exports nothing to Go.
package nets

// #cgo CPPFLAGS: -I${SRCDIR}/..
// #cgo CXXFLAGS: -std=c++17 -Wall -Wextra
// #cgo !asan CXXFLAGS: -O3
// #cgo windows CPPFLAGS: -D__USE_MINGW_ANSI_STDIO=1
import "C"

import (
	_ "github.com/sdgo/sdgo/csrc/core"
	_ "github.com/sdgo/sdgo/csrc/ops"
)
