// Package csrc compiles sdgo's C++ core: the C interface (sdgo.h) with the
// sessions and graphs that run networks, and by its imports the networks, their
// operators, devices and kernels. It exports nothing to Go: package cgo is the
// binding.
//
// Includes follow the imports: a file may include headers of its own package and
// of those that the package imports, by their path from this folder.
package csrc

// #cgo CXXFLAGS: -std=c++17 -Wall -Wextra
// #cgo !asan CXXFLAGS: -O3
// #cgo windows CPPFLAGS: -D__USE_MINGW_ANSI_STDIO=1
import "C"

import (
	_ "github.com/sdgo/sdgo/csrc/core"
	_ "github.com/sdgo/sdgo/csrc/grad"
	_ "github.com/sdgo/sdgo/csrc/kernels"
	_ "github.com/sdgo/sdgo/csrc/nets"
	_ "github.com/sdgo/sdgo/csrc/ops"
)
