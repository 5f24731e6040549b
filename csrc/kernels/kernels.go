// Package kernels compiles the CPU kernels: the arithmetic that networks spend
// their time in, one source for many instruction sets, chosen at run time. It
// exports nothing to Go; kernels.h is its interface.
package kernels

// #cgo CPPFLAGS: -I${SRCDIR}/..
// #cgo CXXFLAGS: -std=c++17 -Wall -Wextra
// #cgo !asan CXXFLAGS: -O3
// #cgo windows CPPFLAGS: -D__USE_MINGW_ANSI_STDIO=1
import "C"
