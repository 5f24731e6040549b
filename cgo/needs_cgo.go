//go:build !cgo

package cgo

// The go command turns cgo off where it finds no compiler. Then this name, which does
// not exist, is the error that says so.
var _ = sdgo_needs_CGO_ENABLED_1_and_a_Cpp_compiler
