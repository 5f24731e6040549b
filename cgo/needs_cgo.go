//go:build !cgo

package cgo

// Without cgo, which the go command turns off where it finds no compiler, this
// is the error that says so.
var _ = sdgo_needs_CGO_ENABLED_1_and_a_Cpp_compiler
